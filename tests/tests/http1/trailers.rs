//! Fields after a body.

use outrigger_tests::{
    client::{Client, request},
    http::has_line,
    proxy::Proxy,
    upstream::Upstream,
};

const ANSWER: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum, grpc-status\r\n\r\n\
                      2\r\nok\r\n0\r\nX-Sum: 42\r\ngrpc-status: 0\r\n\r\n";

#[test]
fn trailers_go_both_ways() {
    let upstream = Upstream::canned(ANSWER);
    let proxy = Proxy::to(&[&upstream.address]);
    let mut client = Client::connect(proxy.web());
    for _ in 0..3 {
        client.send(request(
            "POST",
            "/",
            &["Transfer-Encoding: chunked", "Trailer: X-In"],
            b"",
        ));
        client.send("3\r\nabc\r\n0\r\nX-In: 1\r\n\r\n");
        let answer = client.response();
        assert_eq!(answer.text(), "ok");
        assert!(has_line(&answer.trailers, "X-Sum: 42"), "{answer}");
        assert!(has_line(&answer.trailers, "grpc-status: 0"), "{answer}");
        assert_eq!(answer.field("trailer"), Some("X-Sum, grpc-status"));
    }
    let request = &upstream.requests()[2];
    assert_eq!(request.text(), "abc");
    assert!(has_line(&request.trailers, "X-In: 1"), "{request}");
    assert_eq!(request.field("trailer"), Some("X-In"));
}

#[test]
fn an_http_1_0_client_gets_the_body_without_trailers_and_chunks() {
    let upstream = Upstream::canned(ANSWER);
    let proxy = Proxy::to(&[&upstream.address]);
    let mut client = Client::connect(proxy.web());
    client.send("GET / HTTP/1.0\r\nHost: a.example\r\n\r\n");
    let answer = client.response();
    assert!(answer.field("transfer-encoding").is_none(), "{answer}");
    assert_eq!(answer.text(), "ok");
}

/// The end of an HTTP/1.0 response is the end of the connection. A cut one must not look whole.
#[test]
fn an_http_1_0_client_sees_a_cut_response_as_a_reset() {
    let upstream = Upstream::script(|peer| {
        peer.request();
        peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
    });
    let proxy = Proxy::to(&[&upstream.address]);
    let mut client = Client::connect(proxy.web());
    client.send("GET / HTTP/1.0\r\nHost: a.example\r\n\r\n");
    let answer = client.try_response("GET");
    let whole = matches!(&answer, Ok(a) if a.status() == 200);
    assert!(!whole, "a cut response looks whole: {answer:?}");
}
