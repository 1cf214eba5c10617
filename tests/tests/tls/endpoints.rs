//! Endpoints over TLS: what is spoken to them, and who they must be. The server is most often the
//! proxy itself with a plain back end behind it.

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
};

use outrigger_tests::{
    client::{self, Client, request},
    files::TempDir,
    proxy::{Proxy, Setup},
    secure::{Authority, serve_once},
    upstream::Upstream,
};

use super::{site, start};

/// A proxy with these settings of its cluster, with whose `tls` goes the authority.
fn towards(dir: &TempDir, endpoint: impl std::fmt::Display, cluster: &str, tls: &str) -> Proxy {
    let text = format!(
        "listeners: [{{ name: web, bind: '127.0.0.1:0', protocol: http, http: {{ proxy_status: true }} }}]
routes: [{{ name: all, rules: [{{ backends: [{{ cluster: back }}] }}] }}]
clusters: [{{ name: back, endpoints: ['{endpoint}'] {cluster}, tls: {{ ca: {{ files: [FILES/ca.pem] }} {tls} }} }}]"
    );
    Setup::new(&text.replace("FILES", &dir.path().display().to_string())).start()
}

/// Asks once and returns the status, and the cause in the log.
fn outcome(proxy: &Proxy) -> (u16, String) {
    let before = proxy.log().len();
    let status = client::get(proxy.web(), "/").status();
    let line = proxy.log_of(before + 1).pop().unwrap();
    (status, line["cause"].as_str().unwrap_or("").to_owned())
}

#[test]
fn alpn_decides_what_an_endpoint_is_spoken_to_in() {
    let (dir, _) = site();
    let upstream = Upstream::fixed("hello");
    for (server, cluster, expected) in [
        ("", "protocol: http1", Ok("HTTP/1.1")),
        ("", "protocol: http2", Ok("HTTP/2")),
        ("", "protocol: auto", Ok("HTTP/2")),
        (", alpn: [http/1.1]", "protocol: auto", Ok("HTTP/1.1")),
        (", alpn: []", "protocol: auto", Ok("HTTP/1.1")),
        (", alpn: []", "protocol: http1", Ok("HTTP/1.1")),
        (
            ", alpn: [http/1.1]",
            "protocol: http2",
            Err("tls_alpn_mismatch"),
        ),
        (", alpn: []", "protocol: http2", Err("tls_alpn_mismatch")),
        (", alpn: [h2]", "protocol: http1", Err("tls_alpn_mismatch")),
    ] {
        let what = format!("{server} {cluster}");
        let b = start(&dir, server, &upstream);
        let cluster = format!(", {cluster}");
        let a = towards(
            &dir,
            b.web(),
            &cluster,
            ", sni: a.example, verify: { hostname: a.example }",
        );
        let web = a.web();
        match expected {
            Ok(protocol) => {
                let mut client = Client::connect(web);
                for _ in 0..3 {
                    assert_eq!(client.get("/").status(), 200, "{what}");
                }
                assert_eq!(b.log_of(3)[2]["protocol"], protocol, "{what}");
                let shaken = [("listener", "web")];
                let shaken = b.metrics().sum("outrigger_tls_handshakes_total", &shaken);
                // Over HTTP/1 a connection is left alone after a pause that is not known to be safe.
                assert!(
                    protocol == "HTTP/1.1" || shaken < 1.5,
                    "{what}: {shaken} handshakes"
                );
            }
            Err(cause) => assert_eq!(outcome(&a), (502, cause.to_owned()), "{what}"),
        }
    }
}

