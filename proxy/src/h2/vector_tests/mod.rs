//! The vectors of `tests/vectors/http2`: messages of HTTP/2 to HTTP/1, and of HTTP/1 to HTTP/2 and
//! back.
//!
//! `accept`: it goes on as said. `refuse`: we answer with `status`.

mod model;

use std::{fs, path::Path};

use self::model::{BodyIs, Given, Topic, Vector, Verdict, bytes, list, text};
use super::{
    Block, read_request, read_response, read_switch, read_trailers,
    testing::{block, decoded, lines as fields},
    write_request, write_response, write_trailers,
};
use crate::{
    error::Failure,
    h1::{self, Delivery, HeadScan},
    message::{
        Asked, Body, Edits, Limits, Method, RequestHead, RequestView, ResponseHead, ResponseView,
        Version,
    },
};

/// What became of a vector.
#[derive(Debug, PartialEq)]
enum Outcome {
    Refused(u16),
    Passed(Vec<Vec<String>>, BodyIs),
}

impl From<Failure> for Outcome {
    fn from(failure: Failure) -> Self {
        Self::Refused(failure.cause.status())
    }
}

fn limits(small: bool) -> Limits {
    if small {
        Limits {
            head: 1_024,
            line: 256,
            fields: 8,
        }
    } else {
        Limits {
            head: 65_536,
            line: 16_384,
            fields: 128,
        }
    }
}

fn lines(head: &[u8]) -> Vec<String> {
    let all = text(head);
    let whole = all.strip_suffix("\r\n").expect("an empty line at its end");
    let lines = whole.split_terminator("\r\n");
    lines.map(str::to_owned).collect()
}

fn joined(lines: &[String]) -> Vec<u8> {
    let mut out = Vec::new();
    for line in lines.iter().map(String::as_str).chain([""]) {
        out.extend(bytes(line));
        out.extend(b"\r\n");
    }
    out
}

fn given(headers: &[(String, String)]) -> Block {
    let list = list(headers);
    let list: Vec<_> = list.iter().map(|(n, v)| (&**n, &**v)).collect();
    block(&list)
}

/// A request that was received by HTTP/2, in HTTP/1.
fn in_http1(block: &Block, end: bool, limits: &Limits) -> Result<(Vec<String>, Body), Failure> {
    let (mut text, mut head) = (Vec::new(), RequestHead::default());
    read_request(block, end, limits, &mut text, &mut head)?;
    if head.method == Method::Connect {
        return Ok((lines(&text), head.body));
    }
    let view = RequestView {
        bytes: &text,
        head: &head,
    };
    let mut out = Vec::new();
    let upgrade = head.upgrade.is_some();
    h1::write_request(
        &mut out,
        &view,
        &Edits::default(),
        upgrade,
        view.authority(),
    );
    Ok((lines(&out), head.body))
}

fn response_in_http1(text: &[u8], head: &ResponseHead) -> Vec<String> {
    let view = ResponseView { bytes: text, head };
    let delivery = Delivery {
        body: head.body,
        close: false,
        version: Version::Http11,
        upgrade: head.status == 101,
    };
    let mut out = Vec::new();
    h1::write_response(&mut out, &view, &Edits::default(), delivery);
    lines(&out)
}

const fn asked(head: bool) -> Asked {
    if head { Asked::Head } else { Asked::Other }
}

fn request(given: &Block, end: bool, limits: &Limits) -> Outcome {
    match in_http1(given, end, limits) {
        Ok((lines, body)) => Outcome::Passed(vec![lines], BodyIs::of(body)),
        Err(failure) => failure.into(),
    }
}

fn response(
    given: &Block,
    end: bool,
    head: bool,
    switch: Option<&str>,
    limits: &Limits,
) -> Outcome {
    let asked = asked(head);
    let (mut text, mut head) = (Vec::new(), ResponseHead::default());
    let read = match switch {
        None => read_response(given, end, asked, limits, &mut text, &mut head),
        Some(protocol) => read_switch(given, protocol.as_bytes(), limits, &mut text, &mut head),
    };
    match read {
        Ok(()) => Outcome::Passed(vec![response_in_http1(&text, &head)], BodyIs::of(head.body)),
        Err(failure) => failure.into(),
    }
}

fn trailers(given: &Block, limits: &Limits, from_upstream: bool) -> Outcome {
    let mut section = Vec::new();
    match read_trailers(given, limits, from_upstream, &mut section) {
        Ok(()) => Outcome::Passed(vec![lines(&section)], BodyIs::None),
        Err(failure) => failure.into(),
    }
}

fn http1_trailers(send: &[String], from_upstream: bool) -> Outcome {
    match write_trailers(&joined(send), &limits(false), from_upstream) {
        Ok((block, _)) => Outcome::Passed(vec![fields(&block)], BodyIs::None),
        Err(failure) => failure.into(),
    }
}

