//! Every file of `config/examples` boots and answers, with its addresses replaced by free ones.

use std::{fs, path::Path, time::Duration};

use outrigger_tests::{
    client::{self, Client, request},
    files::TempDir,
    proxy::{Setup, run},
    secure::Authority,
};

/// The text with every `bind:` at a port of the kernel's choice, or at a socket in `DIR`.
fn rebound(text: &str) -> String {
    let mut parts = text.split("bind:");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for (number, part) in parts.enumerate() {
        let value_end = part.find([',', '}', '\n']).unwrap_or(part.len());
        let (value, rest) = part.split_at(value_end);
        let new = if value.contains("unix:") {
            format!("'unix:DIR/s{number}'")
        } else {
            "'127.0.0.1:0'".to_owned()
        };
        let space = if value.ends_with(' ') { " " } else { "" };
        for piece in ["bind: ", &new, space, rest] {
            out.push_str(piece);
        }
    }
    out
}

#[test]
fn every_example_boots_and_answers() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/examples");
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    files.sort();
    assert!(files.len() >= 5, "{files:?}");
    let keys = TempDir::new();
    let authority = Authority::new();
    authority.write(&keys.file("partners.pem"));
    authority.issue(keys.path(), "site", &["site.example"]);
    authority.issue(keys.path(), "tenants", &["*.tenants.example"]);
    let ca = keys.file("ca").display().to_string();
    let _ = run(&["ca", "init", "--dir", &ca, "--trust-domain", "shop.example"]).success();
    let workload = "spiffe://shop.example/workload";
    let _ = run(&["ca", "issue", "--dir", &ca, "--id", workload]).success();
    let folder = keys.path().display().to_string();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let text = text.replace("/etc/outrigger/tls", &folder);
        let text = text.replace("/etc/outrigger/mesh", &format!("{ca}/issued/workload"));
        let proxy = Setup::file(&rebound(&text)).start();
        let listeners = proxy.listeners();
        assert!(!listeners.is_empty(), "{}", file.display());
        for (name, address) in listeners {
            // Its back ends are not there: whatever it says, it says it, or ends.
            let Ok(mut client) = Client::try_connect(&address) else {
                continue;
            };
            client.wire.read_deadline(Duration::from_secs(2));
            let _ = client.try_send(request("GET", "/", &[], b""));
            if let Ok(answer) = client.try_response("GET") {
                assert!(answer.status() >= 200, "{name}: {answer}");
            }
        }
        if text.contains("admin:") {
            let ready = client::fetch(proxy.admin(), "GET", "/ready", &["Host: localhost"]);
            assert_eq!(ready.status(), 200, "{}", file.display());
        }
    }
}
