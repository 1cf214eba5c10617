//! Heads from a seeded generator: sound ones put together from parts, most of which mean something,
//! and then perhaps damaged.

use fastrand::Rng;
use outrigger_tests::mutations::mutate;

use crate::oracle::Kind;

const METHODS: &[&str] = &[
    "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "CONNECT", "TRACE", "PROPFIND",
    "M-SEARCH", "get", "BREW",
];
const TARGETS: &[&str] = &[
    "/",
    "/a/b?c=d",
    "/%20?",
    "/~a;b=c,d/'(e)!$&*+:@",
    "/{a}|^`\\[b]",
    "//a",
    "/a?b?c",
    "http://a.example/x",
    "HTTP://a.example",
    "https://a.example:443/?q",
    "http://a.example?q",
    "*",
    "a.example:443",
    "/a#b",
    "a",
];
const STATUSES: &[&str] = &[
    "200 OK",
    "200",
    "200 ",
    "204 No Content",
    "304 Not Modified",
    "100 Continue",
    "103 Early Hints",
    "101 Switching Protocols",
    "404 N\u{e4}h",
    "599 \tx",
    "600 x",
    "199 x",
];
const VERSIONS: &[&str] = &["HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/1.2"];
const FIELDS: &[&str] = &[
    "Content-Length: 5",
    "content-length:0",
    "CONTENT-LENGTH: 007 ",
    "Content-Length: 18446744073709551615",
    "Content-Length: 5, 5",
    "Content-Length: +5",
    "Transfer-Encoding: chunked",
    "transfer-encoding:\tCHUNKED\t",
    "Transfer-Encoding: gzip, chunked",
    "Transfer-Encoding: identity",
    "Connection: close",
    "Connection: keep-alive",
    "connection: Keep-Alive, Close",
    "Connection: upgrade",
    "Connection: foo, keep-alive , upgrade",
    "Connection:",
    "Connection: closed",
    "Connection: keep-alive-not",
    "Proxy-Connection: close",
    "Upgrade: websocket",
    "Upgrade: h2c, x",
    "Keep-Alive: timeout=5",
    "Expect: 100-continue",
    "TE: trailers",
    "X:",
    "X: \t a b \t ",
    "X: \u{80}\u{ff}",
    "!#$%&'*+-.^_`|~: ok",
    "x-long-name-with-1-digit: \"q,s;t\"",
    "X: a\tb",
    "Content-Lengthy: 5",
    "Transfer-Encodings: chunked",
    "Cookie: a=b; c",
];

/// A head of this kind.
pub(crate) fn generate(kind: Kind, corpus: &[Vec<u8>], random: &mut Rng) -> Vec<u8> {
    // Every third is a damaged vector, every third sound, every third its damaged sister.
    let style = random.u8(..3);
    let mut bytes = match style {
        0 => random.choice(corpus).unwrap().clone(),
        _ => sound(kind, random),
    };
    if style != 1 {
        for _ in 0..random.usize(1..=2) {
            mutate(&mut bytes, corpus, random);
        }
    }
    bytes
}

fn sound(kind: Kind, random: &mut Rng) -> Vec<u8> {
    let mut pick = |from: &[&'static str]| *random.choice(from).unwrap();
    let mut lines = match kind {
        Kind::Request => {
            let (method, target) = match pick(METHODS) {
                "CONNECT" => ("CONNECT", "a.example:443"),
                "OPTIONS" => ("OPTIONS", "*"),
                method => (method, pick(TARGETS)),
            };
            vec![
                format!("{method} {target} {}", pick(VERSIONS)),
                "Host: a.example".to_owned(),
            ]
        }
        Kind::Response => vec![format!("{} {}", pick(VERSIONS), pick(STATUSES))],
    };
    if lines[0].starts_with("CONNECT") {
        lines[1].push_str(":443");
    }
    for _ in 0..random.usize(..5) {
        let line = (*random.choice(FIELDS).unwrap()).to_owned();
        lines.insert(random.usize(1..=lines.len()), line);
    }
    let text = lines.join("\r\n") + "\r\n\r\n";
    outrigger_tests::http::bytes(&text)
}
