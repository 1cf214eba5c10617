//! What an endpoint that speaks HTTP/2 answers: resets either way, early and interim responses, those
//! without a body, trailers. What is no answer at all stands in `malformed`.

use outrigger_tests::{
    client,
    frames::{Block, Client, Frame, Message, code, kind, request, response, server, setting},
    http::Framing,
    proxy::Proxy,
    upstream::Upstream,
    wait,
};

use super::before;

/// An endpoint that answers each request whole, and `/odd` with these frames.
fn odd(frames: impl Fn(u32) -> Vec<Frame> + Send + Sync + 'static) -> Upstream {
    server(&[], move |connection| {
        while let Some((stream, request)) = connection.request() {
            if request.get(":path") == Some("/odd") {
                // It may be cut off for it.
                let _ = connection.try_send(&frames(stream));
            } else {
                connection.answer(stream, 200, &[], &request.body);
            }
        }
    })
}

/// A proxy before it.
pub(crate) fn beside(
    frames: impl Fn(u32) -> Vec<Frame> + Send + Sync + 'static,
) -> (Upstream, Proxy) {
    let up = odd(frames);
    let proxy = before(&[&up.address], "");
    (up, proxy)
}

pub(crate) fn ok(stream: u32, fields: &[(&str, &str)]) -> Frame {
    Frame::headers(stream, response(200, fields))
}

/// Every code of RFC 9113 section 7, and one that nobody knows.
const CODES: [u32; 15] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 0x1234];

#[test]
fn a_reset_before_the_answer_is_a_502() {
    for reason in CODES {
        if reason == code::REFUSED_STREAM {
            continue; // Sent again; see `reconnect`.
        }
        let (_up, proxy) = beside(move |stream| vec![Frame::reset(stream, reason)]);
        let mut client = Client::connect(proxy.web());
        let answer = client.get("/odd");
        assert_eq!((answer.status(), answer.ended), (502, true), "{reason}");
        let mut http1 = client::Client::connect(proxy.web());
        assert_eq!(http1.get("/odd").status(), 502, "{reason}");
        assert_eq!(http1.post("/", b"on").body, b"on");
        for line in &proxy.log_of(3)[..2] {
            assert_eq!(line["cause"], "stream_reset", "{line}");
            assert_eq!(line["attempts"], 1, "{line}");
        }
    }
}

#[test]
fn a_reset_within_the_answer_is_passed_on() {
    for reason in CODES {
        // What says that nothing was processed, or that the answer is whole, or that another
        // protocol would do, is not so for a client that has a part of the answer.
        let told = match reason {
            code::NO_ERROR | code::REFUSED_STREAM | code::HTTP_1_1_REQUIRED => code::INTERNAL_ERROR,
            reason => reason,
        };
        let up = server(&[], move |connection| {
            while let Some(frame) = connection.read() {
                if frame.kind == kind::HEADERS {
                    connection
                        .send_all(&[ok(frame.stream, &[]), Frame::data(frame.stream, *b"half")]);
                }
                // The client has the head.
                if frame.kind == kind::DATA {
                    connection.send(&Frame::reset(frame.stream, reason));
                }
            }
        });
        let proxy = before(&[&up.address], "");
        let mut client = Client::connect(proxy.web());
        let stream = client.open(request("POST", "/", &[]), false);
        assert_eq!(client.head(stream).status(), 200);
        client.send(&Frame::data(stream, *b"go on"));
        let got = client.whole(stream);
        assert_eq!((got.ended, got.reset), (false, Some(told)), "{reason}");

        let mut http1 = client::Client::connect(proxy.web());
        http1.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n");
        assert_eq!(http1.head().status(), 200);
        http1.send("go on");
        let (body, _) = http1.rest();
        assert!(
            !body.ends_with(b"0\r\n\r\n"),
            "{reason}: {}",
            body.escape_ascii()
        );
        for line in proxy.log_of(2) {
            assert_eq!(line["cause"], "http_response_incomplete", "{line}");
        }
        assert_eq!(up.connections(), 1, "the connection is not to blame");
    }
}

/// An endpoint that says, as the body of `/next`, with which code the stream before was reset.
fn confessing(answers: bool) -> Upstream {
    server(&[], move |connection| {
        let stream = connection.expect(kind::HEADERS).stream;
        if answers {
            connection.send_all(&[ok(stream, &[]), Frame::data(stream, *b"part")]);
        }
        let reset = loop {
            match connection.message(stream) {
                Some(Message {
                    reset: Some(code), ..
                }) => break *code,
                _ => connection.frame(),
            };
        };
        connection.messages.remove(&stream);
        while let Some((stream, _)) = connection.request() {
            connection.answer(stream, 200, &[], reset.to_string().as_bytes());
        }
    })
}

