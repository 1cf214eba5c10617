//! What an endpoint answers, and what of it breaks its stream or connection.

use super::*;

/// What an endpoint that says this is told, after a request on stream 1 that is whole, and one on 3 that is not; and how the connection ended.
fn client_says(bytes: &[&[u8]]) -> (Vec<String>, Option<End>) {
    run(async {
        let mut wire = Wire::client().await;
        let _streams = [wire.ask(true), wire.ask(false)];
        assert_eq!(wire.settle().await, ["HEADERS 1 end", "HEADERS 3"]);
        let said = wire.says(bytes.concat()).await;
        (said, wire.end)
    })
}

#[test]
fn what_an_endpoint_may_not_say() {
    let length = |n| [OK, &[("content-length", n)]].concat();
    for (what, bytes, expected) in [
        ("DATA first", data(1, 1, true), "RESET 1 0x1"),
        (
            "an interim end",
            headers(1, &[(":status", "103")], true),
            "RESET 1 0x1",
        ),
        (
            "two answers",
            [headers(1, OK, false), headers(1, OK, false)].concat(),
            "RESET 1 0x1",
        ),
        (
            "a long body",
            [headers(1, &length("1"), false), data(1, 2, true)].concat(),
            "RESET 1 0x1",
        ),
        (
            "a short one",
            [headers(1, &length("3"), false), data(1, 2, true)].concat(),
            "RESET 1 0x1",
        ),
        (
            "a body of 304",
            [headers(1, &[(":status", "304")], false), data(1, 2, true)].concat(),
            "RESET 1 0x1",
        ),
        (
            "interim answers without an end",
            headers(1, &[(":status", "103")], false).repeat(17),
            "RESET 1 0x1",
        ),
    ] {
        let (said, end) = client_says(&[&bytes]);
        assert_eq!(
            (said.as_slice(), end),
            (&[expected.to_owned()][..], None),
            "{what}"
        );
    }
    for (bytes, code) in [
        (headers(5, OK, true), Code::PROTOCOL_ERROR),
        (headers(2, OK, true), Code::PROTOCOL_ERROR),
        (told(&[(2, 1)]), Code::PROTOCOL_ERROR),
        (
            raw(Kind::PushPromise, 4, 1, &[0, 0, 0, 2, 0x88]),
            Code::PROTOCOL_ERROR,
        ),
    ] {
        assert_eq!(blamed(client_says(&[&bytes]).1), Some(code));
    }
    let many = [
        headers(1, &[(":status", "100")], false),
        headers(1, &[(":status", "103")], false),
        headers(1, OK, false),
        data(1, 3, false),
        headers(1, &[("x", "y")], true),
        headers(3, OK, true),
    ];
    assert_eq!(client_says(&[&many.concat()]), (vec![], None));
}

#[test]
fn a_tunnel_has_no_length_unless_it_is_refused() {
    run(async {
        let mut wire = Wire::client().await;
        let sender = wire.sender.take().unwrap();
        for (status, said) in [("200", vec![]), ("403", vec!["RESET 3 0x1"])] {
            let mut stream = sender.open(&block(REQUEST), false, Asks::Tunnel).unwrap();
            let id = stream.id();
            wire.settle().await;
            let head = headers(id, &[(":status", status), ("content-length", "1")], false);
            assert_eq!(wire.says([head, data(id, 5, false)].concat()).await, said);
            assert_eq!(take(&mut stream).0, if status == "200" { 5 } else { 0 });
            drop(stream);
            wire.settle().await;
        }
        let _last = sender.open(&block(REQUEST), true, Asks::Head).unwrap();
        wire.settle().await;
        let length = [OK, &[("content-length", "5")]].concat();
        assert!(wire.says(headers(5, &length, false)).await.is_empty());
        assert!(wire.says(data(5, 0, true)).await.is_empty());
    });
}
