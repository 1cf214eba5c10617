//! Streams of every fate at random: whatever happens, windows and counts come out even.

use std::{cell::Cell, rc::Rc};

use proptest::{
    collection::vec,
    prelude::*,
    test_runner::{Config, TestCaseError, TestRunner},
};

use super::*;

/// Something that happens, to a stream chosen by number where it is about one.
#[derive(Clone, Debug)]
enum Act {
    Open {
        end: bool,
    },
    /// Of the peer.
    Head {
        at: usize,
        end: bool,
    },
    Data {
        at: usize,
        n: usize,
        padding: Option<u8>,
        end: bool,
    },
    Reset {
        at: usize,
    },
    Window {
        at: usize,
        by: u32,
    },
    AllWindows {
        by: u32,
        first: u32,
    },
    /// Of ours.
    Answer {
        at: usize,
        end: bool,
    },
    Take {
        at: usize,
        release: bool,
    },
    Send {
        at: usize,
        n: usize,
        last: bool,
    },
    GiveUp {
        at: usize,
    },
    Drop {
        at: usize,
    },
    /// What was done so far is acted on.
    Settle,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let at = || 0..8_usize;
    let end = || prop::bool::weighted(0.3);
    let act = prop_oneof![
        4 => end().prop_map(|end| Act::Open { end }),
        2 => (at(), end()).prop_map(|(at, end)| Act::Head { at, end }),
        5 => (at(), 0..9_000_usize, prop::option::weighted(0.2, any::<u8>()), end())
            .prop_map(|(at, n, padding, end)| Act::Data { at, n, padding, end }),
        1 => at().prop_map(|at| Act::Reset { at }),
        1 => (at(), 1..90_000_u32).prop_map(|(at, by)| Act::Window { at, by }),
        1 => (1..90_000_u32, 0..90_000_u32).prop_map(|(by, first)| Act::AllWindows { by, first }),
        2 => (at(), end()).prop_map(|(at, end)| Act::Answer { at, end }),
        4 => (at(), any::<bool>()).prop_map(|(at, release)| Act::Take { at, release }),
        5 => (at(), 1..70_000_usize, end()).prop_map(|(at, n, last)| Act::Send { at, n, last }),
        1 => at().prop_map(|at| Act::GiveUp { at }),
        2 => at().prop_map(|at| Act::Drop { at }),
        2 => Just(Act::Settle),
    ];
    vec(act, 20..120)
}

/// A stream as both sides have it.
struct Seen {
    id: u32,
    stream: Stream,
    /// The peer has ended or reset it.
    ended: bool,
    /// The peer's head was said.
    headed: bool,
    /// We have.
    closed: bool,
}

struct Run {
    wire: Wire,
    role: Role,
    next: u32,
    streams: Vec<Seen>,
    /// What the peer may send on the connection.
    window: usize,
    /// What it got, and what it let us send.
    came: i64,
    allowed: i64,
    opened: Rc<Cell<u32>>,
}

impl Run {
    async fn act(&mut self, act: Act) {
        let count = self.streams.len();
        let seen = |at: usize, run: &mut Self| {
            (count > 0)
                .then(|| at % count)
                .filter(|at| run.streams.len() > *at)
        };
        match act {
            Act::Open { end } => self.open(end).await,
            Act::Settle => self.settle().await,
            Act::AllWindows { by, first } => {
                self.allowed += i64::from(by);
                self.wire.put([update(0, by), told(&[(4, first)])].concat());
            }
            Act::Head { at, .. }
            | Act::Data { at, .. }
            | Act::Reset { at }
            | Act::Window { at, .. }
            | Act::Answer { at, .. }
            | Act::Take { at, .. }
            | Act::Send { at, .. }
            | Act::GiveUp { at }
            | Act::Drop { at } => {
                if let Some(at) = seen(at, self) {
                    self.on_stream(at, &act);
                }
            }
        }
    }

    async fn open(&mut self, end: bool) {
        let id = self.next;
        self.next += 2;
        self.opened.set(self.opened.get() + 1);
        let stream = if self.role == Role::Server {
            self.wire.put(request(id, end));
            self.settle().await;
            self.wire.streams.pop().expect("came")
        } else {
            self.wire.ask(end)
        };
        let server = self.role == Role::Server;
        self.streams.push(Seen {
            id,
            stream,
            ended: server && end,
            headed: server,
            closed: !server && end,
        });
        self.settle().await;
    }

