//! Rates, and what is weighed against honest work.

use std::sync::LazyLock;

use super::{super::usual, *};

const SECOND: u64 = 1_000_000_000;
static LIMITS: LazyLock<Limits> = LazyLock::new(|| usual(65_536));

fn frame(kind: Kind, length: u32, flags: u8, stream: u32) -> Head {
    Head {
        length,
        kind,
        flags,
        stream,
    }
}

fn headers(stream: u32) -> Head {
    frame(Kind::Headers, 20, 0x5, stream)
}

fn reset(stream: u32) -> Head {
    frame(Kind::Reset, 4, 0, stream)
}

fn server() -> Judge {
    Judge::new(Role::Server, &LIMITS, 0)
}

/// How many of the same frames pass at one moment.
fn passing(judge: &mut Judge, head: Head, now: u64) -> (u32, Flood) {
    (0..1_000_000)
        .find_map(|n| judge.received(&head, || now).err().map(|flood| (n, flood)))
        .expect("everything has an end")
}

#[test]
fn each_kind_has_its_burst_and_comes_back_by_its_rate() {
    for (kind, rate, flood) in [
        (Kind::Settings, LIMITS.settings, Flood::Settings),
        (Kind::Ping, LIMITS.pings, Flood::Pings),
        (Kind::Priority, LIMITS.priorities, Flood::Priorities),
        (Kind::PriorityUpdate, LIMITS.priorities, Flood::Priorities),
        (Kind::Unknown, LIMITS.others, Flood::Others),
        (Kind::GoAway, LIMITS.others, Flood::Others),
        (Kind::PushPromise, LIMITS.others, Flood::Others),
        (Kind::Data, LIMITS.empty_data, Flood::EmptyData),
        (Kind::Reset, LIMITS.resets, Flood::Resets),
        (
            Kind::WindowUpdate,
            LIMITS.window_updates,
            Flood::WindowUpdates,
        ),
    ] {
        let mut judge = server();
        let head = frame(kind, 0, 0, 1);
        assert_eq!(passing(&mut judge, head, 0), (rate.burst, flood));
        let second = passing(&mut judge, head, SECOND);
        assert_eq!(second, (rate.per_second, flood));
        let later = passing(&mut judge, head, 1_000 * SECOND);
        assert_eq!(later, (rate.burst, flood));
    }
}

#[test]
fn a_steady_rate_lives_for_weeks() {
    let mut judge = server();
    let every = SECOND / u64::from(LIMITS.pings.per_second);
    for n in 0..1_000_000 {
        let ping = frame(Kind::Ping, 8, 0, 0);
        assert_eq!(judge.received(&ping, || n * every), Ok(()));
    }
    let weeks = 1_000_000 * every + 60 * 86_400 * SECOND;
    let ping = frame(Kind::Ping, 8, 0, 0);
    assert_eq!(passing(&mut judge, ping, weeks).0, LIMITS.pings.burst);
}

#[test]
fn every_second_stream_may_be_reset_and_no_more() {
    let mut judge = server();
    for n in 0..100_000 {
        assert!(judge.received(&headers(4 * n + 1), || 0).is_ok());
        assert!(judge.received(&headers(4 * n + 3), || 0).is_ok());
        assert!(judge.received(&reset(4 * n + 1), || 0).is_ok());
    }
    // Of every stream a half is what the burst has to pay for.
    let mut judge = server();
    let ended = (0..10_000).find(|n| {
        let id = 2 * n + 1;
        judge.received(&headers(id), || 0).is_err() || judge.received(&reset(id), || 0).is_err()
    });
    assert_eq!(ended, Some(2 * LIMITS.resets.burst - 1));
}

#[test]
fn trailers_and_old_streams_earn_nothing() {
    let mut judge = server();
    let ended = (0..10_000).find(|_| {
        judge.received(&headers(1), || 0).is_err() || judge.received(&reset(1), || 0).is_err()
    });
    assert_eq!(ended, Some(LIMITS.resets.burst));
}

#[test]
fn resets_of_ours_count_where_the_client_is_to_blame() {
    let mut judge = server();
    let blamed = (0..10_000).find(|_| judge.provoked(|| 0).is_err());
    assert_eq!(blamed, Some(LIMITS.provoked_resets.burst));
    let mut client = Judge::new(Role::Client, &LIMITS, 0);
    for n in 0..10_000 {
        assert!(client.received(&reset(n), || 0).is_ok());
    }
}

#[test]
fn what_answers_our_data_may_come_as_often() {
    let mut judge = server();
    for _ in 0..100_000 {
        judge.sent(&frame(Kind::Data, 16_384, 0, 1));
        let update = frame(Kind::WindowUpdate, 4, 0, 1);
        for _ in 0..64 {
            judge.received(&update, || 0).unwrap();
        }
        judge.received(&frame(Kind::Ping, 8, 0, 0), || 0).unwrap();
    }
    // Windows of a byte each are answered by DATA of a byte, which earns nothing.
    let mut judge = server();
    let dribble = (0..100_000).find(|_| {
        judge.sent(&frame(Kind::Data, 1, 0, 1));
        let update = frame(Kind::WindowUpdate, 4, 0, 1);
        judge.received(&update, || 0).is_err()
    });
    assert_eq!(dribble, Some(LIMITS.window_updates.burst));
}

#[test]
fn a_header_block_is_bounded_in_frames_and_bytes() {
    let open = frame(Kind::Headers, 10, 0, 1);
    let more = |length| frame(Kind::Continuation, length, 0, 1);
    let last = frame(Kind::Continuation, 10, 0x4, 1);
    let mut judge = server();
    // Each block counts for itself.
    for _ in 0..100 {
        judge.received(&open, || 0).unwrap();
        for _ in 1..LIMITS.continuations {
            judge.received(&more(0), || 0).unwrap();
        }
        judge.received(&last, || 0).unwrap();
    }
    judge.received(&open, || 0).unwrap();
    let refused = passing(&mut judge, more(0), 0);
    assert_eq!(refused, (LIMITS.continuations, Flood::Continuations));

    let mut judge = server();
    judge.received(&open, || 0).unwrap();
    judge.received(&more(2 * 65_536 - 10), || 0).unwrap();
    assert_eq!(judge.received(&more(1), || 0), Err(Flood::HeaderBlock));
    let large = frame(Kind::Headers, 2 * 65_536 + 1, 0x4, 1);
    assert_eq!(server().received(&large, || 0), Err(Flood::HeaderBlock));
}

#[test]
fn a_larger_header_list_may_have_more_frames() {
    for (list, frames) in [(1_024, 5), (65_536, 10), (1 << 20, 160)] {
        let limits = usual(list);
        assert_eq!(limits.continuations, frames);
        assert!(limits.continuations * LEAST_FRAME >= limits.header_block);
    }
}

#[test]
fn a_frame_with_thousands_of_settings_costs_more_than_one() {
    let mut judge = server();
    let large = frame(Kind::Settings, 2_400, 0, 0);
    let (passed, _) = passing(&mut judge, large, 0);
    assert_eq!(passed, LIMITS.settings.burst / 11);
}
