//! What an endpoint's SETTINGS and windows allow, while they change: never a byte more is sent.

use outrigger_tests::{
    client,
    frames::{Client, Connection, Frame, flag, kind, request, response, server, setting},
};

use super::before;

fn pattern(n: usize) -> Vec<u8> {
    (0..n).map(|n| (n % 251) as u8).collect()
}

/// What came of a stream's body, once the proxy has nothing more that it may send: what it had
/// lined up leaves before its answer to a PING, and before that it took in all that we sent.
fn came(connection: &mut Connection, stream: u32) -> usize {
    // Twice: the first answer shows that the proxy knows the new window, the second that it has
    // used it.
    for _ in 0..2 {
        connection.send(&Frame::ping(*b"all out?"));
        while !connection.expect(kind::PING).has(flag::ACK) {}
    }
    connection.message(stream).map_or(0, |m| m.body.len())
}

/// Reads until so much came, and asserts that it is no more.
#[track_caller]
fn exactly(connection: &mut Connection, stream: u32, bytes: usize) {
    while connection.message(stream).unwrap().body.len() < bytes {
        connection.frame();
    }
    assert_eq!(came(connection, stream), bytes);
}

fn initial(size: u32) -> Frame {
    Frame::settings(&[(setting::INITIAL_WINDOW_SIZE, size)])
}

#[test]
fn windows_that_move_while_a_body_is_under_way_are_kept_to() {
    let up = server(&[(setting::INITIAL_WINDOW_SIZE, 0)], |connection| {
        connection.refills = false;
        // What comes before it knows our settings may use the usual ones.
        let (first, _) = connection.request().unwrap();
        connection.answer(first, 200, &[], b"");
        let stream = connection.expect(kind::HEADERS).stream;
        exactly(connection, stream, 0);
        connection.send(&initial(10));
        exactly(connection, stream, 10);
        connection.send(&initial(20_000));
        exactly(connection, stream, 20_000);
        // 19,900 below zero. A window is not a loan: what opens it up to zero allows nothing.
        connection.send(&initial(100));
        exactly(connection, stream, 20_000);
        connection.send(&Frame::window_update(stream, 19_900));
        exactly(connection, stream, 20_000);
        connection.send(&Frame::window_update(stream, 5));
        exactly(connection, stream, 20_005);
        // The whole connection's window holds beside that of its streams.
        connection.send(&Frame::window_update(stream, 1 << 20));
        exactly(connection, stream, 65_535);
        connection.send(&Frame::window_update(0, 1));
        exactly(connection, stream, 65_536);
        connection.send(&Frame::window_update(0, 1 << 20));
        let body = connection.whole(stream).body;
        let same = body == pattern(200_000);
        connection.answer(stream, if same { 200 } else { 500 }, &[], b"");
        connection.end();
    });
    let proxy = before(&[&up.address], "");
    let mut client = Client::connect(proxy.web());
    assert_eq!(client.get("/").status(), 200);
    assert_eq!(client.post("/", &pattern(200_000)).status(), 200);
    assert_eq!(up.connections(), 1);
}

#[test]
fn one_stream_whose_window_is_shut_does_not_hold_up_others() {
    let up = server(&[], |connection| {
        connection.refills = false;
        let stuck = connection.expect(kind::HEADERS).stream;
        exactly(connection, stuck, 65_535);
        connection.send(&Frame::window_update(0, 1 << 20));
        while let Some((stream, request)) = connection.request() {
            if stream != stuck {
                connection.send(&Frame::window_update(stuck, 0xffff));
            }
            connection.send(&Frame::headers(stream, response(200, &[])));
            connection.send_body(stream, &request.body, true);
        }
    });
    let proxy = before(&[&up.address], "");
    let mut stuck = Client::connect(proxy.web());
    let body = pattern(120_000);
    let stream = stuck.open(request("POST", "/stuck", &[]), false);
    // What fits on the way; the rest goes when the other one was served.
    stuck.send_body(stream, &body[..70_000], false);
    let mut other = client::Client::connect(proxy.web());
    assert_eq!(other.post("/", b"passes by").body, b"passes by");
    stuck.send_body(stream, &body[70_000..], true);
    assert!(stuck.whole(stream).body == body);
    assert_eq!(up.connections(), 1);
}

#[test]
fn an_endpoint_without_a_header_table_is_sent_none() {
    let up = server(&[(setting::HEADER_TABLE_SIZE, 0)], |connection| {
        while let Some((stream, request)) = connection.request() {
            let again = request.get("x-again").unwrap_or_default().to_owned();
            connection.answer(stream, 200, &[("x-again", &again)], b"");
        }
    });
    let proxy = before(&[&up.address], "");
    let mut client = Client::connect(proxy.web());
    // Fields that are worth an entry of a table, before and after the setting is known.
    for n in 0..6 {
        let value = format!("the same in every request {}", n / 3);
        let stream = client.open(request("GET", "/", &[("x-again", &value)]), true);
        assert_eq!(client.whole(stream).get("x-again"), Some(&*value));
    }
    assert_eq!(up.connections(), 1);
}

#[test]
fn frames_are_no_larger_than_an_endpoint_takes() {
    for most in [16_384_u32, 100_000] {
        let up = server(&[(setting::MAX_FRAME_SIZE, most)], move |connection| {
            while let Some((stream, request)) = connection.request() {
                connection.answer(stream, 200, &[], &request.body);
            }
            let largest = connection.largest;
            assert!(largest <= most as usize, "{largest} > {most}");
        });
        let proxy = before(&[&up.address], "");
        let body = pattern(300_000);
        assert!(Client::connect(proxy.web()).post("/", &body).body == body);
        let head = "x".repeat(40_000);
        let mut client = Client::connect(proxy.web());
        let stream = client.stream();
        let block = Vec::from(request("GET", "/", &[("x-large", &head)]));
        let (first, rest) = block.split_at(16_000);
        let (second, third) = rest.split_at(16_000);
        client.send_all(&[
            Frame::open_headers(stream, first).end_stream(),
            Frame::continuation(stream, second),
            Frame::continuation(stream, third).end_headers(),
        ]);
        assert_eq!(client.whole(stream).status(), 200);
        drop(proxy);
        outrigger_tests::wait::until("the script to end", || (up.open() == 0).then_some(()));
    }
}
