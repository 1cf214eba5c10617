//! What clients get: certificates, protocols, requests over them, and why they get nothing.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    process::Command,
    sync::Arc,
};

use outrigger_tests::{
    client::{Client, request},
    proxy::Setup,
    secure::Secured,
    tools,
    upstream::Upstream,
    wait, websocket,
};
use rustls::HandshakeKind;

use super::{get, site, start};

#[test]
fn a_name_brings_its_certificate_and_requests_know_that_they_are_secure() {
    let (dir, authority) = site();
    let wild = authority.issue(dir.path(), "wild", &["*.wild.example"]);
    let upstream = Upstream::fixed("hello");
    let tls = ", min_version: '1.2'".to_owned();
    let text = super::text(&dir, &tls, &upstream)
        .replace(
            "}] ,",
            &format!(
                "}}, {{ cert: {0}/wild.pem, key: {0}/wild.key }}] ,",
                dir.path().display()
            ),
        )
        .replace(
            "cluster: back }] }",
            "cluster: back }], session: { cookie: home } }",
        );
    let proxy = Setup::new(&text).start();
    let config = Arc::new(authority.client(&["http/1.1"]));
    let mut client = Secured::connect(proxy.web(), "b.wild.example", &config).unwrap();
    assert_eq!(client.certificate(), wild);
    let answer = client
        .ask(&request("GET", "/", &["Host: B.wild.example:443"], b""))
        .unwrap();
    assert_eq!((answer.status(), answer.text().as_str()), (200, "hello"));
    let cookie = answer.field("set-cookie").unwrap();
    assert!(cookie.ends_with("; Secure"), "{cookie}");
    let received = upstream.take().remove(0);
    assert_eq!(received.field("x-forwarded-proto"), Some("https"));

    // On the same connection, for whom it is not.
    let answer = client
        .ask(&request("GET", "/", &["Host: a.example"], b""))
        .unwrap();
    assert_eq!(answer.status(), 421);
    assert_eq!(upstream.count(), 0);
    let answer = client
        .ask(&request("GET", "/", &["Host: c.wild.example"], b""))
        .unwrap();
    assert_eq!(answer.status(), 200);

    let lines = proxy.log_of(3);
    for (field, value) in [
        ("sni", "b.wild.example"),
        ("alpn", "http/1.1"),
        ("tls_version", "TLSv1.3"),
        ("cipher", "TLS_AES_128_GCM_SHA256"),
        ("group", "X25519MLKEM768"),
    ] {
        assert_eq!(lines[0][field], value, "{field} of {}", lines[0]);
    }
    assert_eq!(lines[1]["cause"], "misdirected_request");
    let metrics = proxy.metrics();
    let file = dir.file("wild.pem").display().to_string();
    let expiry = metrics.sum(
        "outrigger_certificate_expiry_timestamp_seconds",
        &[("scope", "listener"), ("name", "web"), ("file", &file)],
    );
    assert!((expiry - 4_102_444_800.0).abs() < 1.0, "{expiry}");
    let shown = proxy.ask_json("/listeners");
    assert_eq!(shown[0]["certificates"][1]["names"][0], "*.wild.example");
}

#[test]
fn curl_speaks_what_it_agreed_on() {
    let Some(curl) = tools::need("tls", "curl") else {
        return;
    };
    let (dir, _) = site();
    let upstream = Upstream::fixed(&"x".repeat(300_000));
    let proxy = start(&dir, ", min_version: '1.2'", &upstream);
    let port = proxy.web().port();
    for (arguments, expected) in [
        (&["--http1.1"][..], "1.1 200 300000"),
        (&["--http2"], "2 200 300000"),
        (&["--http2", "--tls-max", "1.2"], "2 200 300000"),
        (&["--no-alpn"], "1.1 200 300000"),
    ] {
        let mut command = Command::new(&curl);
        command.args(["--silent", "--show-error", "--output", "/dev/null"]);
        command.args([
            "--write-out",
            "%{http_version} %{http_code} %{size_download}",
        ]);
        command.arg("--cacert").arg(dir.file("ca.pem"));
        command.args(["--resolve", &format!("a.example:{port}:127.0.0.1")]);
        command
            .args(arguments)
            .arg(format!("https://a.example:{port}/"));
        let seen = outrigger_tests::process::output(&mut command);
        assert_eq!(seen.stdout, expected, "{arguments:?}: {}", seen.stderr);
    }
    assert!(
        upstream
            .take()
            .iter()
            .all(|r| r.field("x-forwarded-proto") == Some("https"))
    );
}

