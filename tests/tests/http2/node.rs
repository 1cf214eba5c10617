//! Node.js's HTTP/2 on both sides, and tunnels between its clients and servers of either version.

use std::{path::Path, process::Command};

use outrigger_tests::{
    files::TempDir,
    process::{Process, output},
    tools::need,
    wait,
    wire::Address,
};
use serde_json::{Value, json};

use super::{before, towards};

fn peer(node: &Path, script: &str, arguments: &[&str]) -> Command {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/http2");
    let mut command = Command::new(node);
    command.arg(folder.join(script)).args(arguments);
    command
}

/// A server that prints its port.
fn serve(node: &Path, script: &str, arguments: &[&str], dir: &TempDir) -> (Process, Address) {
    let mut command = peer(node, script, arguments);
    let process = Process::start(&mut command, &arguments.join("-"), dir.path());
    let port = wait::until("the server's port", || {
        let said = process.stdout();
        said.ends_with('\n').then(|| said.trim().to_owned())
    });
    (process, Address::parse(&format!("127.0.0.1:{port}")))
}

#[test]
fn node_talks_to_node() {
    let Some(node) = need("node_talks_to_node", "node") else {
        return;
    };
    let dir = TempDir::new();
    let (_server, address) = serve(&node, "node_peer.mjs", &["server"], &dir);
    let proxy = before(&[&address], "");
    let web = proxy.web().port().to_string();
    let mut client = peer(&node, "node_peer.mjs", &["client", &web]);
    let said = output(&mut client).success().stdout;
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

#[test]
fn tunnels_of_node_pass_in_every_pairing() {
    let Some(node) = need("tunnels_of_node_pass_in_every_pairing", "node") else {
        return;
    };
    let dir = TempDir::new();
    for server in ["http1", "http2"] {
        let script = "tunnel_peer.mjs";
        let (_server, address) = serve(&node, script, &["server", server], &dir);
        let proxy = towards(server, &address);
        let web = proxy.web().port().to_string();
        let said = |client| output(&mut peer(&node, script, &["client", client, &web])).success();
        let http1 = said("http1").stdout;
        assert_eq!(http1, "proven\nall came back\n", "http1 to {server}");
        let http2 = said("http2").stdout;
        let all = "offered\nanswered 200\nall came back\n";
        assert_eq!(http2, all, "http2 to {server}");
    }
}
