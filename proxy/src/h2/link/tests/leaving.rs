//! How a connection ends: by either side's GOAWAY, by a socket that breaks, with streams under way.

use super::*;

const LEFT: [&str; 2] = ["GOAWAY 2147483647 0x0", "PING"];

/// The answer to the PING by which a server leaves.
fn heard_that() -> Vec<u8> {
    raw(Kind::Ping, flag::ACK, 0, &LEAVING)
}

#[test]
fn a_server_leaves_in_two_steps() {
    run(async {
        let mut wire = Wire::server().await;
        wire.says([request(1, true), request(3, false)].concat())
            .await;
        wire.task.woken();
        wire.link.leave();
        wire.link.leave();
        assert_eq!(wire.settle().await, LEFT);
        // What was under way is still taken.
        assert!(wire.says(request(5, true)).await.is_empty());
        assert_eq!(wire.says(heard_that()).await, ["GOAWAY 5 0x0"]);
        assert!(wire.says(heard_that()).await.is_empty(), "once");
        // What is beyond is not, and keeps the tables in step all the same.
        let indexed = [&block(REQUEST)[..], &[0x40, 1, b'n', 1, b'v']].concat();
        let beyond = [
            raw(Kind::Headers, 4, 7, &indexed),
            data(7, 1_000, false),
            update(7, 1),
            headers(7, &[("x", "y")], true),
            reset(9, Code::CANCEL),
            raw(Kind::Headers, 5, 3, &[0xbe]),
        ];
        assert!(wire.says(beyond.concat()).await.is_empty());
        assert_eq!(wire.streams.len(), 3);
        let trailers = wire.streams[1].trailers(|block| block.get(0).map(|f| f.value.to_vec()));
        assert_eq!(trailers, Some(Some(b"v".to_vec())));
        assert_eq!(wire.core().recv.free(), 1 << 20);
        for stream in &mut wire.streams {
            assert_eq!(wire.end, None);
            stream.send_head(&block(OK), true).unwrap();
        }
        let said = wire.settle().await;
        assert_eq!(said, ["HEADERS 1 end", "HEADERS 3 end", "HEADERS 5 end"]);
        assert_eq!(wire.end, Some(End::Closed));
    });
}

#[test]
fn a_server_that_leaves_says_all_to_who_reads_slowly() {
    for ours in [true, false] {
        run(async {
            let mut wire = Wire::server().await;
            wire.put([told(&[(4, MAX_31)]), update(0, 1 << 30), request(1, true)].concat());
            wire.settle().await;
            let mut stream = wire.streams.pop().unwrap();
            stream.send_head(&block(OK), false).unwrap();
            let mut sent = 0;
            while wire.link.blocked_at().is_none() {
                while let Poll::Ready(room) = once(|cx| stream.poll_room(cx, 50_000)) {
                    sent += room.unwrap();
                    stream.send(vec![1; room.unwrap()].into(), false).unwrap();
                }
                wire.turn();
                tokio::task::yield_now().await;
            }
            if ours {
                wire.link.leave();
                wire.put(heard_that());
            } else {
                wire.put(go_away(0, Code::NO_ERROR));
            }
            stream.send(Bytes::new(), true).unwrap();
            drop(stream);
            // Nothing is left to do, but for what waits.
            for _ in 0..20 {
                wire.turn();
                tokio::task::yield_now().await;
            }
            assert_eq!((wire.core().open, wire.end), (0, None));
            let mut frames = Vec::new();
            wire.task.woken();
            while wire.end.is_none() {
                frames.extend(wire.hear());
                // Only when it is woken, so that its end is not stumbled upon.
                if wire.task.woken() > 0 {
                    wire.turn();
                }
                tokio::task::yield_now().await;
            }
            frames.extend(wire.hear());
            let came: usize = frames
                .iter()
                .filter(|frame| frame.head.kind == Kind::Data)
                .map(|frame| frame.payload.len())
                .sum();
            assert_eq!(came, sent);
            assert!(frames.iter().any(|frame| frame.text() == "DATA 1 0 end"));
            assert_eq!(wire.end, Some(End::Closed));
        });
    }
}

#[test]
fn streams_beyond_a_goaway_are_lost_and_others_go_on() {
    run(async {
        let mut wire = Wire::client().await;
        let mut streams = [wire.ask(true), wire.ask(true), wire.ask(false)];
        wire.settle().await;
        let task = Arc::new(Task::default());
        for stream in &mut streams {
            assert!(task.poll(|cx| stream.poll_head(cx, |_, _| ())).is_pending());
        }
        // The first of two steps takes none away.
        wire.says(go_away(MAX_31, Code::NO_ERROR)).await;
        assert_eq!(task.woken(), 0);
        let sender = wire.sender.take().unwrap();
        assert!(!sender.is_open());
        assert!(sender.open(&block(REQUEST), true, Asks::Body).is_none());
        wire.says(go_away(1, Code::NO_ERROR)).await;
        assert_eq!(task.woken(), 2);
        let [first, second, third] = &mut streams;
        for stream in [second, third] {
            let gone = once(|cx| stream.poll_head(cx, |_, _| ()));
            assert_eq!(gone, Poll::Ready(Err(Gone::Left(Code::NO_ERROR))));
            assert_eq!(
                stream.send(Bytes::new(), true),
                Err(Gone::Left(Code::NO_ERROR))
            );
        }
        wire.says([headers(1, OK, false), data(1, 4, true)].concat())
            .await;
        let head = once(|cx| first.poll_head(cx, |block, end| (block.len(), end)));
        assert_eq!(head, Poll::Ready(Ok((1, false))));
        assert_eq!(take(first), (4, Some(Ok(()))));
        drop((streams, sender));
        assert_eq!(wire.settle().await, ["GOAWAY 0 0x0"]);
        assert_eq!(wire.end, Some(End::Closed));
    });
}