#[test]
fn sessions_are_resumed_and_early_data_is_not_taken() {
    let (dir, authority) = site();
    let upstream = Upstream::fixed("hello");
    let proxy = start(&dir, "", &upstream);
    let mut config = authority.client(&["http/1.1"]);
    config.enable_early_data = true;
    let config = Arc::new(config);
    assert_eq!(get(&proxy, &config).unwrap(), 200);
    let mut again = Secured::connect(proxy.web(), "a.example", &config).unwrap();
    assert_eq!(
        again.stream.conn.handshake_kind(),
        Some(HandshakeKind::Resumed)
    );
    assert!(again.stream.conn.early_data().is_none());
    assert_eq!(
        again.ask(&request("GET", "/", &[], b"")).unwrap().status(),
        200
    );
    let metrics = proxy.metrics();
    for result in ["full", "resumed"] {
        let labels = [("listener", "web"), ("result", result)];
        assert!(
            metrics.sum("outrigger_tls_handshakes_total", &labels) > 0.5,
            "{result}"
        );
    }
}

#[test]
fn what_is_no_proper_handshake_is_refused_by_its_name() {
    let (dir, authority) = site();
    let upstream = Upstream::fixed("hello");
    let proxy = start(&dir, ", handshake_timeout: 300ms", &upstream);
    let web = proxy.web();

    // Not TLS.
    let mut plain = Client::connect(web);
    plain.try_send(request("GET", "/", &[], b"")).unwrap();
    plain.expect_end();
    // A part of a first message, and silence: a bound on both.
    for bytes in [&b""[..], &[22, 3, 1, 2, 0, 1, 0]] {
        let mut slow = Client::connect(web);
        slow.send(bytes).expect_end();
    }
    // A part, and the end.
    let mut cut = TcpStream::connect(web).unwrap();
    cut.write_all(&[22, 3, 1, 2, 0, 1, 0]).unwrap();
    drop(cut);
    // Nothing in common.
    let strange = Arc::new(authority.client(&["spdy/1"]));
    assert!(Secured::connect(web, "a.example", &strange).is_err());
    let old = rustls::ClientConfig::builder_with_protocol_versions(&[&rustls::version::TLS12])
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let refused = Secured::connect(web, "a.example", &Arc::new(old)).unwrap_err();
    assert!(refused.to_string().contains("ProtocolVersion"), "{refused}");

    let mut causes: Vec<_> = proxy
        .log_of(6)
        .iter()
        .map(|line| line["cause"].as_str().unwrap().to_owned())
        .collect();
    causes.sort();
    let expected = [
        "client_gone",
        "protocol_unknown",
        "tls_handshake_failed",
        "tls_handshake_failed",
        "tls_handshake_timeout",
        "tls_handshake_timeout",
    ];
    assert_eq!(causes, expected);
    // TLS 1.1, of whoever still has it.
    if let Some(openssl) = tools::need("tls", "openssl") {
        let mut command = Command::new(openssl);
        command.args([
            "s_client",
            "-tls1_1",
            "-cipher",
            "ALL:@SECLEVEL=0",
            "-connect",
        ]);
        command
            .arg(web.to_string())
            .stdin(std::process::Stdio::null());
        let seen = outrigger_tests::process::output(&mut command);
        let said = format!("{}{}", seen.stdout, seen.stderr);
        assert!(said.contains("no peer certificate available"), "{said}");
    }
    assert_eq!(upstream.connections(), 0);
}

