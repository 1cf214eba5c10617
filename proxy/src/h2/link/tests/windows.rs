//! What a peer may send: told in time, counted to the byte, and never lost with a stream.

use super::*;

#[test]
fn what_is_taken_is_told_by_halves() {
    run(async {
        let settings = Settings {
            window: 1_000,
            connection_window: 100_000,
            ..SETTINGS
        };
        let mut wire = Wire::open(Role::Server, settings).await;
        wire.says([request(1, false), data(1, 499, false)].concat())
            .await;
        assert_eq!(take(&mut wire.streams[0]).0, 499);
        assert!(wire.settle().await.is_empty(), "not worth a frame");
        assert!(wire.says(data(1, 1, false)).await.is_empty());
        assert_eq!(take(&mut wire.streams[0]).0, 1);
        assert_eq!(wire.settle().await, ["UPDATE 1 500"]);
        // Padding is done with at once; what fills a window to its end is no mistake.
        assert_eq!(
            wire.says(padded(1, 300, 250, false)).await,
            Vec::<String>::new()
        );
        assert_eq!(wire.streams[0].held(), 300);
        assert!(wire.says(data(1, 449, false)).await.is_empty());
        assert_eq!(take(&mut wire.streams[0]).0, 749);
        assert_eq!(wire.settle().await, ["UPDATE 1 1000"]);
        assert_eq!(wire.says(data(1, 1_001, false)).await, ["RESET 1 0x3"]);
        assert_eq!(wire.streams[0].held(), 1_001);
        drop(wire.streams.pop());
        assert_eq!(wire.core().recv.free(), 100_000);
    });
}

#[test]
fn the_window_of_the_connection_is_one_for_all() {
    run(async {
        let mut wire = Wire::open(
            Role::Server,
            Settings {
                connection_window: FIRST_WINDOW,
                ..SETTINGS
            },
        )
        .await;
        let mut bytes = [request(1, false), request(3, false)].concat();
        for _ in 0..3 {
            bytes.extend(data(1, 16_000, false));
        }
        bytes.extend(data(3, 16_000, false));
        assert!(wire.says(bytes).await.is_empty());
        // Who is reset is dropped later, and what it held is free then.
        assert!(wire.says(reset(1, Code::CANCEL)).await.is_empty());
        assert_eq!(wire.core().recv.free(), 1_535);
        drop(wire.streams.remove(0));
        assert_eq!(wire.settle().await, ["UPDATE 0 48000"]);
        // What was under way to it counts, and is free at once.
        assert!(wire.says(data(1, 16_000, false)).await.is_empty());
        assert_eq!(wire.core().recv.free(), 49_535);
        let said = wire.says(data(3, 16_384, false).repeat(3)).await;
        assert_eq!(said, ["GOAWAY 3 0x3"]);
        assert_eq!(
            wire.end.map(|end| end.failure(Role::Server).is_some()),
            Some(true)
        );
    });
}

#[test]
fn windows_grow_when_the_peer_knows_of_it() {
    run(async {
        let mut wire = Wire::server().await;
        wire.says(request(1, false)).await;
        wire.link.set_windows(4 << 20, 1 << 20);
        wire.link.set_windows(4 << 20, 2 << 20);
        assert_eq!(wire.settle().await, ["UPDATE 0 3145728", "SETTINGS"]);
        let (stream, ack) = (1 << 20, raw(Kind::Settings, flag::ACK, 0, b""));
        assert_eq!(wire.streams[0].may_hold(), FIRST_WINDOW as usize);
        wire.put(ack.clone());
        for _ in 0..stream / 16_384 {
            wire.put(data(1, 16_384, false));
        }
        assert!(wire.settle().await.is_empty());
        assert_eq!(wire.streams[0].held(), stream);
        assert_eq!(wire.says(data(1, 1, false)).await, ["RESET 1 0x3"]);
        wire.link.set_windows(1 << 20, 2 << 20);
        assert_eq!(
            wire.settle().await,
            ["SETTINGS"],
            "that of the connection never shrinks"
        );
        wire.says(ack).await;
        wire.says(request(3, false)).await;
        assert_eq!(
            wire.core()
                .store
                .iter_mut()
                .map(|slot| slot.recv_window)
                .max(),
            Some(2 << 20)
        );
    });
}

#[test]
fn one_that_shrinks_below_what_came_opens_again() {
    run(async {
        let settings = Settings {
            window: 1_000,
            ..SETTINGS
        };
        let mut wire = Wire::silent(Role::Server, settings);
        // It has not read our settings yet.
        wire.put(
            [
                PREFACE.to_vec(),
                told(&[]),
                request(1, false),
                data(1, 16_000, false),
            ]
            .concat(),
        );
        wire.settle().await;
        wire.says(raw(Kind::Settings, flag::ACK, 0, b"")).await;
        assert_eq!(wire.end, None);
        let left = |wire: &Wire| {
            wire.core()
                .store
                .iter_mut()
                .map(|slot| slot.recv_window)
                .sum::<i64>()
        };
        assert_eq!(left(&wire), 1_000 - 16_000);
        assert_eq!(wire.streams[0].may_hold(), 16_000);
        assert_eq!(take(&mut wire.streams[0]).0, 16_000);
        wire.settle().await;
        assert_eq!(left(&wire), 1_000);
    });
}
