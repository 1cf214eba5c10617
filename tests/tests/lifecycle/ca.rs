//! `outrigger ca`: files that OpenSSL takes, and that nobody else can read.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command};

use outrigger_tests::{
    files::TempDir,
    process::{Output, output},
    proxy, tools,
};

fn ca(arguments: &[&str], dir: &Path) -> Output {
    output(
        Command::new(proxy::binary())
            .arg("ca")
            .args(arguments)
            .current_dir(dir),
    )
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn an_authority_and_what_it_issues() {
    let dir = TempDir::new();
    let at = |name: &str| dir.path().join(name);
    let init = ["init", "--dir", "ca", "--trust-domain", "shop.example"];
    let said = ca(&init, dir.path()).success().stdout;
    assert!(said.contains("outrigger ca issue --dir ca"), "{said}");
    let id = "spiffe://shop.example/team/web";
    let issue = [
        "issue",
        "--dir",
        "ca",
        "--id",
        id,
        "--dns",
        "web.local",
        "--ttl",
        "1h",
    ];
    let said = ca(&issue, dir.path()).success().stdout;
    assert!(said.contains(id) && said.contains("60 minutes"), "{said}");
    let out = at("ca/issued/team/web");
    for (file, expected) in [
        (at("ca"), 0o700),
        (at("ca/ca.key"), 0o600),
        (at("ca/ca.crt"), 0o644),
        (out.clone(), 0o700),
        (out.join("tls.key"), 0o600),
        (out.join("tls.crt"), 0o644),
    ] {
        assert_eq!(mode(&file), expected, "{}", file.display());
    }
    let files = fs::read_dir(&out).unwrap().count();
    assert_eq!(files, 3, "nothing temporary is left");

    // Nothing is replaced by accident.
    let key = fs::read(out.join("tls.key")).unwrap();
    for arguments in [&init[..], &issue] {
        let refused = ca(arguments, dir.path());
        assert_eq!(refused.code, Some(1));
        assert!(
            refused.stderr.contains("--force replaces it"),
            "{}",
            refused.stderr
        );
    }
    assert_eq!(fs::read(out.join("tls.key")).unwrap(), key);
    let _ = ca(&[&issue[..], &["--force"]].concat(), dir.path()).success();
    assert_ne!(fs::read(out.join("tls.key")).unwrap(), key);

    if let Some(openssl) = tools::need("an_authority_and_what_it_issues", "openssl") {
        for purpose in ["sslserver", "sslclient"] {
            let mut verify = Command::new(&openssl);
            verify.args(["verify", "-x509_strict", "-purpose", purpose, "-CAfile"]);
            verify.arg(at("ca/ca.crt")).arg(out.join("tls.crt"));
            let _ = output(&mut verify).success();
        }
        let mut show = Command::new(&openssl);
        show.args(["x509", "-noout", "-ext", "subjectAltName", "-in"]);
        let shown = output(show.arg(out.join("tls.crt"))).success().stdout;
        assert!(
            shown.contains(&format!("URI:{id}, DNS:web.local")),
            "{shown}"
        );
    }
}

#[test]
fn what_is_refused() {
    let dir = TempDir::new();
    let wrong = ["init", "--dir", "ca", "--trust-domain", "Shop.example"];
    let refused = ca(&wrong, dir.path());
    assert_eq!(refused.code, Some(2));
    assert!(
        refused.stderr.contains("a trust domain is made of"),
        "{}",
        refused.stderr
    );
    let _ = ca(
        &["init", "--dir", "ca", "--trust-domain", "shop.example"],
        dir.path(),
    )
    .success();
    let issue = |id| ca(&["issue", "--dir", "ca", "--id", id], dir.path());
    let refused = issue("spiffe://other.example/web");
    assert_eq!(refused.code, Some(1));
    assert!(
        refused.stderr.contains("is for shop.example"),
        "{}",
        refused.stderr
    );
    assert_eq!(issue("spiffe://shop.example/../web").code, Some(2));
    // A key that others can read is no key.
    let key = dir.path().join("ca/ca.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let refused = issue("spiffe://shop.example/web");
    assert_eq!(refused.code, Some(1));
    assert!(
        refused.stderr.contains("must have 0600"),
        "{}",
        refused.stderr
    );
    assert!(!dir.path().join("ca/issued").exists());
}
