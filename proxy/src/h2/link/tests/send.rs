//! What we send: windows, the line of those who wait, and sockets that take nothing.

use super::super::super::hpack::Block;
use super::*;

/// A stream's task that has so much to send.
struct Sending {
    stream: Stream,
    task: Arc<Task>,
    left: usize,
    /// It was polled once at least, or woken since.
    due: bool,
}

impl Sending {
    fn new(stream: Stream, left: usize) -> Self {
        Self {
            stream,
            task: Arc::default(),
            left,
            due: true,
        }
    }

    /// What the task does if it was woken: sends what there is room for, a piece at a time.
    fn poll(&mut self, piece: usize) -> usize {
        let woken = self.task.woken() > 0;
        if !(woken || std::mem::take(&mut self.due)) {
            return 0;
        }
        let mut sum = 0;
        while self.left > 0 {
            let want = piece.min(self.left);
            let stream = &mut self.stream;
            match self.task.poll(|cx| stream.poll_room(cx, want)) {
                Poll::Ready(room) => {
                    let n = room.unwrap();
                    assert!(n > 0 && n <= want);
                    self.left -= n;
                    sum += n;
                    let piece = Bytes::from(vec![b's'; n]);
                    self.stream.send(piece, self.left == 0).unwrap();
                }
                Poll::Pending => break,
            }
        }
        sum
    }
}

/// A client that has asked for so many answers of so many bytes each.
async fn asked(answers: usize, size: usize) -> (Wire, Vec<Sending>) {
    let mut wire = Wire::server().await;
    for n in 0..answers as u32 {
        wire.put(request(2 * n + 1, true));
    }
    assert!(wire.settle().await.is_empty());
    let streams = std::mem::take(&mut wire.streams);
    assert_eq!(streams.len(), answers);
    let sending = |mut stream: Stream| {
        stream.send_head(&block(OK), false).unwrap();
        Sending::new(stream, size)
    };
    let all = streams.into_iter().map(sending).collect();
    assert_eq!(wire.settle().await.len(), answers, "the heads");
    (wire, all)
}

/// Bytes of DATA by stream.
fn count(frames: &[Frame], sums: &mut HashMap<u32, usize>) {
    for frame in frames.iter().filter(|frame| frame.head.kind == Kind::Data) {
        *sums.entry(frame.head.stream).or_default() += frame.payload.len();
    }
}

#[test]
fn a_turn_with_many_answers_is_one() {
    run(async {
        let (mut wire, mut all) = asked(20, 2_000).await;
        wire.task.woken();
        for sending in &mut all {
            assert_eq!(sending.poll(2_000), 2_000);
        }
        assert_eq!(wire.task.woken(), 1);
        wire.turn();
        assert_eq!(wire.link.unsent(), 0);
        let said: Vec<_> = wire.hear().iter().map(Frame::text).collect();
        assert_eq!(said.len(), 20);
        assert_eq!(said[19], "DATA 39 2000 end");
        assert_eq!(wire.core().open, 0);
        // Nothing is held between turns.
        assert_eq!(wire.core().out.held(), 0);
    });
}

#[test]
fn payload_waits_for_both_windows_and_is_cut_to_frames() {
    run(async {
        let (mut wire, mut all) = asked(1, 200_000).await;
        let sending = &mut all[0];
        assert_eq!(sending.poll(200_000), 65_535);
        let said = wire.settle().await;
        let whole = "DATA 1 16384".to_owned();
        assert_eq!(
            said,
            [
                whole.clone(),
                whole.clone(),
                whole,
                "DATA 1 16383".to_owned()
            ]
        );
        // One window alone is of no use; smaller frames are the peer's wish no more than larger.
        assert!(wire.says(update(1, 40_000)).await.is_empty());
        assert_eq!(sending.poll(200_000), 0);
        wire.says([told(&[(5, 32_768)]), update(0, 36_000)].concat())
            .await;
        assert_eq!(sending.poll(200_000), 36_000);
        assert_eq!(wire.settle().await, ["DATA 1 32768", "DATA 1 3232"]);
        // A window that shrinks below nothing opens when it is above.
        wire.says([told(&[(4, 0)]), update(0, 100_000)].concat())
            .await;
        assert_eq!(sending.poll(200_000), 0);
        assert!(wire.says(update(1, 61_535)).await.is_empty());
        assert_eq!((sending.task.woken(), sending.poll(200_000)), (0, 0));
        wire.says(update(1, 7)).await;
        assert_eq!(sending.poll(200_000), 7);
        assert_eq!(
            wire.says(told(&[(4, 5)])).await,
            ["DATA 1 7", "SETTINGS ack"]
        );
        assert_eq!(sending.poll(200_000), 5);
        assert_eq!(wire.settle().await, ["DATA 1 5"]);
    });
}