#[test]
fn a_client_that_gives_up_frees_the_endpoint_at_once() {
    for (answers, body) in [(false, false), (false, true), (true, false), (true, true)] {
        let up = confessing(answers);
        let proxy = before(&[&up.address], "");
        let mut client = Client::connect(proxy.web());
        let stream = client.open(request("POST", "/", &[]), !body);
        if body {
            client.send(&Frame::data(stream, *b"some"));
        }
        if answers {
            client.head(stream);
        } else {
            // Its head is there, in one way or another.
            wait::until("the request", || (up.connections() == 1).then_some(()));
        }
        client.send(&Frame::reset(stream, code::CANCEL));
        assert_eq!(client.get("/next").body, b"8", "CANCEL");
        assert_eq!(up.connections(), 1);
        let log = proxy.log_of(2);
        assert_eq!(log[0]["cause"], "client_gone", "{log:?}");

        // The end of a connection of HTTP/1 is the same.
        let up = confessing(answers);
        let proxy = before(&[&up.address], "");
        let mut http1 = client::Client::connect(proxy.web());
        http1.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nsome\r\n");
        if !body {
            http1.send("0\r\n\r\n");
        }
        if answers {
            http1.head();
        } else {
            wait::until("the request", || (up.connections() == 1).then_some(()));
        }
        drop(http1);
        let mut client = Client::connect(proxy.web());
        assert_eq!(client.get("/next").body, b"8", "CANCEL");
        assert_eq!(up.connections(), 1);
    }
}

#[test]
fn an_answer_before_the_end_of_the_request_is_passed_on() {
    // With and without word that the rest is not wanted.
    for says in [true, false] {
        let up = server(&[], move |connection| {
            while let Some(frame) = connection.read() {
                let stream = frame.stream;
                if frame.kind == kind::HEADERS {
                    let whole = [
                        Frame::headers(stream, response(413, &[("x-early", "1")])),
                        Frame::data(stream, *b"too much").end_stream(),
                        Frame::reset(stream, code::NO_ERROR),
                    ];
                    connection.send_all(&whole[..if says { 3 } else { 2 }]);
                }
            }
        });
        let proxy = before(&[&up.address], "");
        let mut client = Client::connect(proxy.web());
        let stream = client.open(request("POST", "/", &[]), false);
        client.send(&Frame::data(stream, *b"some"));
        while !client.message(stream).is_some_and(|m| m.ended) {
            client.frame();
        }
        let got = client.message(stream).unwrap();
        assert_eq!((got.status(), &*got.body), (413, &b"too much"[..]));
        // It is told to stop, without blame, and the stream's place is free.
        while client.message(stream).unwrap().reset.is_none() {
            client.frame();
        }
        assert_eq!(client.message(stream).unwrap().reset, Some(code::NO_ERROR));

        let mut http1 = client::Client::connect(proxy.web());
        http1.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nsome");
        let got = http1.response();
        assert_eq!((got.status(), &*got.body), (413, &b"too much"[..]));
        assert!(got.has_token("connection", "close"), "{got}");
        for line in proxy.log_of(2) {
            assert!(line["cause"].is_null(), "{line}");
        }
        assert_eq!(up.connections(), 1);
    }
}

#[test]
fn both_directions_of_a_stream_go_on_side_by_side() {
    let up = server(&[], |connection| {
        let stream = connection.expect(kind::HEADERS).stream;
        connection.send(&ok(stream, &[]));
        loop {
            let frame = connection.frame();
            if frame.kind == kind::DATA {
                let message = connection.messages.get_mut(&stream).unwrap();
                let (body, ended) = (std::mem::take(&mut message.body), message.ended);
                connection.send(&Frame::data(stream, body));
                if ended {
                    break;
                }
            }
        }
        connection.send(&Frame::headers(stream, Block::of(&[("x-sum", "3")])).end_stream());
        connection.end();
    });
    let proxy = before(&[&up.address], "");
    let mut client = Client::connect(proxy.web());
    let stream = client.open(request("POST", "/", &[]), false);
    assert_eq!(client.head(stream).status(), 200);
    let mut said = Vec::new();
    for (n, part) in ["one", "two", "three"].into_iter().enumerate() {
        let frame = Frame::data(stream, part);
        client.send(&if n == 2 { frame.end_stream() } else { frame });
        said.extend_from_slice(part.as_bytes());
        while client.message(stream).unwrap().body != said {
            client.frame();
        }
    }
    let sum = Some(vec![("x-sum".to_owned(), "3".to_owned())]);
    assert_eq!(client.whole(stream).trailers, sum);
}

