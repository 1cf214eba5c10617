//! Many clients at once, bodies of every size and framing in both directions, pieces of every
//! length: each gets back exactly what it sent.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a panic is how a test fails"
)]

use std::{io::Write, thread::JoinHandle};

use outrigger_tests::{
    client::Client,
    http::Message,
    proxy::{Setup, simple},
    upstream::{Peer, Upstream},
    wire::Wire,
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

    /// Small ones mostly, some around the sizes of buffers, few large.
    fn size(&mut self) -> usize {
        match self.below(10) {
            0 => 0,
            1..=5 => self.below(2_000),
            6 | 7 => 16_384 - 40 + self.below(80),
            8 => 65_536 - 40 + self.below(80),
            _ => self.below(600_000),
        }
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        let start = self.below(251);
        (0..len)
            .map(|n| ((n + start) % 251) as u8 ^ (n >> 9) as u8)
            .collect()
    }

    /// Writes in pieces.
    fn write(&mut self, wire: &mut Wire, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let n = match self.below(4) {
                0 => 1 + self.below(20),
                1 => 1 + self.below(5_000),
                _ => bytes.len(),
            };
            let (now, later) = bytes.split_at(n.min(bytes.len()));
            if wire.write_all(now).is_err() {
                return;
            }
            bytes = later;
        }
    }

    /// A body with its framing: the lines of the head, and what follows the head.
    fn framed(&mut self, body: &[u8]) -> (String, Vec<u8>) {
        if self.below(2) == 0 {
            return (format!("Content-Length: {}\r\n", body.len()), body.to_vec());
        }
        let mut out = Vec::new();
        let mut rest = body;
        while !rest.is_empty() {
            let (chunk, later) = rest.split_at((1 + self.below(70_000)).min(rest.len()));
            out.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            out.extend_from_slice(chunk);
            out.extend_from_slice(b"\r\n");
            rest = later;
        }
        out.extend_from_slice(b"0\r\n\r\n");
        ("Transfer-Encoding: chunked\r\n".to_owned(), out)
    }
}

/// Sends each body back, framed and cut by chance; now and then until the end of the connection.
fn echo(peer: &mut Peer) {
    let mut random = Random(0x5eed + peer.index as u64);
    while let Some(request) = peer.request() {
        let id = request.field("x-id").unwrap_or_default().to_owned();
        let (head, body) = if random.below(8) == 0 {
            (String::new(), request.body)
        } else {
            random.framed(&request.body)
        };
        let ends = head.is_empty();
        let mut answer = format!("HTTP/1.1 200 OK\r\nX-Id: {id}\r\n{head}\r\n").into_bytes();
        answer.extend(body);
        random.write(&mut peer.wire, &answer);
        if ends {
            return;
        }
    }
}

/// Sends in a thread of its own: a peer that does not read must not stop one that does not write.
fn send(client: &Client, bytes: Vec<u8>, seed: u64) -> JoinHandle<()> {
    let mut wire = client.wire.duplicate();
    std::thread::spawn(move || Random(seed).write(&mut wire, &bytes))
}

fn same(answer: &Message, id: &str, body: &[u8]) {
    assert_eq!((answer.status(), answer.field("x-id")), (200, Some(id)));
    assert!(
        answer.body == body,
        "{id}: {} bytes sent, {} came back",
        body.len(),
        answer.body.len()
    );
}

#[test]
fn everyone_gets_back_what_they_sent() {
    let upstreams = [Upstream::script(echo), Upstream::script(echo)];
    let addresses = [&upstreams[0].address, &upstreams[1].address];
    let proxy = Setup::new(&simple(&addresses)).mesh("workers: 2").start();
    std::thread::scope(|scope| {
        for number in 1..=8_u64 {
            let proxy = &proxy;
            scope.spawn(move || {
                let mut random = Random(number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
                let mut client = Client::connect(proxy.web());
                for turn in 0..40 {
                    // One to three requests at once.
                    let mut all = Vec::new();
                    let mut sent = Vec::new();
                    for part in 0..=random.below(3) {
                        let size = random.size();
                        let body = random.bytes(size);
                        let id = format!("{number}-{turn}-{part}");
                        let (head, framed) = random.framed(&body);
                        let line = format!(
                            "POST / HTTP/1.1\r\nHost: a.example\r\nX-Id: {id}\r\n{head}\r\n"
                        );
                        all.extend(line.into_bytes());
                        all.extend(framed);
                        sent.push((id, body));
                    }
                    let sender = send(&client, all, number * 1_000 + turn);
                    for (id, body) in sent {
                        same(&client.response_to("POST"), &id, &body);
                    }
                    sender.join().unwrap();
                }
            });
        }
    });
    let failures = proxy.metrics().sum("outrigger_failures_total", &[]);
    assert!(failures.abs() < 0.5, "{failures} failures");
}