#[test]
fn an_endpoint_is_who_it_must_be_or_gets_nothing() {
    let (dir, authority) = site();
    let names = ["a.example", "127.0.0.1", "*.wild.example"];
    authority.issue(dir.path(), "site", &names);
    authority.issue_until(dir.path(), "late", &["a.example"], 2_002);
    Authority::new().issue(dir.path(), "strange", &["a.example"]);
    authority.issue(dir.path(), "own", &["proxy.example"]);
    let upstream = Upstream::fixed("hello");
    let good = start(&dir, "", &upstream);
    let with = |stem: &str| {
        let text = super::text(&dir, "", &upstream).replace("site.", &format!("{stem}."));
        Setup::new(&text).start()
    };
    let (late, strange) = (with("late"), with("strange"));
    let ca = dir.file("ca.pem").display().to_string();
    let asks = start(
        &dir,
        &format!(", client_certificates: required, client_ca: [{ca}], check_authority: false"),
        &upstream,
    );
    let unknown = "tls_certificate_unknown_ca";
    let own = dir.path().display().to_string();
    let own = format!(", client_certificate: {{ cert: {own}/own.pem, key: {own}/own.key }}");
    for (server, tls, status, cause) in [
        (&good, ", sni: a.example", 200, ""),
        // By its address, with which it is asked for nothing.
        (&good, "", 200, ""),
        (
            &good,
            ", sni: b.example",
            502,
            "tls_certificate_name_mismatch",
        ),
        (
            &good,
            ", sni: b.example, verify: { hostname: a.example }",
            200,
            "",
        ),
        (
            &good,
            ", verify: { hostname: b.example }",
            502,
            "tls_certificate_name_mismatch",
        ),
        (&good, ", verify: { san: [b.example, a.example] }", 200, ""),
        (
            &good,
            ", verify: { san: [x.wild.example] }",
            502,
            "tls_certificate_name_mismatch",
        ),
        (
            &good,
            ", verify: { san: ['spiffe://b.example/x'] }",
            502,
            "tls_certificate_name_mismatch",
        ),
        (&late, ", sni: a.example", 502, "tls_certificate_expired"),
        (&strange, ", sni: a.example", 502, unknown),
        (&strange, ", verify: { san: [a.example] }", 502, unknown),
        (&asks, &format!(", sni: a.example{own}"), 200, ""),
    ] {
        let a = towards(&dir, server.web(), "", tls);
        assert_eq!(outcome(&a), (status, cause.to_owned()), "{tls}");
        let result = if cause.is_empty() { "full" } else { cause };
        let counted = [("cluster", "back"), ("result", result)];
        let counted = a
            .metrics()
            .sum("outrigger_upstream_tls_handshakes_total", &counted);
        assert!(counted > 0.5, "{tls}");
    }
    // A server that wants to know who we are says so after we believe to be done.
    let a = towards(&dir, asks.web(), "", ", sni: a.example");
    assert_eq!(outcome(&a).0, 502);
    let refused = asks.log_of(2).pop().unwrap();
    assert_eq!(refused["cause"], "client_certificate_missing");
}

#[test]
fn nothing_leaves_in_plain_text() {
    let (dir, _) = site();
    // It would understand: and sees the beginning of a handshake.
    let plain = Upstream::script(|peer| {
        let first = peer.exactly(1).unwrap();
        assert_eq!(first, [22]);
        peer.answer(400, b"plain");
    });
    let a = towards(&dir, &plain.address, "", ", sni: a.example");
    assert_eq!(outcome(&a), (502, "tls_protocol_error".to_owned()));
    assert_eq!(plain.count(), 0);

    // One that accepts and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let settings = ", connect_timeout: 200ms, safe_resends: 0";
    let a = towards(&dir, address, settings, ", sni: a.example");
    assert_eq!(outcome(&a), (504, "connection_timeout".to_owned()));
}

#[test]
fn a_body_that_was_cut_is_not_taken_for_whole() {
    let (dir, _) = site();
    for whole in [true, false] {
        let (address, server) = serve_once(dir.path(), "site", move |stream| {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                head.push(byte[0]);
            }
            stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nsome").unwrap();
            if whole {
                stream.conn.send_close_notify();
            }
            stream.flush().unwrap();
        });
        let a = towards(&dir, address, "", ", sni: a.example");
        let mut client = Client::connect(a.web());
        client.send(request("GET", "/", &[], b""));
        let answer = client.try_response("GET");
        server.join().unwrap();
        let line = a.log_of(1).remove(0);
        if whole {
            assert_eq!(answer.unwrap().text(), "some");
            assert!(line["cause"].is_null(), "{line}");
        } else {
            assert!(answer.is_err(), "{answer:?}");
            assert_eq!(line["cause"], "http_response_incomplete");
        }
    }
}