#[test]
fn what_was_agreed_on_is_kept_to() {
    let (dir, authority) = site();
    let upstream = Upstream::fixed("hello");
    let proxy = start(&dir, "", &upstream);
    for (agreed, bytes) in [
        ("http/1.1", &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..]),
        ("h2", b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n"),
    ] {
        let config = Arc::new(authority.client(&[agreed]));
        let mut client = Secured::connect(proxy.web(), "a.example", &config).unwrap();
        assert_eq!(client.ask(bytes).unwrap().status(), 400, "{agreed}");
    }
    let causes: Vec<_> = proxy
        .log_of(2)
        .iter()
        .map(|line| line["cause"].clone())
        .collect();
    assert_eq!(causes, ["tls_alpn_broken", "tls_alpn_broken"]);
    assert_eq!(upstream.count(), 0);
}

#[test]
fn handshakes_that_stall_hold_up_others_no_longer_than_they_last() {
    let (dir, authority) = site();
    let upstream = Upstream::fixed("hello");
    let text = super::text(&dir, ", handshake_timeout: 5m", &upstream);
    let proxy = Setup::new(&text).mesh("limits: { handshakes: 1 }").start();
    // The first message, and then nothing more.
    let config = Arc::new(authority.client(&[]));
    let name = rustls::pki_types::ServerName::try_from("a.example").unwrap();
    let mut session = rustls::ClientConnection::new(Arc::clone(&config), name).unwrap();
    let mut hello = Vec::new();
    session.write_tls(&mut hello).unwrap();
    let mut stalls = TcpStream::connect(proxy.web()).unwrap();
    stalls.write_all(&hello).unwrap();
    // It has its turn when it is answered.
    stalls.read_exact(&mut [0]).unwrap();
    let address = proxy.web();
    let waits = std::thread::spawn(move || {
        let mut client = Secured::connect(address, "a.example", &config).unwrap();
        client.ask(&request("GET", "/", &[], b"")).unwrap().status()
    });
    wait::until("the second to be there", || {
        let active = proxy
            .metrics()
            .sum("outrigger_connections_active", &[("listener", "web")]);
        (active > 1.5).then_some(())
    });
    assert_eq!(upstream.count(), 0);
    drop(stalls);
    assert_eq!(waits.join().unwrap(), 200);
}

#[test]
fn tunnels_go_over_it_and_opaque_bytes_too() {
    let (dir, authority) = site();
    let upstream = Upstream::script(|peer| {
        let opened = peer.head().is_some_and(|head| websocket::is_opening(&head));
        peer.send(websocket::accepting());
        assert!(opened);
        while let Ok(byte) = peer.exactly(1) {
            peer.send(byte);
        }
    });
    let proxy = start(&dir, "", &upstream);
    let config = Arc::new(authority.client(&["http/1.1"]));
    let mut client = Secured::connect(proxy.web(), "a.example", &config).unwrap();
    let answer = client.ask(websocket::opening("/").as_bytes()).unwrap();
    assert_eq!(answer.status(), 101);
    let frame = websocket::from_client("hello");
    client.stream.write_all(&frame).unwrap();
    let mut echo = vec![0; frame.len()];
    client.stream.read_exact(&mut echo).unwrap();
    assert_eq!(echo, frame);

    // A TCP listener: every byte, in order, and then the end of each side.
    let upstream = Upstream::script(|peer| {
        let all = peer.wait_end();
        peer.send(&all);
    });
    let text = super::text(&dir, ", alpn: [echo]", &upstream)
        .replace("protocol: http", "protocol: tcp, cluster: back");
    let proxy = Setup::new(&text).start();
    let config = Arc::new(authority.client(&["echo"]));
    let mut client = Secured::connect(proxy.web(), "a.example", &config).unwrap();
    let sent: Vec<u8> = (0..400_000_u32).map(|n| (n % 253) as u8).collect();
    client.stream.write_all(&sent).unwrap();
    client.stream.conn.send_close_notify();
    client.stream.flush().unwrap();
    let mut all = Vec::new();
    client.stream.read_to_end(&mut all).unwrap();
    assert!(all == sent, "{} bytes came", all.len());
}
