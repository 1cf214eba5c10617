//! Memory that one worker holds for receivers that are behind: how much, who holds it, and who
//! has waited longest.
//!
//! All of it has one bound. Who asks for more than is left has those sent away that have waited
//! longest, so that a receiver that takes nothing gives way to one that is behind for a moment.
//! No io and no clock: the order in which they began to wait is enough.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    task::Waker,
};

/// A worker's memory of that kind.
#[derive(Clone, Debug)]
pub(crate) struct Behind(Rc<Shared>);

#[derive(Debug)]
struct Shared {
    most: usize,
    used: Cell<usize>,
    /// Most that was in use since [`Behind::has_fallen`] was true.
    peak: Cell<usize>,
    /// Of it, with those who were sent away and have not gone yet.
    leaving: Cell<usize>,
    queue: RefCell<Queue>,
}

impl Behind {
    pub(crate) fn new(most: usize) -> Self {
        Self(Rc::new(Shared {
            most,
            used: Cell::new(0),
            peak: Cell::new(0),
            leaving: Cell::new(0),
            queue: RefCell::default(),
        }))
    }

    /// Whether more than a quarter is in use: who reads ahead should read less.
    pub(crate) fn is_tight(&self) -> bool {
        self.0.used.get() > self.0.most / 4
    }

    /// Whether so many bytes fewer are in use than once were, since this was last the case.
    pub(crate) fn has_fallen(&self, bytes: usize) -> bool {
        let shared = &*self.0;
        let fallen = shared.peak.get() - shared.used.get() >= bytes;
        if fallen {
            shared.peak.set(shared.used.get());
        }
        fallen
    }

