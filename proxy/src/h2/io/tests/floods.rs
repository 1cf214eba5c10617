//! Floods, as the link sees them: who is told what, and what is not one.

use super::*;

/// Serves a client that sends `bytes`; what was too much, and all that it received.
fn flooded(bytes: Vec<u8>) -> (Option<Flood>, Vec<u8>) {
    run(async move {
        let (ours, peer) = tcp_pair().await;
        let (link, handle) = linked(ours, Role::Server, &spare());
        let (mut read, mut write) = peer.into_split();
        let sender = spawn_local(async move {
            let _ = write.write_all(&[hello(), bytes].concat()).await;
            let _ = write.shutdown().await;
        });
        let receiver = spawn_local(async move {
            let mut all = Vec::new();
            let _ = read.read_to_end(&mut all).await;
            all
        });
        let mut connection = handshake(link, &handle).await;
        let mut told = false;
        in_turns(&handle, |cx| {
            loop {
                match connection.poll_accept(cx) {
                    Poll::Ready(None | Some(Err(_))) => return Poll::Ready(()),
                    Poll::Ready(Some(Ok(_))) => {}
                    Poll::Pending if handle.flood().is_some() && !told => {
                        told = true;
                        connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
                    }
                    Poll::Pending => return Poll::Pending,
                }
            }
        })
        .await;
        drop(connection);
        let flood = handle.flood();
        // So that unread bytes do not reset what the client is to read.
        let mut rest = handle.into_stream().unwrap();
        let mut sink = [0; 4_096];
        while poll_fn(|cx| rest.poll_read_into(cx, &mut sink))
            .await
            .is_ok_and(|n| n > 0)
        {}
        drop(rest);
        sender.await.unwrap();
        (flood, receiver.await.unwrap())
    })
}

/// Whether bytes end with GOAWAY and this code.
fn ends_with_goaway(bytes: &[u8], code: u32) -> bool {
    let mut meter = Meter::new(false);
    let mut last = None;
    meter.watch(bytes, |head| last = Some(*head));
    last.is_some_and(|head| head.kind == Kind::GoAway) && bytes.ends_with(&code.to_be_bytes())
}

#[test]
fn a_client_that_floods_is_told_to_calm_down() {
    let resets: Vec<_> = (0..2_000)
        .map(|n| [request(2 * n + 1, 0), frame(3, 0, 2 * n + 1, &[0, 0, 0, 8])].concat())
        .collect();
    for (bytes, expected) in [
        (resets.concat(), Flood::Resets),
        (frame(6, 0, 0, &[0; 8]).repeat(300), Flood::Pings),
        (frame(4, 0, 0, b"").repeat(300), Flood::Settings),
        (frame(2, 0, 1, &[0; 5]).repeat(500), Flood::Priorities),
        (frame(0x99, 0, 1, &[0; 5]).repeat(300), Flood::Others),
        (
            frame(8, 0, 0, &[0, 0, 0, 1]).repeat(6_000),
            Flood::WindowUpdates,
        ),
        (
            [request(1, 0), frame(0, 0, 1, b"").repeat(300)].concat(),
            Flood::EmptyData,
        ),
        (
            [frame(1, 0, 1, &[0x83]), frame(9, 0, 1, b"").repeat(30)].concat(),
            Flood::Continuations,
        ),
        (
            [
                frame(1, 0, 1, &[0x83]),
                frame(9, 0, 1, &[0; 16_384]).repeat(15),
            ]
            .concat(),
            Flood::HeaderBlock,
        ),
    ] {
        let (flood, answer) = flooded(bytes);
        assert_eq!(flood, Some(expected));
        assert!(ends_with_goaway(&answer, 0xb), "{expected:?}: {answer:?}");
    }
}

#[test]
fn resets_that_a_client_provokes_are_its_own() {
    // Each request is followed by a WINDOW_UPDATE that overflows its stream's window.
    let tricks: Vec<_> = (0..600)
        .map(|n| {
            let id = 2 * n + 1;
            let update = frame(8, 0, id, &0x7fff_ffff_u32.to_be_bytes());
            [request(id, 0), update].concat()
        })
        .collect();
    let (flood, answer) = flooded(tricks.concat());
    assert_eq!(flood, Some(Flood::ProvokedResets));
    assert!(ends_with_goaway(&answer, 0xb));
}

#[test]
fn a_server_that_floods_loses_the_connection() {
    run(async {
        let (ours, mut peer) = tcp_pair().await;
        let (link, handle) = linked(ours, Role::Client, &spare());
        let (_requests, mut connection) = client().handshake::<_, Bytes>(link).await.unwrap();
        let pings = [frame(4, 0, 0, b""), frame(6, 0, 0, &[0; 8]).repeat(300)].concat();
        peer.write_all(&pings).await.unwrap();
        let ended = in_turns(&handle, |cx| Pin::new(&mut connection).poll(cx)).await;
        let error = ended.unwrap_err();
        assert_eq!(error.get_io().unwrap().kind(), ErrorKind::ConnectionAborted);
        assert_eq!(handle.flood(), Some(Flood::Pings));
    });
}

#[test]
fn a_link_outlives_the_totals_of_h2() {
    // h2 ends a connection with its 101st empty DATA frame, however slowly they came.
    run(async {
        let (ours, mut peer) = tcp_pair().await;
        let limits = usual(65_536).of_many();
        let (link, handle) = link(Parts {
            stream: ours,
            first: b"",
            role: Role::Server,
            bounds: Bounds::default(),
            limits: &limits,
            spare: &spare(),
            behind: &Behind::new(1 << 20),
        });
        let bytes = [
            hello(),
            request(1, 0),
            frame(0, 0, 1, b"").repeat(900),
            frame(0, 1, 1, b""),
        ];
        peer.write_all(&bytes.concat()).await.unwrap();
        peer.shutdown().await.unwrap();
        answer(link, handle.clone(), Bytes::new()).await.unwrap();
        assert_eq!(handle.flood(), None);
        assert_eq!(handle.take_tally().received[Kind::Data as usize], 901);
    });
}
