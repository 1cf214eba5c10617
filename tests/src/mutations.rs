//! Damage to inputs, from a seeded generator: the same seed, the same damage.

/// What changes the meaning of a message more often than a random byte does.
const TOKENS: &[&[u8]] = &[
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b" ",
    b"\t",
    b":",
    b",",
    b";",
    b"%2e%2e/",
    b"%00",
    b"/../",
    b"//",
    b"?",
    b"0",
    b"0\r\n\r\n",
    b"ffffffffffffffff",
    b"HTTP/1.0",
    b"HTTP/1.1",
    b"HTTP/2.0",
    b"http://a",
    b"* ",
    b"OPTIONS ",
    b"CONNECT a:1 ",
    b"HEAD ",
    b"Host: a\r\n",
    b"Content-Length: 5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Connection: close, upgrade, te\r\n",
    b"Upgrade: websocket\r\n",
    b"TE: trailers\r\n",
    b"Expect: 100-continue\r\n",
    b"Keep-Alive: timeout=5\r\n",
    b"X-Forwarded-For: 1\r\n",
    b"Content_Length: 1\r\n",
    b":method: CONNECT\n",
    b":path: /\n",
    b":authority: a\n",
    b"\nhost: a\n",
    b"\ncontent-length: 5\n",
    b"\ncookie: a\n",
    b"\nte: trailers\n",
    b"PROXY TCP4 ",
    b"\r\n\r\n\0\r\nQUIT\n",
    b"${A}",
    b"$${",
    b"{ }",
    b"[ ]",
    b"- ",
    b"weight: 0",
    b"balance: maglev",
    b"null",
    b"9999999999",
    b"&a ",
    b"*a",
];

/// Changes `input` in one place. `corpus` lends pieces of other inputs.
///
/// # Panics
/// With an empty corpus.
pub fn mutate(input: &mut Vec<u8>, corpus: &[Vec<u8>], random: &mut fastrand::Rng) {
    let at = random.usize(..=input.len());
    let end = (at + random.usize(..16)).min(input.len());
    match random.u8(..8) {
        0 => drop(input.drain(at..end)),
        1 => insert(input, at, &[random.u8(..)]),
        2 | 3 => insert(input, at, random.choice(TOKENS).unwrap()),
        4 => {
            let part = input[at..end].to_vec();
            insert(input, random.usize(..=input.len()), &part);
        }
        5 => {
            let other = random.choice(corpus).unwrap();
            let from = random.usize(..=other.len());
            input.truncate(at);
            input.extend_from_slice(&other[from..]);
        }
        6 => {
            if let Some(byte) = input.get_mut(at) {
                *byte ^= 1 << random.u8(..8);
            }
        }
        _ => {
            if let Some(byte) = input.get_mut(at) {
                *byte = random.u8(b' '..=b'~');
            }
        }
    }
}

fn insert(input: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    input.splice(at..at, bytes.iter().copied());
}