#[test]
fn answers_without_a_body_have_none() {
    let up = server(&[], |connection| {
        while let Some((stream, request)) = connection.request() {
            let status: u16 = request.get(":path").unwrap()[1..].parse().unwrap();
            let length: &[(&str, &str)] = if status == 204 {
                &[]
            } else {
                &[("content-length", "7")]
            };
            let head = Frame::headers(stream, response(status, length)).end_stream();
            connection.send(&head);
        }
    });
    let proxy = before(&[&up.address], "");
    let mut http1 = client::Client::connect(proxy.web());
    let mut http2 = Client::connect(proxy.web());
    for (method, status, length) in [
        ("HEAD", 200, Some("7")),
        ("GET", 204, None),
        ("GET", 304, Some("7")),
        ("HEAD", 404, Some("7")),
    ] {
        let path = format!("/{status}");
        // On one connection: what is taken for a body would be missed by the next.
        http1.send(client::request(method, &path, &[], b""));
        let got = http1.response_to(method);
        assert_eq!((got.status(), got.framing), (status, Framing::None));
        assert_eq!(got.field("content-length"), length, "{got}");
        let stream = http2.open(request(method, &path, &[]), true);
        let got = http2.whole(stream);
        assert_eq!(
            (got.status(), got.ended, &*got.body),
            (status, true, &b""[..])
        );
        assert_eq!(got.get("content-length"), length, "{got:?}");
    }
    // An end without a word of its length is an empty body.
    let (_up, proxy) = beside(|stream| vec![ok(stream, &[]).end_stream()]);
    let mut http1 = client::Client::connect(proxy.web());
    for _ in 0..2 {
        assert_eq!(http1.get("/odd").body, b"");
    }
    assert_eq!(Client::connect(proxy.web()).get("/odd").body, b"");
}

#[test]
fn trailers_and_interim_answers_pass_both_ways() {
    let up = server(&[], |connection| {
        while let Some((stream, request)) = connection.request() {
            let trailers = request.trailers.unwrap_or_default();
            let echo: Vec<_> = trailers.iter().map(|(n, v)| (&**n, &**v)).collect();
            connection.send_all(&[
                Frame::headers(stream, response(103, &[("link", "</a.css>")])),
                Frame::headers(stream, response(102, &[])),
                ok(stream, &[]),
                Frame::data(stream, request.body),
                Frame::headers(stream, Block::of(&echo)).end_stream(),
            ]);
        }
    });
    let proxy = before(&[&up.address], "");
    let mut http2 = Client::connect(proxy.web());
    let stream = http2.open(request("POST", "/", &[("te", "trailers")]), false);
    http2.send_all(&[
        Frame::data(stream, *b"body"),
        Frame::headers(stream, Block::of(&[("x-sum", "42"), ("x-more", "")])).end_stream(),
    ]);
    let got = http2.whole(stream);
    let statuses: Vec<_> = got.interim.iter().map(|fields| &*fields[0].1).collect();
    assert_eq!((statuses, &*got.body), (vec!["103", "102"], &b"body"[..]));
    let expected = [("x-sum", "42"), ("x-more", "")].map(|(n, v)| (n.to_owned(), v.to_owned()));
    assert_eq!(got.trailers, Some(expected.to_vec()));

    let mut http1 = client::Client::connect(proxy.web());
    http1.send("POST / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: TE\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n");
    http1.send("4\r\nbody\r\n0\r\nx-sum: 42\r\n\r\n");
    let got = http1.response();
    let statuses: Vec<_> = http1
        .interim
        .iter()
        .map(outrigger_tests::http::Message::status)
        .collect();
    assert_eq!((statuses, &*got.body), (vec![103, 102], &b"body"[..]));
    assert_eq!(got.trailers.len(), 1, "{got}");
    assert_eq!(
        (&*got.trailers[0].name, &*got.trailers[0].value),
        ("x-sum", "42")
    );
}

#[test]
fn a_stream_that_waits_for_its_turn_is_not_forgotten() {
    // The proxy has all of it at once: a stream is given up and still counts at the endpoint, a
    // second one fills its limit and waits to be opened, and a third one looks for a place.
    let limit = [(setting::MAX_CONCURRENT_STREAMS, 3)];
    let up = server(&limit, |connection| {
        while let Some(frame) = connection.read() {
            let stream = frame.stream;
            let asked = connection.message(stream).cloned().unwrap_or_default();
            if frame.kind == kind::HEADERS && asked.get(":path") == Some("/held") {
                connection.send(&ok(stream, &[]));
            } else if asked.ended {
                connection.answer(stream, 200, &[], &asked.body);
            }
        }
    });
    let proxy = before(&[&up.address], "");
    let mut client = Client::connect(proxy.web());
    let held = [(); 2].map(|()| client.open(request("GET", "/held", &[]), true));
    for stream in held {
        assert_eq!(client.head(stream).status(), 200);
    }
    let (second, third) = (client.stream(), client.stream());
    client.send_all(&[
        Frame::reset(held[0], code::CANCEL),
        Frame::headers(second, request("POST", "/", &[])),
        Frame::data(second, *b"body").end_stream(),
        Frame::headers(third, request("GET", "/", &[])).end_stream(),
    ]);
    assert_eq!(client.whole(second).body, b"body");
    assert_eq!(client.whole(third).status(), 200);
}