#[test]
fn everyone_in_line_has_a_turn() {
    run(async {
        const STREAMS: usize = 24;
        const SIZE: usize = 600_000;
        let (mut wire, mut all) = asked(STREAMS, SIZE).await;
        wire.put(told(&[(4, MAX_31)]));
        wire.put(update(0, MAX_31 - FIRST_WINDOW));
        wire.frames().await;
        let mut sums = HashMap::new();
        let mut turns = 0;
        while all.iter().any(|sending| sending.left > 0) {
            // As an executor does: in the order in which they were woken.
            all.sort_by_key(|sending| sending.task.at.load(Ordering::Relaxed));
            for sending in &mut all {
                sending.poll(16_384);
            }
            assert!(wire.link.unsent() <= LINED_UP + 16 * HEAD);
            count(&wire.frames().await, &mut sums);
            turns += 1;
            let least = all.iter().map(|sending| SIZE - sending.left).min().unwrap();
            let most = all.iter().map(|sending| SIZE - sending.left).max().unwrap();
            assert!(
                most - least <= LINED_UP + 2 * 16_384,
                "turn {turns}: {least} to {most}"
            );
        }
        count(&wire.frames().await, &mut sums);
        assert!(sums.values().all(|sum| *sum == SIZE));
        // No more than could be: nobody was woken to find no room.
        assert!(turns <= STREAMS * SIZE / (LINED_UP - 1_000) + 20, "{turns}");
        let core = wire.core();
        assert_eq!((core.promised, core.line.len()), (0, 0));
    });
}

#[test]
fn a_turn_that_nobody_takes_is_another_s() {
    // What becomes of the stream that was woken.
    type Fate = fn(&mut Wire, &mut Vec<Sending>);
    let fates: [Fate; 4] = [
        |_, all| drop(all.remove(0)),
        |_, all| all[0].stream.reset(Code::CANCEL),
        |wire, all| {
            let gone = Gone::Reset(Code::CANCEL);
            wire.core().lose(all[0].stream.key, gone);
        },
        |wire, all| {
            // Its window shrinks; the other's too, and is given back.
            wire.core().set_their_window(0);
            wire.core().window_update(3, &[0, 1, 0, 0]);
            assert_eq!(all[0].poll(65_535), 0);
        },
    ];
    for (at, fate) in fates.into_iter().enumerate() {
        run(async {
            let (mut wire, mut all) = asked(2, 80_000).await;
            wire.says(told(&[(4, 70_000)])).await;
            assert_eq!(all[0].poll(65_535), 65_535);
            assert_eq!(all[1].poll(10), 0, "nothing is left");
            wire.says(update(0, 4_000)).await;
            let woken = (
                all[0].task.times.load(Ordering::Relaxed),
                all[1].task.woken(),
            );
            assert_eq!(woken, (1, 0), "{at}");
            // The connection's task has no turn: what happens to the one is all that happens.
            fate(&mut wire, &mut all);
            let last = all.last_mut().unwrap();
            assert_eq!(last.poll(10), 4_000, "{at}: it was not told");
        });
    }
}

#[test]
fn who_comes_does_not_overtake_who_waits() {
    run(async {
        let (mut wire, mut all) = asked(3, 40_000).await;
        assert_eq!(all[0].poll(40_000), 40_000);
        wire.settle().await;
        assert_eq!(all[1].poll(40_000), 25_535);
        wire.settle().await;
        wire.put(update(0, 5_000));
        // Woken, and not polled yet: what there is was promised.
        wire.settle().await;
        assert_eq!(all[2].poll(100), 0);
        assert_eq!(all[1].poll(40_000), 5_000);
        wire.settle().await;
        wire.put(update(0, 50_000));
        wire.settle().await;
        assert_eq!(all[2].poll(40_000), 40_000);
        assert_eq!(all[1].poll(40_000), 9_465);
    });
}

