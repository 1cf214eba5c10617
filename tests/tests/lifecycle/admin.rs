//! The operators' face: what it shows, and what it refuses.

use std::net::SocketAddr;

use outrigger_tests::{
    client::{self, Client, request},
    http::Message,
    proxy::{Proxy, Setup, simple},
    upstream::Upstream,
    wait,
    wire::Address,
};

fn proxy(upstream: &Upstream) -> Proxy {
    Proxy::start(&format!(
        "probes: {{ bind: 127.0.0.1:0 }}\n{}",
        simple(&[&upstream.address])
    ))
}

#[test]
fn probes_answer_and_nothing_else_does_there() {
    let upstream = Upstream::fixed("ok");
    let proxy = proxy(&upstream);
    let ask = |target: &str, method: &str| {
        client::fetch(proxy.probes(), method, target, &["Host: localhost"]).status()
    };
    for target in ["/live", "/ready", "/metrics"] {
        assert_eq!(ask(target, "GET"), 200, "{target}");
    }
    for target in [
        "/config",
        "/clusters",
        "/listeners",
        "/drain",
        "/reload",
        "/log-level",
    ] {
        assert_eq!(ask(target, "GET"), 404, "{target}");
        assert!(matches!(ask(target, "POST"), 404 | 405), "{target}");
    }
}

#[test]
fn the_live_table_is_shown() {
    let upstream = Upstream::fixed("ok");
    let proxy = proxy(&upstream);
    let config = proxy.ask_json("/config");
    let text = config.to_string();
    assert!(config["hash"].is_string(), "{config}");
    assert!(
        text.contains("\"web\"") && text.contains(&upstream.address.to_string()),
        "{config}"
    );
}

#[test]
fn clusters_are_shown_with_their_endpoints() {
    let upstream = Upstream::fixed("ok");
    let proxy = proxy(&upstream);
    Client::connect(proxy.web()).get("/");
    let clusters = proxy.ask_json("/clusters").to_string();
    assert!(
        clusters.contains(&upstream.address.to_string()),
        "{clusters}"
    );
    assert!(clusters.contains("\"back\""), "{clusters}");
}

/// S51: a page in a browser must not reach this: neither by another name for the address (DNS
/// rebinding) nor from another origin.
#[test]
fn foreign_hosts_and_origins_are_refused() {
    let upstream = Upstream::fixed("ok");
    let proxy = proxy(&upstream);
    let Address::Tcp(admin) = proxy.admin() else {
        panic!("TCP")
    };
    let ask = |fields: &[&str]| client::fetch(admin, "GET", "/config", fields).status();
    for good in [
        format!("Host: {admin}"),
        "Host: localhost".into(),
        format!("Host: localhost:{}", admin.port()),
        "Host: [::1]:1".into(),
    ] {
        assert_eq!(ask(&[&good]), 200, "{good}");
    }
    for bad in [
        "Host: evil.example",
        "Host: 127.0.0.1.evil.example",
        "Host: localhost.evil.example",
        "Host: 10.0.0.1",
    ] {
        let status = ask(&[bad]);
        assert!((400..500).contains(&status), "{bad}: {status}");
    }
    for origin in [
        "Origin: http://evil.example",
        "Origin: null",
        "Origin: https://127.0.0.1.evil.example",
    ] {
        let status = ask(&["Host: localhost", origin]);
        assert!((400..500).contains(&status), "{origin}: {status}");
    }
}

#[test]
fn nothing_is_changed_by_get_nor_without_leave() {
    let upstream = Upstream::fixed("ok");
    let mut proxy = proxy(&upstream);
    for target in [
        "/drain",
        "/reload",
        "/log-level",
        "/log",
        "/quitquitquit",
        "/shutdown",
    ] {
        let got = proxy.ask(target);
        assert!(
            got.status() == 200 || got.status() == 404 || got.status() == 405,
            "{target}: {got}"
        );
        let posted = client::fetch(proxy.admin(), "POST", target, &["Host: localhost"]);
        assert!(
            matches!(posted.status(), 401 | 403 | 404 | 405),
            "{target}: {posted}"
        );
    }
    assert!(proxy.process.is_running());
    assert_eq!(proxy.ask("/ready").status(), 200);
}

