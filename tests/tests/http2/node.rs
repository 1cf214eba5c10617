//! Tunnels between clients and servers of Node, of either version on either side.

use std::{path::Path, process::Command};

use outrigger_tests::{
    files::TempDir,
    process::{Process, output},
    tools::need,
    wait,
    wire::Address,
};

use super::towards;

fn peer(node: &Path, arguments: &[&str]) -> Command {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/http2/tunnel_peer.mjs");
    let mut command = Command::new(node);
    command.arg(script).args(arguments);
    command
}

#[test]
fn tunnels_of_node_pass_in_every_pairing() {
    let Some(node) = need("tunnels_of_node_pass_in_every_pairing", "node") else {
        return;
    };
    let dir = TempDir::new();
    for server in ["http1", "http2"] {
        let mut command = peer(&node, &["server", server]);
        let process = Process::start(&mut command, server, dir.path());
        let port = wait::until("the server's port", || {
            let said = process.stdout();
            said.ends_with('\n').then(|| said.trim().to_owned())
        });
        let proxy = towards(server, &Address::parse(&format!("127.0.0.1:{port}")));
        let web = proxy.web().port().to_string();
        let said = |client| output(&mut peer(&node, &["client", client, &web])).success();
        let http1 = said("http1").stdout;
        assert_eq!(http1, "proven\nall came back\n", "http1 to {server}");
        let http2 = said("http2").stdout;
        let all = "offered\nanswered 200\nall came back\n";
        assert_eq!(http2, all, "http2 to {server}");
    }
}
