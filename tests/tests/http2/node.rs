//! Node.js's HTTP/2 on both sides.

use std::{path::Path, process::Command};

use outrigger_tests::{
    files::TempDir,
    process::{Process, output},
    tools, wait,
    wire::Address,
};
use serde_json::{Value, json};

use super::before;

#[test]
fn node_talks_to_node() {
    let Some(node) = tools::need("node_talks_to_node", "node") else {
        return;
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/http2/node_peer.mjs");
    let dir = TempDir::new();
    let mut command = Command::new(&node);
    command.arg(&script).arg("server");
    let server = Process::start(&mut command, "node", dir.path());
    let port = wait::until("the server's port", || {
        server.stdout().lines().next().map(str::to_owned)
    });
    let proxy = before(&[&Address::parse(&format!("127.0.0.1:{port}"))], "");
    let mut command = Command::new(&node);
    command.arg(&script).arg("client");
    command.arg(proxy.web().port().to_string());
    let said = output(&mut command).success().stdout;
    let said: Value = serde_json::from_str(&said).unwrap_or_else(|e| panic!("{said}: {e}"));
    let expected = json!({
        "echo": [200, 1_000_000, true, [103], "42", "behind"],
        "many": 100,
        "head": [200, 0, "HEAD"],
        "expect": "asked for",
        "calm": 502,
        "left": 10,
        "cancelled": "8",
        "ping": true,
    });
    assert_eq!(said, expected);
}