fn http1_request(send: &[String]) -> Outcome {
    let (bytes, limits) = (joined(send), limits(false));
    let len = HeadScan::default().advance(&bytes, &limits);
    assert_eq!(len.expect("a head"), Some(bytes.len()));
    let mut head = RequestHead::default();
    h1::parse_request(&bytes, &limits, &mut head).expect("valid in HTTP/1");
    let view = RequestView {
        bytes: &bytes,
        head: &head,
    };
    let upgrade = head.upgrade.is_some();
    let (edits, mut out) = (Edits::default(), Vec::new());
    let host = view.authority();
    if let Err(failure) = write_request(&mut out, &view, &edits, upgrade, host, false) {
        return failure.into();
    }
    let end = head.body == Body::None && !upgrade;
    let (back, body) = in_http1(&decoded(&out), end, &limits).expect("we wrote it");
    Outcome::Passed(vec![fields(&out), back], BodyIs::of(body))
}

fn http1_response(send: &[String], head_asked: bool) -> Outcome {
    let (bytes, limits) = (joined(send), limits(false));
    let asked = asked(head_asked);
    let mut head = ResponseHead::default();
    h1::parse_response(&bytes, &limits, asked, &mut head).expect("valid in HTTP/1");
    let view = ResponseView {
        bytes: &bytes,
        head: &head,
    };
    let mut out = Vec::new();
    write_response(&mut out, &view, &Edits::default());
    let end = matches!(head.body, Body::None | Body::Length(0)) && head.status >= 200;
    let block = decoded(&out);
    let protocol = head.upgrade.map(|u| u.of(&bytes));
    let (mut text, mut again) = (Vec::new(), ResponseHead::default());
    match protocol {
        None => read_response(&block, end, asked, &limits, &mut text, &mut again),
        Some(protocol) => read_switch(&block, protocol, &limits, &mut text, &mut again),
    }
    .expect("we wrote it");
    let back = response_in_http1(&text, &again);
    Outcome::Passed(vec![fields(&out), back], BodyIs::of(again.body))
}

/// What is, and what should be.
fn outcomes(vector: &Vector) -> (Outcome, Outcome) {
    let pairs = |headers: &[(String, String)]| -> Vec<String> {
        headers.iter().map(|(n, v)| format!("{n}: {v}")).collect()
    };
    let (outcome, passed, expected) = match &vector.given {
        Given::Request {
            headers,
            end,
            small,
            http1,
            body,
        } => {
            let outcome = request(&given(headers), *end, &limits(*small));
            (outcome, vec![http1.clone()], Some(*body))
        }
        Given::Response {
            headers,
            end,
            small,
            head,
            switch,
            http1,
            body,
        } => {
            let switch = switch.as_deref();
            let outcome = response(&given(headers), *end, *head, switch, &limits(*small));
            (outcome, vec![http1.clone()], Some(*body))
        }
        Given::Trailers {
            headers,
            small,
            from_upstream,
            http1,
        } => {
            let outcome = trailers(&given(headers), &limits(*small), *from_upstream);
            (outcome, vec![http1.clone()], None)
        }
        Given::Http1Trailers {
            send,
            from_upstream,
            http2,
        } => {
            let outcome = http1_trailers(send, *from_upstream);
            (outcome, vec![pairs(http2)], None)
        }
        Given::Http1Request { send, http2, back } => {
            let outcome = http1_request(send);
            (outcome, vec![pairs(http2), back.clone()], None)
        }
        Given::Http1Response {
            send,
            head,
            http2,
            back,
        } => {
            let outcome = http1_response(send, *head);
            (outcome, vec![pairs(http2), back.clone()], None)
        }
    };
    let found = match &outcome {
        Outcome::Passed(_, body) => *body,
        Outcome::Refused(_) => BodyIs::None,
    };
    let wanted = match vector.verdict {
        Verdict::Accept => Outcome::Passed(passed, expected.unwrap_or(found)),
        Verdict::Refuse => Outcome::Refused(vector.status),
    };
    (outcome, wanted)
}

#[test]
fn verdicts() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors/http2");
    let mut checked = 0;
    let mut failures = Vec::new();
    for entry in fs::read_dir(folder).expect("the vectors") {
        let path = entry.expect("a file").path();
        let file = fs::read(&path).expect("a file");
        let topic: Topic = serde_json::from_slice(&file)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(!topic.about.is_empty());
        for vector in topic.vectors {
            assert!(!vector.why.is_empty() && !vector.rfc.is_empty());
            checked += 1;
            let (found, wanted) = outcomes(&vector);
            if found != wanted {
                let (file, name) = (path.file_stem().unwrap_or_default(), &vector.name);
                failures.push(format!(
                    "{}/{name}: {found:?}\n  wanted {wanted:?}",
                    file.display()
                ));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(checked >= 80, "{checked}");
}
