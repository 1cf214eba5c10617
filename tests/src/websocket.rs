//! As much WebSocket (RFC 6455) as it takes to hold a conversation through the proxy.

use std::fmt::Write as _;

use crate::{client::Client, http::Message, reader::Broken, upstream::Peer};

/// The key of RFC 6455 section 1.3, and its proof.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// The request that opens a WebSocket.
pub fn opening(target: &str) -> String {
    let mut text = format!("GET {target} HTTP/1.1\r\nHost: a.example\r\n");
    let _ = write!(
        text,
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n"
    );
    text
}

/// The answer that opens it.
pub fn accepting() -> String {
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {ACCEPT}\r\n\r\n"
    )
}

/// The answer that opens it for any key.
pub fn accepting_key(key: &str) -> String {
    let hash = sha1_smol::Sha1::from(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11"));
    let proof = data_encoding::BASE64.encode(&hash.digest().bytes());
    accepting().replace(ACCEPT, &proof)
}

/// Whether a request opens a WebSocket properly.
pub fn is_opening(request: &Message) -> bool {
    request.has_token("connection", "upgrade")
        && request.has_token("upgrade", "websocket")
        && request
            .field("sec-websocket-key")
            .is_some_and(|key| key.len() == KEY.len())
}

/// A text frame from a client: masked.
pub fn from_client(text: &str) -> Vec<u8> {
    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let mut frame = head(text.len(), 0x80);
    frame.extend_from_slice(&MASK);
    frame.extend(text.bytes().zip(MASK.iter().cycle()).map(|(b, m)| b ^ m));
    frame
}

/// A text frame from a server.
pub fn from_server(text: &str) -> Vec<u8> {
    let mut frame = head(text.len(), 0);
    frame.extend_from_slice(text.as_bytes());
    frame
}

fn head(len: usize, mask: u8) -> Vec<u8> {
    let mut head = vec![0x81];
    match u8::try_from(len) {
        Ok(n) if n < 126 => head.push(n | mask),
        _ => {
            head.push(0x7e | mask);
            head.extend_from_slice(&u16::try_from(len).expect("a short text").to_be_bytes());
        }
    }
    head
}

/// Reads one text frame by `exactly`.
fn text(mut exactly: impl FnMut(usize) -> Result<Vec<u8>, Broken>) -> Result<String, Broken> {
    let start = exactly(2)?;
    if start[0] != 0x81 {
        return Err(Broken::Malformed(format!("not a text frame: {start:?}")));
    }
    let len = match start[1] & 0x7f {
        126 => {
            let long = exactly(2)?;
            usize::from(u16::from_be_bytes([long[0], long[1]]))
        }
        n => usize::from(n),
    };
    let mask = if start[1] & 0x80 == 0 {
        vec![0; 4]
    } else {
        exactly(4)?
    };
    let data = exactly(len)?;
    let plain = data
        .iter()
        .zip(mask.iter().cycle())
        .map(|(b, m)| b ^ m)
        .collect();
    String::from_utf8(plain).map_err(|e| Broken::Malformed(e.to_string()))
}

/// A client's side of an open WebSocket.
#[derive(Debug)]
pub struct WebSocket(pub Client);

impl WebSocket {
    /// Opens one.
    #[track_caller]
    pub fn open(mut client: Client, target: &str) -> Self {
        client.send(opening(target));
        let answer = client.head();
        assert_eq!(answer.status(), 101, "{answer}");
        assert_eq!(
            answer.field("sec-websocket-accept"),
            Some(ACCEPT),
            "{answer}"
        );
        assert!(answer.has_token("connection", "upgrade"), "{answer}");
        Self(client)
    }

    /// Sends a text and reads one.
    #[track_caller]
    pub fn say(&mut self, words: &str) -> String {
        self.0.send(from_client(words));
        self.hear().expect("an answer on the WebSocket")
    }

    /// Reads a text.
    pub fn hear(&mut self) -> Result<String, Broken> {
        let Client { wire, reader, .. } = &mut self.0;
        text(|n| {
            let mut bytes = Vec::new();
            reader.exactly(wire, n, &mut bytes).map(|()| bytes)
        })
    }
}

/// An upstream's side: takes the opening and answers each text with the same text, in `<>`.
pub fn serve(peer: &mut Peer) {
    let Some(request) = peer.head() else { return };
    assert!(is_opening(&request), "not an opening: {request}");
    let key = request.field("sec-websocket-key").unwrap_or_default();
    peer.send(accepting_key(key));
    serve_open(peer);
}

/// As [`serve`], after the opening.
pub fn serve_open(peer: &mut Peer) {
    while let Ok(words) = text(|n| peer.exactly(n)) {
        peer.send(from_server(&format!("<{words}>")));
    }
}
