//! Thousands of damaged requests, made from the vectors with fixed seeds. Whatever comes in, what
//! goes upstream is well formed by a second, plain judgement, and the process stays.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a panic is how a test fails"
)]

use outrigger_tests::{
    client::Client,
    http::Message,
    proxy::Proxy,
    upstream::Upstream,
    vectors::{self, Verdict},
};

/// Xorshift: small, and the same everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % n as u64).unwrap()
    }
}

/// Pieces that have meant trouble somewhere.
const PIECES: [&[u8]; 24] = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b" ",
    b"\t",
    b":",
    b",",
    b";",
    b"0",
    b"\r\n\r\n",
    b"\x0b",
    b"\xff",
    b"Content-Length: 1\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Host: b\r\n",
    b"chunked",
    b"0\r\n\r\n",
    b"HTTP/1.0",
    b"GET /smuggled HTTP/1.1\r\nHost: a.example\r\n\r\n",
    b"%2e%2e/",
    b"+",
    b"_",
    b"Connection: close\r\n",
];

fn mutate(bytes: &[u8], others: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut out = bytes.to_vec();
    for _ in 0..=random.below(3) {
        let at = random.below(out.len() + 1);
        let until = (at + random.below(6)).min(out.len());
        match random.below(7) {
            0 if at < out.len() => out[at] ^= 1 << random.below(8),
            1 => drop(out.drain(at..until)),
            2 => drop(out.splice(at..at, PIECES[random.below(PIECES.len())].iter().copied())),
            3 => drop(out.splice(
                at..until,
                PIECES[random.below(PIECES.len())].iter().copied(),
            )),
            4 => {
                let copy = out[at..until].to_vec();
                drop(out.splice(at..at, copy));
            }
            5 => out.truncate(at),
            _ => {
                let other = &others[random.below(others.len())];
                out.extend_from_slice(&other[random.below(other.len())..]);
            }
        }
    }
    out
}

/// What is wrong with a forwarded request, if anything.
fn judge(request: &Message) -> Option<&'static str> {
    let token = |text: &str| {
        !text.is_empty()
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
    };
    let clean = |text: &str| {
        !text
            .chars()
            .any(|c| (c.is_ascii_control() && c != '\t') || c == '\u{7f}')
    };
    let parts: Vec<_> = request.line.split(' ').collect();
    let [method, target, version] = parts.as_slice() else {
        return Some("the request line has not three parts");
    };
    let path = target.split('?').next().unwrap_or_default();
    if !token(method) || *version != "HTTP/1.1" {
        return Some("method or version");
    }
    if !target.bytes().all(|b| (0x21..0x7f).contains(&b)) || target.contains('#') {
        return Some("a byte of the target");
    }
    if !(path.starts_with('/') || path == "*") || path.split('/').any(|s| s == "." || s == "..") {
        return Some("the path is not normal");
    }
    let lines = request.fields.iter().chain(&request.trailers);
    if !lines.clone().all(|f| token(&f.name) && clean(&f.value)) {
        return Some("a field");
    }
    if request.all("host").count() != 1 {
        return Some("Host is not there once");
    }
    let framings = request.all("content-length").count() + request.all("transfer-encoding").count();
    if framings > 1
        || request
            .all("transfer-encoding")
            .any(|v| !v.eq_ignore_ascii_case("chunked"))
    {
        return Some("the framing");
    }
    let listed = ["content-length", "transfer-encoding", "host", "connection"];
    if request
        .trailers
        .iter()
        .any(|t| listed.iter().any(|l| t.name.eq_ignore_ascii_case(l)))
    {
        return Some("a trailer that frames");
    }
    None
}

#[test]
fn whatever_comes_in_what_goes_out_is_well_formed() {
    const EACH: u64 = 500;
    let all: Vec<_> = vectors::requests()
        .into_iter()
        .filter(|(_, v)| v.on == "plain" && v.send.len() < 400)
        .collect();
    let good: Vec<_> = all
        .iter()
        .filter(|(_, v)| v.verdict == Verdict::Accept)
        .map(|(_, v)| v.bytes())
        .collect();
    let upstream = Upstream::fixed("ok");
    let mut proxy = Proxy::to(&[&upstream.address]);
    let web = proxy.web();
    std::thread::scope(|scope| {
        for seed in 1..=8_u64 {
            let (all, good) = (&all, &good);
            scope.spawn(move || {
                let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
                for _ in 0..EACH {
                    let (_, vector) = &all[random.below(all.len())];
                    let bytes = mutate(&vector.bytes(), good, &mut random);
                    let mut client = Client::connect(web);
                    let cut = random.below(bytes.len() + 1);
                    let _ = client.try_send(&bytes[..cut]);
                    let _ = client.try_send(&bytes[cut..]);
                    client.wire.finish();
                    let (answer, _) = client.rest();
                    // What became the preface of HTTP/2 is answered with its SETTINGS.
                    let preface = bytes.starts_with(b"PRI * HTTP/2.0\r\n");
                    assert!(
                        answer.is_empty() || answer.starts_with(b"HTTP/1.1 ") || preface,
                        "{} led to {}",
                        bytes.escape_ascii(),
                        answer.escape_ascii()
                    );
                }
            });
        }
    });
    let forwarded = upstream.requests();
    for request in &forwarded {
        assert_eq!(judge(request), None, "{request}");
    }
    // Neither everything nor nothing gets through, or this would prove little.
    let count = forwarded.len() as u64;
    assert!((400..8 * EACH * 2).contains(&count), "{count}");
    assert!(proxy.process.is_running());
    let panics = proxy.metrics().sum("outrigger_worker_panics_total", &[]);
    assert!(panics.abs() < 0.5, "{panics} connections ended by a panic");
}
