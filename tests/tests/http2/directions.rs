//! HTTP/1 and HTTP/2 on either side, by curl and h2load. The HTTP/2 endpoint is a second proxy, so
//! that what the last one in the chain receives has been translated there and back.

use std::{fs, process::Command};

use outrigger_tests::{
    files::TempDir,
    http::Message,
    process::output,
    proxy::Proxy,
    tools,
    upstream::{Peer, Upstream},
};

use super::towards;

/// Answers `/chunked` with chunks and a trailer, `/early` with an interim response before, and
/// everything else with what it received.
fn script(peer: &mut Peer) {
    while let Some(request) = peer.request() {
        match request.target() {
            "/chunked" => {
                peer.send(
                    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n",
                );
                peer.send("5\r\nhello\r\n6\r\n world\r\n0\r\nx-sum: 42\r\n\r\n");
            }
            "/hints" => {
                peer.send("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n");
                peer.answer(200, b"after hints");
            }
            "/empty" => {
                peer.send("HTTP/1.1 204 No Content\r\n\r\n");
            }
            _ => {
                peer.answer(200, &request.body);
            }
        }
    }
}

struct Chain {
    upstream: Upstream,
    /// Towards `upstream` by HTTP/1.
    one: Proxy,
    /// Towards `one` by HTTP/2.
    two: Proxy,
}

fn chain() -> Chain {
    let upstream = Upstream::script(script);
    let one = towards("http1", &upstream.address);
    let two = towards("http2", &one.web().into());
    Chain { upstream, one, two }
}

impl Chain {
    fn last(&self) -> Message {
        self.upstream
            .requests()
            .pop()
            .expect("a request came through")
    }
}

fn curl(arguments: &[&str]) -> Option<String> {
    let curl = tools::need("curl over HTTP/2", "curl")?;
    let mut command = Command::new(curl);
    command
        .args(["-sS", "--max-time", "20"])
        .env_remove("http_proxy")
        .args(arguments);
    Some(output(&mut command).success().stdout)
}

const VERSIONS: [&str; 2] = ["--http1.1", "--http2-prior-knowledge"];

#[test]
fn bodies_and_fields_pass_whatever_carries_them() {
    let chain = chain();
    for proxy in [&chain.one, &chain.two] {
        let web = proxy.web();
        for version in VERSIONS {
            let url = |path: &str| format!("http://{web}{path}");
            let Some(echo) = curl(&[
                version,
                "-d",
                "some form",
                "-H",
                "X-Mixed: Case",
                &url("/echo?a=b"),
            ]) else {
                return;
            };
            assert_eq!(echo, "some form");
            let received = chain.last();
            assert_eq!(received.method(), "POST");
            assert_eq!(received.target(), "/echo?a=b");
            assert_eq!(received.field("host"), Some(&*web.to_string()));
            assert_eq!(received.field("content-length"), Some("9"));
            assert_eq!(received.field("x-mixed"), Some("Case"));
            assert!(received.field("x-request-id").is_some());

            let chunked = curl(&[version, "-i", &url("/chunked")]).unwrap_or_default();
            assert!(
                chunked.ends_with("hello world") || chunked.contains("hello world"),
                "{chunked}"
            );
            assert!(chunked.contains("x-sum: 42"), "{version} {chunked}");

            let hints = curl(&[version, "-i", &url("/hints")]).unwrap_or_default();
            assert!(hints.contains(" 103"), "{version} {hints}");
            assert!(hints.ends_with("after hints"), "{hints}");

            let head = curl(&[version, "-I", &url("/echo")]).unwrap_or_default();
            assert!(
                head.to_ascii_lowercase().contains("content-length: 0"),
                "{head}"
            );
            let empty = curl(&[version, "-i", &url("/empty")]).unwrap_or_default();
            assert!(empty.contains(" 204"), "{empty}");
        }
    }
}

#[test]
fn large_bodies_arrive_whole_in_both_directions() {
    let chain = chain();
    let dir = TempDir::new();
    let sent: Vec<u8> = (0..3_000_000_usize).map(|n| (n % 251) as u8).collect();
    let (file, back) = (dir.file("sent"), dir.file("back"));
    fs::write(&file, &sent).unwrap();
    let (file, out) = (format!("@{}", file.display()), back.display().to_string());
    for proxy in [&chain.one, &chain.two] {
        let url = format!("http://{}/echo", proxy.web());
        for version in VERSIONS {
            for framing in ["Content-Length: 3000000", "Transfer-Encoding: chunked"] {
                if version != "--http1.1" && framing.starts_with("Transfer") {
                    continue;
                }
                let arguments = [
                    version,
                    "-o",
                    &out,
                    "-H",
                    framing,
                    "--data-binary",
                    &file,
                    &url,
                ];
                if curl(&arguments).is_none() {
                    return;
                }
                assert!(fs::read(&back).unwrap() == sent, "{version} {framing}");
            }
        }
    }
}

#[test]
fn many_streams_share_one_connection_to_the_endpoint() {
    const TEST: &str = "many_streams_share_one_connection_to_the_endpoint";
    let Some(h2load) = tools::need(TEST, "h2load") else {
        return;
    };
    let chain = chain();
    let url = format!("http://{}/echo", chain.two.web());
    let mut command = Command::new(h2load);
    command.args(["-n", "2000", "-c", "4", "-m", "32", &url]);
    let said = output(&mut command).success().stdout;
    assert!(said.contains("2000 succeeded, 0 failed"), "{said}");
    assert_eq!(chain.upstream.count(), 2_000);
    let metrics = chain.two.metrics();
    let connects = metrics.sum("outrigger_upstream_connections_total", &[]);
    assert!(
        (connects - 1.0).abs() < 0.5,
        "{connects} connections for 128 streams"
    );
}
