//! Deadlines of a worker's connections: one coarse wheel, one entry per connection.
//!
//! A connection re-arms its deadline several times per request and almost never lets it expire,
//! so arming must cost nothing: an entry stays queued where it is, and only its deadline is
//! written. When its slot comes round, an entry whose deadline moved on is queued again.
//! Deadlines are late by up to one [`TICK`]; what needs better uses tokio's timers.
//!
//! The wheel ([`Wheel`]) knows no clock: time is an argument. [`Timers`] adds the task that drives it.

use std::{
    cell::RefCell,
    rc::Rc,
    sync::OnceLock,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use tokio::sync::Notify;

/// Resolution of deadlines.
pub(crate) const TICK: Duration = Duration::from_millis(8);
const SLOTS: usize = 1024;
/// Ticks since the process began.
type Tick = u64;
/// No deadline.
const NEVER: Tick = Tick::MAX;

/// Time since the process began. `u64` nanoseconds last for 584 years.
pub(crate) fn now() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

fn tick_of(nanos: u64) -> Tick {
    nanos / TICK.as_nanos() as u64
}

/// The first tick that lies wholly after `nanos`.
fn tick_after(nanos: u64) -> Tick {
    tick_of(nanos).saturating_add(1)
}

/// The pure part: entries, slots and what is due.
struct Wheel {
    entries: Vec<Entry>,
    free: Vec<u32>,
    slots: Vec<Vec<Queued>>,
    /// The last tick that was handled.
    tick: Tick,
    /// A tick at or before the first queued one; nothing is due earlier.
    next: Tick,
}

struct Entry {
    deadline: Tick,
    /// The tick it is queued for; other places in slots that name it are out of date.
    queued: Tick,
    waker: Option<Waker>,
}

#[derive(Clone, Copy)]
struct Queued {
    key: u32,
    tick: Tick,
}

impl Wheel {
    fn new(tick: Tick) -> Self {
        Self {
            entries: Vec::new(),
            free: Vec::new(),
            slots: (0..SLOTS).map(|_| Vec::new()).collect(),
            tick,
            next: NEVER,
        }
    }

    fn insert(&mut self) -> u32 {
        let entry = Entry {
            deadline: NEVER,
            queued: NEVER,
            waker: None,
        };
        if let Some(key) = self.free.pop() {
            if let Some(slot) = self.entries.get_mut(key as usize) {
                *slot = entry;
            }
            return key;
        }
        self.entries.push(entry);
        (self.entries.len() - 1) as u32
    }

    fn remove(&mut self, key: u32) {
        if let Some(entry) = self.entries.get_mut(key as usize) {
            *entry = Entry {
                deadline: NEVER,
                queued: NEVER,
                waker: None,
            };
            self.free.push(key);
        }
    }

    /// Sets a deadline; returns whether the driver must look earlier than it planned to.
    fn set(&mut self, key: u32, deadline: Tick) -> bool {
        let Some(entry) = self.entries.get_mut(key as usize) else {
            return false;
        };
        entry.deadline = deadline;
        if deadline >= entry.queued {
            return false;
        }
        self.queue(key, deadline)
    }

    /// Queues an entry for its deadline, or as far ahead as the wheel reaches.
    fn queue(&mut self, key: u32, deadline: Tick) -> bool {
        let tick = deadline.clamp(self.tick + 1, self.tick + SLOTS as Tick - 1);
        let Some(entry) = self.entries.get_mut(key as usize) else {
            return false;
        };
        entry.queued = tick;
        if let Some(slot) = self.slots.get_mut(tick as usize % SLOTS) {
            slot.push(Queued { key, tick });
        }
        let sooner = tick < self.next;
        self.next = self.next.min(tick);
        sooner
    }

    /// Handles every tick up to `now` and wakes those that are due.
    fn advance(&mut self, now: Tick, due: &mut Vec<Waker>) {
        let last = now.min(self.tick.saturating_add(SLOTS as Tick));
        let mut tick = self.next.max(self.tick + 1);
        let mut again = Vec::new();
        while tick <= last {
            self.tick = tick;
            let mut slot = match self.slots.get_mut(tick as usize % SLOTS) {
                Some(slot) => std::mem::take(slot),
                None => Vec::new(),
            };
            for queued in slot.drain(..) {
                let Some(entry) = self.entries.get_mut(queued.key as usize) else {
                    continue;
                };
                if entry.queued != queued.tick {
                    continue;
                }
                entry.queued = NEVER;
                if entry.deadline <= now {
                    due.extend(entry.waker.take());
                } else if entry.deadline != NEVER {
                    again.push((queued.key, entry.deadline));
                }
            }
            // The emptied list keeps its capacity for the next round.
            if let Some(place) = self.slots.get_mut(tick as usize % SLOTS)
                && place.is_empty()
            {
                *place = slot;
            }
            tick += 1;
        }
        self.tick = self.tick.max(now);
        self.next = NEVER;
        for (key, deadline) in again {
            self.queue(key, deadline);
        }
        self.next = self.first_queued();
    }

    fn first_queued(&self) -> Tick {
        (self.tick + 1..self.tick + SLOTS as Tick)
            .find(|tick| {
                self.slots
                    .get(*tick as usize % SLOTS)
                    .is_some_and(|slot| !slot.is_empty())
            })
            .unwrap_or(NEVER)
    }
}

/// A worker's wheel.
#[derive(Clone)]
pub(crate) struct Timers(Rc<Driver>);

struct Driver {
    wheel: RefCell<Wheel>,
    sooner: Notify,
}

impl Timers {
    pub(crate) fn new() -> Self {
        Self(Rc::new(Driver {
            wheel: RefCell::new(Wheel::new(tick_of(now()))),
            sooner: Notify::new(),
        }))
    }

    /// A new entry without a deadline.
    pub(crate) fn timer(&self) -> Timer {
        Timer {
            key: self.0.wheel.borrow_mut().insert(),
            driver: Rc::clone(&self.0),
        }
    }

    /// Wakes every connection, so that each sees a change of the worker's state (a drain).
    pub(crate) fn wake_all(&self) {
        let wakers: Vec<_> = self
            .0
            .wheel
            .borrow_mut()
            .entries
            .iter_mut()
            .filter_map(|e| e.waker.take())
            .collect();
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Drives the wheel. Sleeps while nothing is queued. Runs until dropped.
    pub(crate) async fn run(&self) {
        let mut due = Vec::new();
        loop {
            let next = self.0.wheel.borrow().next;
            if next == NEVER {
                self.0.sooner.notified().await;
                continue;
            }
            let wait = Duration::from_nanos((next * TICK.as_nanos() as u64).saturating_sub(now()));
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.0.sooner.notified() => continue,
            }
            self.0.wheel.borrow_mut().advance(tick_of(now()), &mut due);
            due.drain(..).for_each(Waker::wake);
        }
    }
}

/// The deadline of one connection.
pub(crate) struct Timer {
    driver: Rc<Driver>,
    key: u32,
}

impl Timer {
    /// Expires `after` from `now` (nanoseconds since the process began). Zero: never.
    pub(crate) fn set(&self, now: u64, after: Duration) {
        if after.is_zero() {
            self.clear();
        } else {
            self.set_at(now.saturating_add(after.as_nanos() as u64));
        }
    }

    /// Expires at a point in time.
    pub(crate) fn set_at(&self, at: u64) {
        if self.driver.wheel.borrow_mut().set(self.key, tick_after(at)) {
            self.driver.sooner.notify_one();
        }
    }

    pub(crate) fn clear(&self) {
        self.driver.wheel.borrow_mut().set(self.key, NEVER);
    }

    /// Whether the deadline has passed. Otherwise the task is woken when it does, and by [`Timers::wake_all`].
    pub(crate) fn poll_expired(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut wheel = self.driver.wheel.borrow_mut();
        let tick = wheel.tick;
        let Some(entry) = wheel.entries.get_mut(self.key as usize) else {
            return Poll::Pending;
        };
        if entry.deadline <= tick {
            return Poll::Ready(());
        }
        if !entry
            .waker
            .as_ref()
            .is_some_and(|w| w.will_wake(cx.waker()))
        {
            entry.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.driver.wheel.borrow_mut().remove(self.key);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use proptest::prelude::*;

    use super::*;

    struct Count(AtomicUsize);
    impl std::task::Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn fired(wheel: &mut Wheel, key: u32, now: Tick) -> bool {
        let count = Arc::new(Count(AtomicUsize::new(0)));
        wheel.entries[key as usize].waker = Some(Waker::from(Arc::clone(&count)));
        let mut due = Vec::new();
        wheel.advance(now, &mut due);
        due.into_iter().for_each(Waker::wake);
        count.0.load(Ordering::Relaxed) > 0
    }

    #[test]
    fn a_deadline_moved_on_does_not_fire_early() {
        let mut wheel = Wheel::new(0);
        let key = wheel.insert();
        assert!(wheel.set(key, 10));
        assert!(!wheel.set(key, 2_000), "queued early enough already");
        assert!(!fired(&mut wheel, key, 10));
        assert!(!fired(&mut wheel, key, 1_999));
        assert!(fired(&mut wheel, key, 2_000));
    }

    #[test]
    fn a_deadline_moved_forward_fires_once_and_in_time() {
        let mut wheel = Wheel::new(0);
        let key = wheel.insert();
        wheel.set(key, 500);
        assert!(wheel.set(key, 3));
        assert!(!fired(&mut wheel, key, 2));
        assert!(fired(&mut wheel, key, 3));
        wheel.set(key, NEVER);
        assert!(
            !fired(&mut wheel, key, 600),
            "the older place in the wheel is out of date"
        );
    }

    #[test]
    fn a_reused_key_is_not_woken_for_its_predecessor() {
        let mut wheel = Wheel::new(0);
        let old = wheel.insert();
        wheel.set(old, 5);
        wheel.remove(old);
        let new = wheel.insert();
        assert_eq!(old, new);
        wheel.set(new, 100);
        assert!(!fired(&mut wheel, new, 5));
        assert!(fired(&mut wheel, new, 100));
    }

    proptest! {
        /// Whatever is set and however time advances: an entry fires in the first step that reaches
        /// its deadline, and never before.
        #[test]
        fn fires_exactly_when_due(sets in prop::collection::vec((0_u64..5_000, 1_u64..700), 1..40)) {
            let mut wheel = Wheel::new(0);
            let key = wheel.insert();
            let mut now = 0;
            let mut deadline = NEVER;
            for (ahead, step) in sets {
                if deadline == NEVER || ahead % 2 == 0 {
                    deadline = now + 1 + ahead;
                    wheel.set(key, deadline);
                }
                now += step;
                let hit = fired(&mut wheel, key, now);
                prop_assert_eq!(hit, deadline <= now);
                if hit {
                    deadline = NEVER;
                    wheel.set(key, NEVER);
                }
            }
        }
    }
}
