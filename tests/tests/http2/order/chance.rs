//! Sequences that are allowed, put together by chance.

use outrigger_tests::frames::Frame;

use super::{block, post, split};

/// Frames of several streams, all of them allowed, in an order that chance made.
pub(super) fn by_chance(random: &mut fastrand::Rng) -> (Vec<Frame>, Vec<u32>) {
    let streams: Vec<u32> = (0..random.u32(1..7)).map(|n| 2 * n + 1).collect();
    // What must stay together is one entry: a head and its CONTINUATION.
    let mut queues: Vec<Vec<Vec<Frame>>> = Vec::new();
    for &stream in &streams {
        let pieces = random.usize(0..5);
        let (trailers, head) = (random.bool(), post(stream, &[("a-n", &stream.to_string())]));
        let ends = pieces == 0 && !trailers;
        let head = if ends { head.end_stream() } else { head };
        let mut queue = vec![by_chance_split(random, head)];
        for n in 1..=pieces {
            let piece = Frame::data(stream, vec![b'a' + n as u8; random.usize(0..2_000)]);
            let last = n == pieces && !trailers;
            let piece = if last { piece.end_stream() } else { piece };
            queue.push(vec![if random.bool() {
                piece.padded(random.u8(..))
            } else {
                piece
            }]);
        }
        if trailers {
            let trailers = block(stream, &[("a-t", &pieces.to_string())]);
            queue.push(by_chance_split(random, trailers));
        }
        queue.reverse();
        queues.push(queue);
    }
    let mut frames = Vec::new();
    // Streams begin in order; what follows comes as it may.
    let mut begun = 0;
    while queues.iter().any(|queue| !queue.is_empty()) {
        match random.u32(0..12) {
            0 => frames.push(Frame::ping([random.u8(..); 8])),
            1 => frames.push(Frame::priority(2 * random.u32(1..50) + 1)),
            2 => frames.push(Frame::new(random.u8(0x20..), random.u8(..), 0, [1, 2, 3])),
            3 => frames.push(Frame::window_update(0, random.u32(1..1_000))),
            _ => {
                let stream = random.usize(0..queues.len()).min(begun);
                if let Some(next) = queues[stream].pop() {
                    begun = begun.max(stream + 1).min(queues.len() - 1);
                    frames.extend(next);
                }
            }
        }
    }
    (frames, streams)
}

fn by_chance_split(random: &mut fastrand::Rng, frame: Frame) -> Vec<Frame> {
    if random.bool() {
        return vec![frame];
    }
    let at = random.usize(0..=frame.payload.len());
    split(&frame, &[at])
}
