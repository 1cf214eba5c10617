//! What an endpoint that speaks HTTP/2 answers, in order and out of order: resets either way, early
//! and interim responses, those without a body, trailers, and everything that is no answer at all.

use outrigger_tests::{
    client,
    frames::{
        Block, Client, Connection, Frame, Message, code, flag, kind, request, response, server,
        setting,
    },
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
fn beside(frames: impl Fn(u32) -> Vec<Frame> + Send + Sync + 'static) -> (Upstream, Proxy) {
    let up = odd(frames);
    let proxy = before(&[&up.address], "");
    (up, proxy)
}

fn ok(stream: u32, fields: &[(&str, &str)]) -> Frame {
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

/// What is wrong, and the frames that make it so.
type Wrong = (&'static str, fn(u32) -> Vec<Frame>);

/// Broken messages: their stream is lost and no other (RFC 9113 section 8.1.1).
const MALFORMED: &[Wrong] = &[
    ("no status", |s| {
        vec![Frame::headers(s, Block::of(&[("x", "1")])).end_stream()]
    }),
    ("status of letters", |s| {
        vec![Frame::headers(s, Block::of(&[(":status", "abc")])).end_stream()]
    }),
    ("status below 100", |s| {
        vec![Frame::headers(s, Block::of(&[(":status", "099")])).end_stream()]
    }),
    ("status too long", |s| {
        vec![Frame::headers(s, Block::of(&[(":status", "2000")])).end_stream()]
    }),
    ("status twice", |s| {
        vec![Frame::headers(s, Block::of(&[(":status", "200"), (":status", "200")])).end_stream()]
    }),
    ("status behind a field", |s| {
        vec![Frame::headers(s, Block::of(&[("x", "1"), (":status", "200")])).end_stream()]
    }),
    ("name in upper case", |s| {
        vec![ok(s, &[("X-Upper", "1")]).end_stream()]
    }),
    ("name with a blank", |s| {
        vec![ok(s, &[("a b", "1")]).end_stream()]
    }),
    ("empty name", |s| vec![ok(s, &[("", "1")]).end_stream()]),
    ("line break in a value", |s| {
        vec![ok(s, &[("x", "1\r\ny: 2")]).end_stream()]
    }),
    ("NUL in a value", |s| {
        vec![ok(s, &[("x", "1\0")]).end_stream()]
    }),
    ("field of the connection", |s| {
        vec![ok(s, &[("connection", "close")]).end_stream()]
    }),
    ("transfer coding", |s| {
        vec![ok(s, &[("transfer-encoding", "chunked")]).end_stream()]
    }),
    ("two lengths", |s| {
        vec![
            ok(s, &[("content-length", "1"), ("content-length", "2")]),
            Frame::data(s, *b"1").end_stream(),
        ]
    }),
    ("length that is no number", |s| {
        vec![
            ok(s, &[("content-length", "+1")]),
            Frame::data(s, *b"1").end_stream(),
        ]
    }),
    ("length, and no body", |s| {
        vec![ok(s, &[("content-length", "5")]).end_stream()]
    }),
    ("101", |s| {
        vec![
            Frame::headers(s, response(101, &[])),
            Frame::data(s, *b"1").end_stream(),
        ]
    }),
    ("interim answer that ends", |s| {
        vec![Frame::headers(s, response(103, &[])).end_stream()]
    }),
    ("too many interim answers", |s| {
        vec![Frame::headers(s, response(103, &[])); 40]
    }),
    ("large head", |s| {
        let block = Vec::from(response(200, &[("x", &"a".repeat(70_000))]));
        let mut frames = vec![Frame::open_headers(s, &block[..16_000]).end_stream()];
        frames.extend(
            block[16_000..]
                .chunks(16_000)
                .map(|part| Frame::continuation(s, part)),
        );
        frames.last_mut().unwrap().flags |= flag::END_HEADERS;
        frames
    }),
    ("many fields", |s| {
        let block = (0..200).fold(response(200, &[]), |block, n| {
            block.literal(format!("x-{n}"), "1")
        });
        vec![Frame::headers(s, block).end_stream()]
    }),
];

/// What ends a connection (section 5.4.1).
const BROKEN: &[Wrong] = &[
    ("DATA before the head", |s| vec![Frame::data(s, *b"1")]),
    ("DATA on stream 0", |_| vec![Frame::data(0, *b"1")]),
    ("DATA on a stream that is not open", |_| {
        vec![Frame::data(99, *b"1")]
    }),
    ("head on stream 0", |_| vec![ok(0, &[])]),
    ("head on a stream of the server's", |_| vec![ok(2, &[])]),
    ("head on a stream that is not open", |_| vec![ok(99, &[])]),
    ("push", |s| {
        vec![Frame::new(
            kind::PUSH_PROMISE,
            flag::END_HEADERS,
            s,
            [0, 0, 0, 2, 0x82],
        )]
    }),
    ("frame too large", |s| vec![Frame::data(s, vec![0; 16_385])]),
    ("frame within a head", |s| {
        vec![Frame::open_headers(s, [0x88]), Frame::ping([0; 8])]
    }),
    ("CONTINUATION of nothing", |s| {
        vec![Frame::continuation(s, []).end_headers()]
    }),
    ("broken HPACK", |s| {
        vec![Frame::headers(s, [0xff, 0xff, 0xff, 0xff, 0xff, 0xff])]
    }),
    ("entry of the table that is not there", |s| {
        vec![Frame::headers(s, Block::default().indexed(90))]
    }),
    ("padding longer than its frame", |s| {
        vec![Frame::new(
            kind::HEADERS,
            flag::PADDED | flag::END_HEADERS,
            s,
            [9, 0x88],
        )]
    }),
    ("reset of nothing", |_| vec![Frame::reset(0, code::CANCEL)]),
    ("short reset", |s| {
        vec![Frame::new(kind::RST_STREAM, 0, s, [0, 0])]
    }),
    ("short PING", |_| vec![Frame::new(kind::PING, 0, 0, [1])]),
    ("setting out of range", |_| {
        vec![Frame::settings(&[(
            setting::INITIAL_WINDOW_SIZE,
            0x8000_0000,
        )])]
    }),
    ("half a setting", |_| {
        vec![Frame::new(kind::SETTINGS, 0, 0, [0, 1, 0])]
    }),
    ("empty window update", |_| vec![Frame::window_update(0, 0)]),
    ("window of more than there is", |_| {
        vec![Frame::window_update(0, 0x7fff_ffff)]
    }),
    ("SETTINGS on a stream", |s| {
        vec![Frame::new(kind::SETTINGS, 0, s, [])]
    }),
    ("GOAWAY with an error", |_| {
        vec![
            Frame::goaway(0x7fff_ffff, code::INTERNAL_ERROR),
            Frame::data(0, *b"1"),
        ]
    }),
];

#[track_caller]
fn assert_refused(what: &str, frames: fn(u32) -> Vec<Frame>) -> Upstream {
    let (up, proxy) = beside(frames);
    let mut http1 = client::Client::connect(proxy.web());
    let got = http1.get("/odd");
    assert_eq!(got.status(), 502, "{what}: {got}");
    let mut http2 = Client::connect(proxy.web());
    let got = http2.get("/odd");
    assert_eq!((got.status(), got.ended), (502, true), "{what}");
    // Neither client nor endpoint is worse off.
    assert_eq!(http1.post("/", b"on").body, b"on", "{what}");
    assert_eq!(http2.post("/", b"on").body, b"on", "{what}");
    for line in &proxy.log_of(4)[..2] {
        let cause = line["cause"].as_str().unwrap_or("none");
        let expected = [
            "http_protocol_error",
            "http_response_header_section_size",
            "http_upgrade_failed",
        ];
        assert!(expected.contains(&cause), "{what}: {line}");
        assert_eq!(line["status"], 502, "{what}: {line}");
        assert_eq!(line["attempts"], 1, "{what}: {line}");
    }
    up
}

#[test]
fn answers_that_are_malformed_are_a_502() {
    // The h2 crate ends the connection for these, which is stricter than it has to be.
    let harsh: Vec<&str> = MALFORMED
        .iter()
        .filter(|(what, frames)| assert_refused(what, *frames).connections() > 1)
        .map(|(what, _)| *what)
        .collect();
    let expected = [
        "status of letters",
        "status below 100",
        "status too long",
        "name in upper case",
        "name with a blank",
        "empty name",
        "line break in a value",
        "NUL in a value",
        "101",
    ];
    assert_eq!(harsh, expected);
}

#[test]
fn frames_out_of_order_end_the_connection_with_a_502() {
    for (what, frames) in BROKEN {
        let up = assert_refused(what, *frames);
        if up.connections() != 3 {
            eprintln!("YY {what} {}", up.connections());
        }
    }
}

#[test]
fn a_body_that_is_not_what_its_length_says_is_never_taken_for_whole() {
    let wrong: [Wrong; 3] = [
        ("too short", |s| {
            vec![
                ok(s, &[("content-length", "5")]),
                Frame::data(s, *b"1234").end_stream(),
            ]
        }),
        ("too long", |s| {
            vec![
                ok(s, &[("content-length", "5")]),
                Frame::data(s, *b"123456").end_stream(),
            ]
        }),
        ("too short, with trailers", |s| {
            vec![
                ok(s, &[("content-length", "5")]),
                Frame::data(s, *b"1234"),
                Frame::headers(s, Block::of(&[("x", "1")])).end_stream(),
            ]
        }),
    ];
    for (what, frames) in wrong {
        let (_up, proxy) = beside(frames);
        let got = Client::connect(proxy.web()).get("/odd");
        let told = got.reset.is_some() || got.status() == 502;
        assert!(told, "{what}: {got:?}");
        let mut http1 = client::Client::connect(proxy.web());
        http1.send(client::request("GET", "/odd", &["Connection: close"], b""));
        let (answer, _) = http1.rest();
        let answer = answer.escape_ascii().to_string();
        let whole = answer.ends_with("12345") || answer.ends_with("123456");
        assert!(!whole, "{what}: {answer}");
        for line in proxy.log_of(2) {
            assert!(line["cause"].is_string(), "{what}: {line}");
        }
    }
}

#[test]
fn data_beyond_the_window_ends_the_connection() {
    let up = server(&[], |connection: &mut Connection| {
        while let Some((stream, request)) = connection.request() {
            if request.get(":path") != Some("/flood") {
                connection.answer(stream, 200, &[], b"on");
                continue;
            }
            // Six frames are more than the 65,535 bytes that we allow before we read any.
            let mut frames = vec![ok(stream, &[])];
            frames.resize(7, Frame::data(stream, vec![b'x'; 16_384]));
            let _ = connection.try_send(&frames);
        }
    });
    let proxy = before(&[&up.address], "http2: { max_window: 64KiB }");
    // A client that takes nothing, so that nothing is acknowledged upstream.
    let mut client = Client::connect_with(proxy.web(), &[(setting::INITIAL_WINDOW_SIZE, 0)]);
    let stream = client.open(request("GET", "/flood", &[]), true);
    wait::until("the connection to be ended", || {
        (up.connections() == 1 && up.open() == 0).then_some(())
    });
    client.send(&Frame::window_update(stream, 1 << 20));
    let got = client.whole(stream);
    assert_eq!((got.ended, got.reset), (false, Some(code::INTERNAL_ERROR)));
    let log = proxy.log_of(1);
    assert_eq!(log[0]["cause"], "http_protocol_error", "{log:?}");
    assert_eq!(client::get(proxy.web(), "/").body, b"on");
    assert_eq!(up.connections(), 2);
}
