//! Bodies: the same however they arrive, and after they were framed anew.

use super::{LIMITS, show};
use crate::{
    h1::{Decoder, Step, write_trailers},
    message::Body,
};

/// A body, whole and in pieces. The first byte chooses the framing, the second the pieces.
pub fn body(data: &[u8]) {
    let [framing, cut, data @ ..] = data else {
        return;
    };
    let body = match framing % 4 {
        0 => Body::Length(u64::from(*framing)),
        1 => Body::UntilClose,
        _ => Body::Chunked,
    };
    let whole = decode(body, data, data.len().max(1));
    for size in [1, 1 + usize::from(*cut)] {
        assert_eq!(
            decode(body, data, size),
            whole,
            "in pieces of {size}: {}",
            show(data)
        );
    }
    if body != Body::Chunked {
        return;
    }
    oracle_of_chunk(data);
    if let Ended::Whole { trailers, .. } = &whole.ended {
        rewrite_chunked(&whole.payload, trailers);
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Decoded {
    payload: Vec<u8>,
    ended: Ended,
}

#[derive(Debug, PartialEq, Eq)]
enum Ended {
    /// With what is left for the next message.
    Whole {
        trailers: Vec<u8>,
        left: usize,
    },
    More,
    Broken,
}

/// Decodes input that arrives in pieces of `size`.
fn decode(body: Body, data: &[u8], size: usize) -> Decoded {
    let mut decoder = Decoder::new(body, LIMITS);
    let (mut payload, mut buffer, mut arrived) = (Vec::new(), Vec::new(), 0);
    // Once more with no further input: that must not end anything but an empty body.
    for piece in data.chunks(size).chain([&[][..]]) {
        buffer.extend_from_slice(piece);
        arrived += piece.len();
        loop {
            let used = match decoder.step(&buffer) {
                Ok(Step::Data { skip, len }) => {
                    assert!(len > 0, "no payload in a step of payload");
                    payload.extend_from_slice(&buffer[skip..skip + len]);
                    skip + len
                }
                Ok(Step::More { skip }) => {
                    buffer.drain(..skip);
                    break;
                }
                Ok(Step::End { skip, trailers }) => {
                    assert!(decoder.is_done());
                    let ended = Ended::Whole {
                        trailers: trailers.of(&buffer).to_vec(),
                        left: data.len() - arrived + buffer.len() - skip,
                    };
                    return Decoded { payload, ended };
                }
                Err(_) => {
                    let ended = Ended::Broken;
                    return Decoded { payload, ended };
                }
            };
            buffer.drain(..used);
        }
        let held = match body {
            Body::Chunked => LIMITS.head,
            _ => 0,
        };
        assert!(buffer.len() <= held + size, "{} bytes held", buffer.len());
    }
    Decoded {
        payload,
        ended: Ended::More,
    }
}

/// Frames a decoded body anew, as a pump does.
fn rewrite_chunked(payload: &[u8], trailers: &[u8]) {
    let mut out = Vec::new();
    if !payload.is_empty() {
        out.extend_from_slice(format!("{:x}\r\n", payload.len()).as_bytes());
        out.extend_from_slice(payload);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"0\r\n");
    let start = out.len();
    if write_trailers(&mut out, trailers, &LIMITS, false).is_err() {
        return;
    }
    let passed = match &out[start..] {
        b"\r\n" => Vec::new(),
        lines => lines.to_vec(),
    };
    let again = decode(Body::Chunked, &out, out.len());
    assert_eq!(again.payload, payload);
    let (trailers, left) = (passed.clone(), 0);
    assert_eq!(
        again.ended,
        Ended::Whole { trailers, left },
        "{}",
        show(&out)
    );
    let mut twice = Vec::new();
    write_trailers(&mut twice, &passed, &LIMITS, false).expect("we wrote them");
    assert_eq!(show(&twice), show(&out[start..]));
}

/// httparse reads the size of a first chunk as we do.
fn oracle_of_chunk(data: &[u8]) {
    let mut decoder = Decoder::new(Body::Chunked, LIMITS);
    if let Ok(Step::Data { skip, len }) = decoder.step(data) {
        let Ok(httparse::Status::Complete((line, size))) = httparse::parse_chunk_size(data) else {
            panic!("we accept a chunk that httparse refuses: {}", show(data));
        };
        assert_eq!(line, skip, "{}", show(data));
        let there = (data.len() - skip) as u64;
        assert_eq!(size.min(there), len as u64, "{}", show(data));
    }
}