    fn on_stream(&mut self, at: usize, act: &Act) {
        let Self {
            wire,
            streams,
            window,
            ..
        } = self;
        let seen = &mut streams[at];
        let id = seen.id;
        let stream = &mut seen.stream;
        match *act {
            Act::Head { end, .. } if !seen.ended => {
                let last = end || seen.headed;
                wire.put(headers(id, OK, last));
                (seen.headed, seen.ended) = (true, last);
            }
            Act::Data {
                n, padding, end, ..
            } if !seen.ended => {
                let size = n + padding.map_or(0, |n| 1 + usize::from(n));
                if let Some(left) = window.checked_sub(size) {
                    *window = left;
                    seen.ended = end;
                    wire.put(match padding {
                        Some(padding) => padded(id, n, padding, end),
                        None => data(id, n, end),
                    });
                }
            }
            Act::Reset { .. } if !seen.ended || !seen.closed => {
                wire.put(reset(id, Code::CANCEL));
                seen.ended = true;
            }
            Act::Window { by, .. } => wire.put(update(id, by)),
            Act::Answer { end, .. } if !seen.closed => {
                seen.closed = stream.send_head(&block(OK), end).is_err() || end;
            }
            Act::Take { release, .. } => {
                let _ = once(|cx| stream.poll_head(cx, |_, _| ()));
                if release {
                    take(stream);
                } else if let Poll::Ready(Ok(Some(piece))) = once(|cx| stream.poll_data(cx)) {
                    assert!(piece.len() <= stream.held());
                }
            }
            Act::Send { n, last, .. } if !seen.closed => match once(|cx| stream.poll_room(cx, n)) {
                Poll::Ready(Ok(room)) => {
                    assert!(room > 0 && room <= n);
                    stream.send(vec![0; room].into(), last).unwrap();
                    seen.closed = last;
                }
                Poll::Ready(Err(_)) => seen.closed = true,
                Poll::Pending => {}
            },
            Act::GiveUp { .. } => {
                stream.reset(Code::INTERNAL_ERROR);
                seen.closed = true;
            }
            Act::Drop { .. } => drop(streams.swap_remove(at)),
            _ => {}
        }
    }

    async fn settle(&mut self) {
        for frame in self.wire.frames().await {
            match (frame.head.kind, frame.head.stream) {
                (Kind::WindowUpdate, 0) => {
                    self.window += frame::number(&frame.payload).unwrap() as usize;
                }
                (Kind::Data, _) => self.came += i64::from(frame.head.length),
                _ => {}
            }
        }
        assert_eq!(self.wire.end, None);
        self.check();
    }

    fn check(&self) {
        let mut core = self.wire.core();
        let core = &mut *core;
        let held: i64 = core.store.iter_mut().map(|slot| i64::from(slot.held)).sum();
        assert_eq!(
            core.recv.free() + held,
            i64::from(core.ours.connection_window)
        );
        let open = core
            .store
            .iter_mut()
            .filter(|slot| !slot.is_closed())
            .count();
        assert_eq!(
            (core.open as usize, core.store.len()),
            (open, self.streams.len() + self.wire.streams.len())
        );
        assert_eq!(core.send_window, self.allowed - self.came);
        assert_eq!(core.out.len(), 0);
        assert!(core.send_window >= 0);
        // Everyone in line waits, once.
        let waits = core.store.iter_mut().filter(|slot| slot.queued).count();
        assert_eq!(core.line.len(), waits);
        assert!(core.reset.len() <= REMEMBERED);
        let woken: usize = core
            .store
            .iter_mut()
            .filter(|slot| slot.woken)
            .map(|slot| slot.wanted)
            .sum();
        assert!(core.promised <= woken);
        assert!(
            waits == 0 || core.send_window == 0 || woken > 0,
            "nobody's turn"
        );
        for slot in core.store.iter_mut() {
            let kept: usize = slot.pieces.iter().map(Bytes::len).sum::<usize>() + slot.tail.len();
            assert!(kept <= slot.held as usize);
        }
    }
}

#[test]
fn nothing_of_a_window_is_ever_lost() {
    let opened = Rc::new(Cell::new(0));
    for role in [Role::Server, Role::Client] {
        let config = Config {
            cases: 96,
            max_shrink_iters: 2_000,
            failure_persistence: None,
            ..Config::default()
        };
        let result = TestRunner::new(config).run(&acts(), |acts| {
            run(async {
                let wire = Wire::open(
                    role,
                    Settings {
                        connection_window: 100_000,
                        ..SETTINGS
                    },
                )
                .await;
                let mut all = Run {
                    wire,
                    role,
                    next: 1,
                    streams: Vec::new(),
                    window: 100_000,
                    came: 0,
                    allowed: i64::from(FIRST_WINDOW),
                    opened: Rc::clone(&opened),
                };
                for act in acts {
                    all.act(act).await;
                }
                all.settle().await;
                all.streams.clear();
                all.settle().await;
                let core = all.wire.core();
                assert_eq!(core.recv.free(), 100_000);
                assert_eq!((core.open, core.store.len(), core.promised), (0, 0, 0));
                assert!(core.arrived.is_empty() && core.line.is_empty());
            });
            Ok::<_, TestCaseError>(())
        });
        if let Err(error) = result {
            panic!("{role:?}: {error}");
        }
    }
    assert!(opened.get() > 1_000, "{}", opened.get());
}