    /// Makes room for `n` bytes of one who waits at `own`, if at all. `false`: there is none,
    /// or who asks has waited longest.
    fn make_room(&self, n: usize, own: Option<usize>) -> bool {
        let shared = &*self.0;
        loop {
            let stays = shared.used.get() - shared.leaving.get();
            if stays + n <= shared.most {
                return true;
            }
            let mut queue = shared.queue.borrow_mut();
            let Some(oldest) = queue.oldest().filter(|at| Some(*at) != own) else {
                return false;
            };
            let (bytes, waker) = queue.send_away(oldest);
            drop(queue);
            shared.leaving.set(shared.leaving.get() + bytes);
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

/// What one stream or connection holds, until it is dropped.
#[derive(Debug)]
pub(crate) struct Hold {
    behind: Behind,
    bytes: Cell<usize>,
    /// Its place in the queue.
    place: Cell<Option<usize>>,
}

impl Hold {
    /// Of nothing so far.
    pub(crate) fn new(behind: &Behind) -> Self {
        Self {
            behind: behind.clone(),
            bytes: Cell::new(0),
            place: Cell::new(None),
        }
    }

    /// Takes more. `false`, and as before, where it may not.
    #[must_use]
    pub(crate) fn add(&self, n: usize) -> bool {
        let place = self.place.get();
        if self.is_sent_away() || !self.behind.make_room(n, place) {
            return false;
        }
        self.change(self.bytes.get() + n);
        true
    }

    /// Gives some back.
    pub(crate) fn sub(&self, n: usize) {
        let n = n.min(self.bytes.get());
        if self.is_sent_away() {
            let leaving = &self.behind.0.leaving;
            leaving.set(leaving.get() - n);
        }
        self.change(self.bytes.get() - n);
    }

    /// Holds as much as this from now on. `false`, and as before, where it may not.
    #[must_use]
    pub(crate) fn set(&self, bytes: usize) -> bool {
        let before = self.bytes.get();
        if bytes > before {
            return self.add(bytes - before);
        }
        self.sub(before - bytes);
        true
    }

    fn change(&self, bytes: usize) {
        let shared = &*self.behind.0;
        let used = shared.used.get() - self.bytes.get() + bytes;
        shared.used.set(used);
        shared.peak.set(shared.peak.get().max(used));
        self.bytes.set(bytes);
        if let Some(at) = self.place.get() {
            self.behind.0.queue.borrow_mut().place(at).bytes = bytes;
        }
    }

    /// The receiver takes nothing now. Who waits already keeps its place. `false`: it was sent
    /// away and has to go.
    #[must_use]
    pub(crate) fn wait(&self, waker: &Waker) -> bool {
        let mut queue = self.behind.0.queue.borrow_mut();
        let at = self.place.get().unwrap_or_else(|| queue.join());
        self.place.set(Some(at));
        let place = queue.place(at);
        place.bytes = self.bytes.get();
        match &mut place.waker {
            Some(known) => known.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
        !place.sent_away
    }

    /// The receiver has caught up.
    pub(crate) fn go_on(&self) {
        if let Some(at) = self.place.get()
            && self.behind.0.queue.borrow_mut().leave(at)
        {
            self.place.set(None);
        }
    }

    /// Whether it has to go.
    pub(crate) fn is_sent_away(&self) -> bool {
        self.place
            .get()
            .is_some_and(|at| self.behind.0.queue.borrow_mut().place(at).sent_away)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.sub(self.bytes.get());
        if let Some(at) = self.place.get() {
            self.behind.0.queue.borrow_mut().forget(at);
        }
    }
}

/// Those who wait, in the order in which they began: a list through an array, which is used again.
#[derive(Debug)]
struct Queue {
    /// The first is nobody's: before it is the last of the queue, after it the first.
    places: Vec<Place>,
    free: Vec<usize>,
    /// For what cannot be, so that nothing here panics.
    nowhere: Place,
}

#[derive(Clone, Debug, Default)]
struct Place {
    before: usize,
    after: usize,
    bytes: usize,
    waker: Option<Waker>,
    sent_away: bool,
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            places: vec![Place::default()],
            free: Vec::new(),
            nowhere: Place::default(),
        }
    }
}

impl Queue {
    fn place(&mut self, at: usize) -> &mut Place {
        self.places.get_mut(at).unwrap_or(&mut self.nowhere)
    }

    fn join(&mut self) -> usize {
        let at = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place::default());
            self.places.len() - 1
        });
        let last = self.place(0).before;
        *self.place(at) = Place {
            before: last,
            ..Place::default()
        };
        self.place(last).after = at;
        self.place(0).before = at;
        at
    }

    fn oldest(&mut self) -> Option<usize> {
        let at = self.place(0).after;
        (at != 0).then_some(at)
    }

    fn unlink(&mut self, at: usize) {
        let Place { before, after, .. } = *self.place(at);
        self.place(before).after = after;
        self.place(after).before = before;
    }

    /// Takes it out of the line. Its place stays until its holder has gone.
    fn send_away(&mut self, at: usize) -> (usize, Option<Waker>) {
        self.unlink(at);
        let place = self.place(at);
        place.sent_away = true;
        (place.bytes, place.waker.take())
    }

    /// `false` for one who was sent away: that is not undone.
    fn leave(&mut self, at: usize) -> bool {
        if self.place(at).sent_away {
            return false;
        }
        self.forget(at);
        true
    }

    fn forget(&mut self, at: usize) {
        if !self.place(at).sent_away {
            self.unlink(at);
        }
        self.place(at).waker = None;
        self.free.push(at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(hold: &Hold) -> bool {
        hold.wait(Waker::noop())
    }

    #[test]
    fn who_has_waited_longest_goes_first() {
        let behind = Behind::new(100);
        let [a, b, c] = [(); 3].map(|()| Hold::new(&behind));
        assert!(a.add(40) && b.add(40));
        assert!(waits(&a) && waits(&b));
        assert!(c.add(40), "one of the others gives way");
        assert!(!waits(&a), "the first");
        assert!(waits(&b));
        assert!(!a.add(1), "it gets no more");
        a.go_on();
        assert!(!waits(&a), "nor does it come back");
        // What it holds is not counted twice.
        drop(a);
        assert_eq!((behind.0.used.get(), behind.0.leaving.get()), (80, 0));
        assert!(c.add(20));
        assert!(!c.add(101), "no room for that at all");
        assert!(!waits(&b), "though it was made as far as it could be");
    }

    #[test]
    fn who_asks_is_not_spared_for_being_late() {
        let behind = Behind::new(100);
        let [a, b] = [(); 2].map(|()| Hold::new(&behind));
        assert!(a.add(60) && waits(&a));
        assert!(b.add(30) && waits(&b));
        assert!(!a.add(20), "it is the one that waited longest");
        assert!(waits(&a) && waits(&b));
        // Progress puts it behind the other.
        a.go_on();
        assert!(waits(&a));
        assert!(a.add(20));
        assert!(!waits(&b));
    }

    #[test]
    fn what_is_given_back_can_be_had_again() {
        let behind = Behind::new(100);
        for round in 0..3 {
            let holds: Vec<_> = (0..10).map(|_| Hold::new(&behind)).collect();
            assert!(holds.iter().all(|h| h.set(10) && waits(h)), "{round}");
            assert!(behind.is_tight());
            assert!(holds.iter().all(|h| h.set(2)));
            assert!(!behind.is_tight());
            for hold in holds.iter().step_by(2) {
                hold.go_on();
                hold.go_on();
            }
            assert!(holds.iter().all(waits));
            drop(holds);
            assert_eq!((behind.0.used.get(), behind.0.leaving.get()), (0, 0));
            assert_eq!(behind.0.queue.borrow_mut().oldest(), None);
            assert_eq!(behind.0.queue.borrow().places.len(), 11, "used again");
        }
    }

    #[test]
    fn one_that_was_sent_away_gives_back_in_parts() {
        let behind = Behind::new(100);
        let [a, b] = [(); 2].map(|()| Hold::new(&behind));
        assert!(a.add(100) && waits(&a));
        assert!(b.add(50));
        a.sub(30);
        assert_eq!((behind.0.used.get(), behind.0.leaving.get()), (120, 70));
        assert!(b.add(50));
        drop(a);
        assert_eq!((behind.0.used.get(), behind.0.leaving.get()), (100, 0));
    }
}