#[test]
fn a_client_that_reads_nothing_is_read_from_no_more() {
    run(async {
        let mut wire = Wire::server().await;
        let long = "y".repeat(8_000);
        let large = [OK, &[("x", &*long)]].concat();
        let mut id = 1;
        let mut turns_without = 0;
        // Each answer is a head and nothing else: no window holds it back.
        while turns_without < 50 {
            if wire.saying.len() < 1_000 {
                for _ in 0..50 {
                    wire.put(request(id, true));
                    id += 2;
                }
            }
            wire.turn();
            turns_without += 1;
            for mut stream in wire.streams.drain(..) {
                stream.send_head(&block(&large), true).unwrap();
                turns_without = 0;
            }
            assert!(wire.link.unsent() < CLOGGED + 100 * 9_000);
            tokio::task::yield_now().await;
        }
        assert!(wire.link.blocked_at().is_some());
        assert!(wire.link.unsent() >= CLOGGED);
        let answered = wire.core().last_peer;
        // It reads again: all of it comes, and what it asked meanwhile is served.
        let mut heads = 0;
        while heads < id as usize / 2 {
            heads += wire.hear().len();
            wire.pump();
            // It is told whenever there is something to do.
            if wire.task.woken() > 0 {
                wire.turn();
            }
            for mut stream in wire.streams.drain(..) {
                stream.send_head(&block(&large), true).unwrap();
            }
            tokio::task::yield_now().await;
        }
        assert!(wire.core().last_peer > answered);
        assert_eq!(wire.link.unsent(), 0);
        assert_eq!(wire.core().open, 0);
    });
}

#[test]
fn reading_goes_on_when_all_that_waited_is_gone() {
    run(async {
        let mut wire = Wire::server().await;
        for n in 0..40 {
            wire.put(request(2 * n + 1, true));
        }
        wire.settle().await;
        let long = "y".repeat(8_000);
        for mut stream in wire.streams.drain(..) {
            let large = [OK, &[("x", &*long)]].concat();
            stream.send_head(&block(&large), true).unwrap();
        }
        assert!(wire.link.unsent() >= CLOGGED);
        // By one call that fails; no event of the socket follows.
        wire.peer = UnixStream::pair().unwrap().0;
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        wire.task.woken();
        wire.turn();
        assert_eq!((wire.end, wire.link.unsent()), (None, 0));
        assert!(wire.task.woken() > 0);
        wire.turn();
        assert_eq!(wire.end, Some(End::Closed));
    });
}

#[test]
fn large_and_small_pieces_arrive_as_they_were() {
    run(async {
        let (mut wire, mut all) = asked(1, usize::MAX).await;
        wire.put([told(&[(4, MAX_31), (5, 100_000)]), update(0, 1 << 30)].concat());
        wire.frames().await;
        let sending = &mut all[0];
        let (mut sent, mut came) = (Vec::new(), Vec::new());
        let mut n = 0_usize;
        while sent.len() < 3_000_000 {
            // Without a reader to begin with, so that it is sent in parts.
            let size = [1, 900, 4_096, 4_097, 60_000, 17, 30_000][n % 7];
            let stream = &mut sending.stream;
            if let Poll::Ready(room) = once(|cx| stream.poll_room(cx, size)) {
                let piece: Vec<u8> = (0..room.unwrap()).map(|at| (at + n) as u8).collect();
                sent.extend_from_slice(&piece);
                stream.send(piece.into(), false).unwrap();
                n += 1;
                continue;
            }
            wire.turn();
            if wire.link.blocked_at().is_some() || wire.link.unsent() == 0 {
                came.extend(wire.hear());
            }
            tokio::task::yield_now().await;
        }
        sending.stream.send(Bytes::new(), true).unwrap();
        came.extend(wire.frames().await);
        let last = came.last().unwrap();
        assert_eq!(last.text(), "DATA 1 0 end");
        let bytes: Vec<u8> = came.into_iter().flat_map(|frame| frame.payload).collect();
        assert!(bytes.ends_with(&sent), "other bytes came");
    });
}

#[test]
fn a_head_that_is_larger_than_a_frame_goes_on() {
    run(async {
        let mut wire = Wire::client().await;
        let long = "v".repeat(40_000);
        let head = block(&[REQUEST, &[("x", &long)]].concat());
        let sender = wire.sender.as_ref().unwrap();
        let _stream = sender.open(&head, true, Asks::Body);
        let frames = wire.frames().await;
        let said: Vec<_> = frames.iter().map(Frame::text).collect();
        assert_eq!(said, ["HEADERS 1 end", "Continuation 1", "Continuation 1"]);
        let flags: Vec<_> = frames.iter().map(|frame| frame.head.flags).collect();
        assert_eq!(flags, [flag::END_STREAM, 0, flag::END_HEADERS]);
        let whole: Vec<u8> = frames.into_iter().flat_map(|frame| frame.payload).collect();
        let mut read = Block::new();
        read.reset(100_000);
        Decoder::new(TABLE).decode(&whole, &mut read).unwrap();
        assert_eq!(read.len(), 5);
        assert!(
            read.get(4)
                .is_some_and(|field| field.value == long.as_bytes())
        );
    });
}
