//! Envoy in front of the proxy and behind it, by HTTP/2 all the way.

use std::{fs, path::Path, process::Command};

use outrigger_tests::{
    files::TempDir,
    frames::{Block, Client, Frame, code, kind, request, response, server},
    process::Process,
    tools,
    upstream::Upstream,
    wait,
    wire::Address,
};

use super::before;

/// An Envoy that takes and speaks HTTP/2 alone.
fn envoy(binary: &Path, dir: &TempDir, endpoint: &Address) -> (Process, Address) {
    let to = endpoint.tcp().port();
    tools::serve("envoy", dir, |port| {
        let config = dir.file("envoy.yaml");
        let text = format!(
            r#"static_resources:
  listeners:
  - address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: in
          codec_type: HTTP2
          proxy_100_continue: true
          http_filters:
          - {{ name: envoy.filters.http.router, typed_config: {{ "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }} }}
          route_config: {{ virtual_hosts: [{{ name: all, domains: ["*"], routes: [{{ match: {{ prefix: / }}, route: {{ cluster: out, timeout: 0s }} }}] }}] }}
  clusters:
  - name: out
    type: STATIC
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {{ http2_protocol_options: {{}} }}
    load_assignment: {{ cluster_name: out, endpoints: [{{ lb_endpoints: [{{ endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {to} }} }} }} }}] }}] }}
"#
        );
        fs::write(&config, text).unwrap();
        let mut command = Command::new(binary);
        command.arg("-c").arg(&config);
        command.args(["--concurrency", "1", "-l", "warn", "--disable-hot-restart"]);
        command
    })
}

fn pattern(n: usize) -> Vec<u8> {
    (0..n).map(|n| (n % 251) as u8).collect()
}

/// Echoes bodies and trailers of `/echo`, hangs on `/hang`, says on `/cancelled` how that ended, and
/// breaks `/break` off.
fn endpoint() -> Upstream {
    server(&[], |connection| {
        let (mut cancelled, mut unfinished) = (String::new(), 0);
        while let Some(frame) = connection.read() {
            let stream = frame.stream;
            if frame.kind == kind::RST_STREAM {
                cancelled = frame.number(0).to_string();
                continue;
            }
            let Some(message) = connection.message(stream).filter(|m| !m.fields.is_empty()) else {
                continue;
            };
            let (path, ended) = (message.get(":path").unwrap().to_owned(), message.ended);
            match (&*path, ended) {
                ("/hang", false) if frame.kind == kind::HEADERS => {
                    connection.send_all(&[
                        Frame::headers(stream, response(200, &[])),
                        Frame::data(stream, *b"part"),
                    ]);
                }
                ("/break", true) => {
                    connection.send_all(&[
                        Frame::headers(stream, response(200, &[])),
                        Frame::data(stream, *b"part"),
                    ]);
                    unfinished = stream;
                }
                // The client has the head of `/break`: nobody on the way can overtake it now.
                ("/broken", true) => {
                    connection.send(&Frame::reset(unfinished, code::ENHANCE_YOUR_CALM));
                    connection.answer(stream, 200, &[], b"");
                }
                ("/cancelled", true) => {
                    connection.answer(stream, 200, &[], cancelled.as_bytes());
                }
                ("/echo", true) => {
                    let message = connection.messages.remove(&stream).unwrap();
                    let trailers = message.trailers.unwrap_or_default();
                    let mut trailers: Vec<_> = trailers.iter().map(|(n, v)| (&**n, &**v)).collect();
                    trailers.push(("x-after", "yes"));
                    connection.send(&Frame::headers(stream, response(200, &[])));
                    connection.send_body(stream, &message.body, false);
                    let trailers = Frame::headers(stream, Block::of(&trailers));
                    connection.send(&trailers.end_stream());
                }
                _ => {}
            }
        }
    })
}

#[test]
fn envoy_stands_in_front_and_behind() {
    let Some(binary) = tools::need_envoy("envoy_stands_in_front_and_behind") else {
        return;
    };
    let up = endpoint();
    let dirs = [TempDir::new(), TempDir::new()];
    let (_behind, behind) = envoy(&binary, &dirs[0], &up.address);
    let proxy = before(&[&behind], "");
    let (_front, front) = envoy(&binary, &dirs[1], &proxy.web().into());

    let mut client = Client::connect(front);
    let body = pattern(1_000_000);
    let stream = client.open(request("POST", "/echo", &[("te", "trailers")]), false);
    client.send_body(stream, &body, false);
    client.send(&Frame::headers(stream, Block::of(&[("x-sum", "42")])).end_stream());
    let got = client.whole(stream);
    assert!(got.body == body, "{} bytes came", got.body.len());
    let trailers = [("x-sum", "42"), ("x-after", "yes")].map(|(n, v)| (n.to_owned(), v.to_owned()));
    assert_eq!(got.trailers, Some(trailers.to_vec()));

    // Cancelled by the client: all the way up.
    let stream = client.open(request("POST", "/hang", &[]), false);
    assert_eq!(client.head(stream).status(), 200);
    client.send(&Frame::reset(stream, code::CANCEL));
    wait::until("the endpoint to see it", || {
        let seen = client.get("/cancelled").body;
        (!seen.is_empty()).then_some(())
    });

    // Broken off by the endpoint: all the way down, in the codes that Envoy has for it.
    let stream = client.open(request("GET", "/break", &[]), true);
    assert_eq!(client.head(stream).status(), 200);
    assert_eq!(client.get("/broken").status(), 200);
    let got = client.whole(stream);
    assert!(!got.ended && got.reset.is_some(), "{got:?}");

    let streams: Vec<_> = (0..100)
        .map(|_| client.open(request("GET", "/echo", &[]), true))
        .collect();
    for stream in streams {
        assert_eq!(client.whole(stream).status(), 200);
    }
    assert_eq!(up.connections(), 1);
    let log = proxy.log_of(104);
    let causes: Vec<_> = log
        .iter()
        .filter_map(|line| line["cause"].as_str())
        .collect();
    assert_eq!(causes, ["client_gone", "http_response_incomplete"]);
}