#[test]
fn with_its_token_the_log_level_can_be_changed() {
    let upstream = Upstream::fixed("ok");
    let dir = outrigger_tests::files::TempDir::new();
    let token = dir.file("token");
    std::fs::write(&token, "s3cret-token-of-some-length\n").unwrap();
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&token, private).unwrap();
    let proxy = Setup::new(&format!(
        "admin: {{ bind: '127.0.0.1:0', token_file: '{}' }}\n{}",
        token.display(),
        simple(&[&upstream.address])
    ))
    .start();
    let post = |fields: &[&str]| -> Message {
        let mut client = Client::connect(proxy.admin());
        let mut all = vec!["Host: localhost"];
        all.extend(fields);
        client.send(request("POST", "/drain", &all, b""));
        client.response()
    };
    for bad in [
        "X-A: 1",
        "Authorization: Bearer wrong",
        "Authorization: Basic s3cret-token-of-some-length",
        "Authorization: Bearer s3cret-token-of-some-length-and-more",
    ] {
        assert!(matches!(post(&[bad]).status(), 401 | 403), "{bad}");
    }
    let config = proxy.ask("/config").text();
    assert!(!config.contains("s3cret"), "the token is shown");
    let good = post(&["Authorization: Bearer s3cret-token-of-some-length"]);
    assert!((200..300).contains(&good.status()), "{good}");
    wait::until("the drain to begin", || {
        Client::try_connect(&proxy.admin()).map_or(Some(()), |_| {
            (proxy.ask("/ready").status() == 503).then_some(())
        })
    });
}

#[test]
fn metrics_are_openmetrics() {
    let upstream = Upstream::fixed("ok");
    let proxy = proxy(&upstream);
    Client::connect(proxy.web()).get("/");
    let answer = proxy.ask("/metrics");
    let kind = answer.field("content-type").unwrap_or_default();
    assert!(kind.starts_with("application/openmetrics-text"), "{kind}");
    assert!(proxy.metrics().families.len() > 10);
}

/// `None` where nobody answers, or a socket was closed between the connection and its answer.
fn status(at: impl Into<Address>, target: &str, host: &str) -> Option<u16> {
    let mut client = Client::try_connect(&at.into()).ok()?;
    let fields = [&*format!("Host: {host}")];
    client.try_send(request("GET", target, &fields, b"")).ok()?;
    Some(client.try_response("GET").ok()?.status())
}

/// Their own old socket is in nobody's way, as with listeners.
#[test]
fn probes_move_to_every_address_of_their_port_and_back() {
    let upstream = Upstream::fixed("ok");
    let mut proxy = proxy(&upstream);
    let port = proxy.probes().tcp().port();
    let text = |bind: &str| {
        format!(
            "probes: {{ bind: '{bind}:{port}' }}\n{}",
            simple(&[&upstream.address])
        )
    };
    for (bind, elsewhere) in [("0.0.0.0", true), ("[::]", true), ("127.0.0.1", false)] {
        proxy.reload(&text(bind));
        wait::until(&format!("probes at {bind}"), || {
            let live = |ip: [u8; 4]| {
                status(SocketAddr::from((ip, port)), "/live", "localhost") == Some(200)
            };
            (live([127, 0, 0, 1]) && live([127, 0, 0, 2]) == elsewhere).then_some(())
        });
    }
}

#[test]
fn admin_and_probes_change_places() {
    let upstream = Upstream::fixed("ok");
    let mut proxy = proxy(&upstream);
    let (admin, probes) = (proxy.admin().tcp(), proxy.probes().tcp());
    proxy.rewrite(&format!(
        "admin: {{ bind: '{probes}' }}\nprobes: {{ bind: '{admin}' }}\n{}",
        simple(&[&upstream.address])
    ));
    wait::until("both to have moved", || {
        let of = |at| status(at, "/config", "localhost");
        (of(probes) == Some(200) && of(admin) == Some(404)).then_some(())
    });
}

/// A refused file leaves both faces as they are, their settings included.
#[test]
fn a_port_of_somebody_else_leaves_the_old_faces() {
    let upstream = Upstream::fixed("ok");
    let mut proxy = proxy(&upstream);
    let port = proxy.probes().tcp().port();
    let _other = std::net::TcpListener::bind(("127.0.0.2", port)).unwrap();
    let table = proxy.table();
    proxy.rewrite(&format!(
        "admin: {{ bind: '127.0.0.1:0', allowed_hosts: [new.example] }}
probes: {{ bind: '0.0.0.0:{port}' }}\n{}",
        simple(&[&upstream.address])
    ));
    let log = wait::until("the refusal", || {
        let log = proxy.process.stderr();
        log.contains("probes: cannot bind").then_some(log)
    });
    assert!(log.contains("the last good one stays"), "{log}");
    assert_eq!(proxy.table(), table);
    assert_eq!(status(proxy.probes(), "/live", "localhost"), Some(200));
    assert_eq!(status(proxy.admin(), "/live", "new.example"), Some(421));
}
