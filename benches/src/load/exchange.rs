//! One thread of load where each connection carries one exchange at a time: bytes out, an answer
//! in. HTTP/1.1 and short TCP connections differ only in the bytes and in how the answer ends.
//! One epoll, requests made once, answers read where they arrive; bodies are not even copied.

use std::{
    collections::VecDeque,
    io::{self, ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    os::fd::AsFd,
    time::{Duration, Instant},
};

use rustix::net::{
    AddressFamily, RecvFlags, SocketFlags, SocketType, connect, recv, socket_with, sockopt,
};

use super::{
    Plan, Share,
    live::Live,
    pace::Pace,
    response::{Answer, Kind, Reader},
    tally::{Fault, Tally},
    window::{Phase, Window},
};
use crate::poll::{Interest, Poller};

/// Bytes read at once; and from so many on a body is discarded in the kernel.
const READ: usize = 64 << 10;
/// Most that is discarded at once.
const DISCARD: usize = 1 << 20;
/// How long a connection rests after an error, so that a dead target is not hammered.
const REST: Duration = Duration::from_millis(5);
/// How often timeouts are looked for.
const SWEEP: Duration = Duration::from_millis(50);

/// What every exchange is.
pub(super) struct Script {
    pub(super) bytes: Vec<u8>,
    pub(super) kind: Kind,
    /// Whether a connection carries more than one.
    pub(super) reuse: bool,
    /// Bytes of the answer's body, if another number is wrong.
    pub(super) expect: Option<u64>,
}

struct Conn {
    socket: Option<TcpStream>,
    interest: Interest,
    busy: bool,
    sent: usize,
    /// When it should have begun, and when it did.
    intended: Instant,
    began: Instant,
    reader: Reader,
}

struct Machine<'a> {
    script: &'a Script,
    target: SocketAddr,
    poller: Poller,
    conns: Vec<Conn>,
    free: VecDeque<usize>,
    resting: VecDeque<(Instant, usize)>,
    buffer: Vec<u8>,
    window: Window,
    tally: Tally,
    pace: Option<Pace>,
    busy: usize,
}

pub(super) fn run(
    plan: &Plan,
    share: &Share,
    script: &Script,
    ready: impl FnOnce() -> Window,
    live: &Live,
) -> io::Result<Tally> {
    let poller = Poller::new()?;
    let now = Instant::now();
    let mut conns = Vec::with_capacity(share.connections);
    for key in 0..share.connections {
        let mut socket = None;
        if script.reuse {
            let stream =
                TcpStream::connect_timeout(&plan.target, plan.timeout).map_err(|error| {
                    io::Error::new(error.kind(), format!("{}: {error}", plan.target))
                })?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            poller.add(&stream, key, Interest::Read)?;
            socket = Some(stream);
        }
        conns.push(Conn {
            socket,
            interest: Interest::Read,
            busy: false,
            sent: 0,
            intended: now,
            began: now,
            reader: Reader::new(script.kind),
        });
    }
    let window = ready();
    let pace = share
        .pace
        .map(|(between, offset)| Pace::new(window.begun(), between, offset));
    let mut machine = Machine {
        script,
        target: plan.target,
        poller,
        free: (0..conns.len()).collect(),
        conns,
        resting: VecDeque::new(),
        buffer: vec![0; DISCARD],
        tally: Tally::new(pace.is_some(), live),
        window,
        pace,
        busy: 0,
    };
    machine.drive(plan.timeout, live)?;
    Ok(machine.tally.close(&machine.window))
}