#[test]
fn what_came_before_the_end_is_read() {
    run(async {
        let mut wire = Wire::client().await;
        let mut streams = [wire.ask(true), wire.ask(true)];
        wire.settle().await;
        wire.put(
            [
                headers(1, OK, false),
                data(1, 4, true),
                headers(3, OK, false),
                data(3, 5, false),
            ]
            .concat(),
        );
        while !wire.saying.is_empty() {
            wire.turn();
        }
        wire.peer.shutdown(std::net::Shutdown::Both).unwrap();
        while wire.end.is_none() {
            wire.turn();
            tokio::task::yield_now().await;
        }
        assert_eq!(wire.end, Some(End::Closed));
        let [whole, half] = &mut streams;
        for stream in [&mut *whole, &mut *half] {
            assert!(once(|cx| stream.poll_head(cx, |_, _| ())).is_ready());
        }
        assert_eq!(take(whole), (4, Some(Ok(()))));
        assert_eq!(take(half), (5, Some(Err(Gone::Closed))));
        assert_eq!(half.send_head(&[], true), Err(Gone::Closed));
        // Nothing is said, or panics, when the streams outlive their connection.
        let Wire { link, .. } = wire;
        drop(link);
        half.reset(Code::CANCEL);
        drop(streams);
    });
}

#[test]
fn everyone_hears_of_the_end() {
    run(async {
        let mut wire = Wire::server().await;
        for id in [1, 3, 5, 7] {
            wire.put(request(id, false));
        }
        wire.settle().await;
        let mut streams = std::mem::take(&mut wire.streams);
        streams[0].send_head(&block(OK), false).unwrap();
        let room = once(|cx| streams[0].poll_room(cx, 65_535));
        assert_eq!(room, Poll::Ready(Ok(65_535 - 10)));
        streams[0].send(vec![0; 65_525].into(), false).unwrap();
        wire.settle().await;
        let tasks: [Arc<Task>; 4] = std::array::from_fn(|_| Arc::default());
        assert!(tasks[0].poll(|cx| streams[0].poll_data(cx)).is_pending());
        assert!(tasks[1].poll(|cx| streams[1].poll_room(cx, 100)).is_ready());
        let n = 10;
        streams[1].send(vec![0; n].into(), false).unwrap();
        wire.settle().await;
        assert!(
            tasks[1]
                .poll(|cx| streams[1].poll_room(cx, 100))
                .is_pending()
        );
        assert!(tasks[2].poll(|cx| streams[2].poll_gone(cx)).is_pending());
        assert!(
            tasks[3]
                .poll(|cx| streams[3].poll_head(cx, |_, _| ()))
                .is_ready()
        );
        assert!(
            tasks[3]
                .poll(|cx| streams[3].poll_head(cx, |_, _| ()))
                .is_pending()
        );
        wire.link.end(Code::NO_ERROR);
        assert_eq!(wire.settle().await, ["GOAWAY 7 0x0"]);
        assert_eq!(wire.end, Some(End::Ours));
        for task in tasks {
            assert_eq!(task.woken(), 1);
        }
        let room = once(|cx| streams[1].poll_room(cx, 1));
        assert_eq!(room, Poll::Ready(Err(Gone::Closed)));
    });
}

#[test]
fn what_is_dropped_is_cancelled_as_it_stands() {
    run(async {
        let mut wire = Wire::server().await;
        for id in [1, 3, 5, 7] {
            wire.put(request(id, id == 7));
        }
        wire.settle().await;
        let mut streams = std::mem::take(&mut wire.streams);
        streams[1].send_head(&block(OK), true).unwrap();
        streams[2].reset(Code::INTERNAL_ERROR);
        streams[2].reset(Code::CANCEL);
        streams[3].send_head(&block(OK), true).unwrap();
        drop(streams);
        let said = wire.settle().await;
        let expected = [
            "HEADERS 3 end",
            "RESET 5 0x2",
            "HEADERS 7 end",
            "RESET 1 0x8",
            "RESET 3 0x0",
        ];
        assert_eq!(said, expected);
        assert_eq!(wire.core().store.len(), 0);
        assert_eq!(wire.core().open, 0);
        let mut wire = Wire::client().await;
        let streams = [wire.ask(true), wire.ask(false), wire.ask(false)];
        wire.settle().await;
        wire.says(
            [
                headers(1, OK, true),
                headers(3, OK, true),
                reset(5, Code::REFUSED_STREAM),
            ]
            .concat(),
        )
        .await;
        drop(streams);
        assert_eq!(wire.settle().await, ["RESET 3 0x8"]);
    });
}

#[test]
fn a_ping_of_ours_is_answered_once() {
    run(async {
        let mut wire = Wire::client().await;
        assert!(wire.link.ask());
        assert!(!wire.link.ask(), "one at a time");
        assert_eq!(wire.settle().await, ["PING"]);
        assert!(!wire.link.take_answer());
        wire.says(raw(Kind::Ping, flag::ACK, 0, b"another.")).await;
        assert!(!wire.link.take_answer());
        let answer = raw(Kind::Ping, flag::ACK, 0, &ASKING);
        wire.says([answer.clone(), answer].concat()).await;
        assert!(wire.link.take_answer());
        assert!(!wire.link.take_answer());
        assert!(wire.link.ask());
        assert!(wire.link.take_received() > 0);
        assert_eq!(wire.link.take_received(), 0);
    });
}