impl Machine<'_> {
    fn drive(&mut self, timeout: Duration, live: &Live) -> io::Result<()> {
        let mut ready = Vec::with_capacity(256);
        let mut sweep = Instant::now() + SWEEP;
        loop {
            let now = Instant::now();
            let phase = self.window.at(now);
            self.tally.pulse(now, live);
            if phase == Phase::Over && self.is_finished(now, timeout) {
                self.give_up(now);
                return Ok(());
            }
            if now >= sweep {
                self.sweep(now, timeout);
                sweep = now + SWEEP;
            }
            while self.resting.front().is_some_and(|(until, _)| *until <= now) {
                self.free
                    .extend(self.resting.pop_front().map(|(_, key)| key));
            }
            self.begin_due(now, phase);
            let mut until = sweep;
            if phase != Phase::Over {
                until = until.min(self.window.edge());
            }
            if let Some((rested, _)) = self.resting.front() {
                until = until.min(*rested);
            }
            if let Some(pace) = self.pace.as_ref().filter(|_| !self.free.is_empty()) {
                until = until.min(pace.next());
            }
            let limit = until.saturating_duration_since(Instant::now());
            self.poller.wait(Some(limit), &mut ready)?;
            for key in &ready {
                self.event(*key);
            }
        }
    }

    /// A closed loop is over with its window; an open one owes answers to what it began.
    fn is_finished(&self, now: Instant, timeout: Duration) -> bool {
        let Some(pace) = &self.pace else { return true };
        let nothing_left = self.busy == 0 && !self.window.holds(pace.next());
        nothing_left || now > self.window.edge() + timeout
    }

    fn give_up(&mut self, now: Instant) {
        let Some(mut pace) = self.pace.take() else {
            return;
        };
        for conn in self.conns.iter().filter(|conn| conn.busy) {
            self.tally.unfinished(&self.window, conn.intended, now);
        }
        pace.overdue(self.window.edge(), |intended| {
            self.tally.unfinished(&self.window, intended, now);
        });
    }

    fn begin_due(&mut self, now: Instant, phase: Phase) {
        while !self.free.is_empty() {
            let intended = match &mut self.pace {
                None if phase == Phase::Over => return,
                None => now,
                Some(pace) if phase == Phase::Over && !self.window.holds(pace.next()) => return,
                Some(pace) => match pace.take(now) {
                    Some(intended) => intended,
                    None => return,
                },
            };
            if let Some(key) = self.free.pop_front() {
                self.begin(key, intended);
            }
        }
    }

    fn begin(&mut self, key: usize, intended: Instant) {
        let conn = &mut self.conns[key];
        conn.busy = true;
        conn.sent = 0;
        conn.intended = intended;
        conn.began = Instant::now();
        // What nobody is waiting for cannot be late: a closed loop counts from the act.
        if self.pace.is_none() {
            conn.intended = conn.began;
        }
        conn.reader.reset();
        self.busy += 1;
        if conn.socket.is_none() {
            match open(self.target) {
                Ok(socket) if self.poller.add(&socket, key, Interest::Read).is_ok() => {
                    conn.interest = Interest::Read;
                    conn.socket = Some(socket);
                }
                _ => return self.fail(key, Fault::Connect),
            }
        }
        self.send(key);
    }

    fn send(&mut self, key: usize) {
        let conn = &mut self.conns[key];
        let Some(socket) = &mut conn.socket else {
            return;
        };
        while let Some(rest) = self.script.bytes.get(conn.sent..).filter(|r| !r.is_empty()) {
            match socket.write(rest) {
                Ok(count) => conn.sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => {
                    // Before anything was sent it is the connection that failed, not the answer.
                    let fault = if conn.sent == 0 && !self.script.reuse {
                        Fault::Connect
                    } else {
                        Fault::Broken
                    };
                    return self.fail(key, fault);
                }
            }
        }
        let interest = if conn.sent < self.script.bytes.len() {
            Interest::Both
        } else {
            Interest::Read
        };
        if interest != conn.interest {
            conn.interest = interest;
            if self.poller.change(&*socket, key, interest).is_err() {
                self.fail(key, Fault::Broken);
            }
        }
    }

    fn event(&mut self, key: usize) {
        if self.conns[key].busy && self.conns[key].sent < self.script.bytes.len() {
            self.send(key);
        }
        if !self.conns[key].busy {
            return self.idle_event(key);
        }
        loop {
            let conn = &mut self.conns[key];
            let Some(socket) = &mut conn.socket else {
                return;
            };
            let skippable = conn.reader.skippable();
            let (read, asked) = if skippable >= READ as u64 {
                let most = skippable.min(DISCARD as u64) as usize;
                let buffer = &mut self.buffer[..most];
                // TRUNC: the kernel drops the bytes instead of copying them.
                let read = recv(&*socket, buffer, RecvFlags::TRUNC).map(|(_, count)| count);
                (read.map_err(io::Error::from), most)
            } else {
                (socket.read(&mut self.buffer[..READ]), READ)
            };
            let answer = match read {
                Ok(0) => match conn.reader.end() {
                    Some(answer) => Ok(Some(answer)),
                    None => return self.fail(key, Fault::Broken),
                },
                Ok(count) if skippable >= READ as u64 => Ok(conn.reader.skip(count as u64)),
                Ok(count) => conn.reader.feed(&self.buffer[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => return self.fail(key, Fault::Broken),
            };
            match (answer, read) {
                (Ok(Some(answer)), _) => return self.answered(key, answer),
                // What is left in the socket is told again.
                (Ok(None), Ok(count)) if count < asked => return,
                (Ok(None), _) => {}
                (Err(_), _) => return self.fail(key, Fault::Malformed),
            }
        }
    }

    /// Nothing was asked: it can only be the end of the connection.
    fn idle_event(&mut self, key: usize) {
        let conn = &mut self.conns[key];
        let Some(socket) = &mut conn.socket else {
            return;
        };
        match socket.read(&mut self.buffer[..READ]) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Ok(count) if count > 0 => {
                conn.socket = None;
                self.tally.fault(Fault::Malformed);
            }
            _ => {
                conn.socket = None;
                self.tally.outcome.reconnects += 1;
            }
        }
    }

    fn answered(&mut self, key: usize, answer: Answer) {
        let now = Instant::now();
        if !(200..300).contains(&answer.status) {
            return self.fail(key, Fault::Status);
        }
        if self
            .script
            .expect
            .is_some_and(|length| length != answer.length)
        {
            return self.fail(key, Fault::Malformed);
        }
        let conn = &mut self.conns[key];
        conn.busy = false;
        if !answer.keep_alive || !self.script.reuse || conn.sent < self.script.bytes.len() {
            conn.socket = None;
        }
        self.busy -= 1;
        self.tally
            .done(&mut self.window, conn.intended, now, answer.length);
        match &self.pace {
            None if self.window.at(now) != Phase::Over => self.begin(key, now),
            _ => self.free.push_back(key),
        }
    }

    fn fail(&mut self, key: usize, fault: Fault) {
        let now = Instant::now();
        let conn = &mut self.conns[key];
        conn.socket = None;
        conn.busy = false;
        self.busy -= 1;
        self.tally.fault(fault);
        self.resting.push_back((now + REST, key));
    }

    fn sweep(&mut self, now: Instant, timeout: Duration) {
        for key in 0..self.conns.len() {
            let conn = &self.conns[key];
            if conn.busy && now.saturating_duration_since(conn.began) > timeout {
                self.fail(key, Fault::Timeout);
            }
        }
    }
}

/// Begins to connect, without waiting.
pub(super) fn open(target: SocketAddr) -> io::Result<TcpStream> {
    let family = match target {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(family, SocketType::STREAM, flags, None)?;
    sockopt::set_tcp_nodelay(socket.as_fd(), true)?;
    match connect(&socket, &target) {
        Ok(()) | Err(rustix::io::Errno::INPROGRESS) => Ok(TcpStream::from(socket)),
        Err(error) => Err(error.into()),
    }
}
