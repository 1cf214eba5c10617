//! Opaque TCP: streams that are only long, and connections that are only short.

use std::{
    io::{self, ErrorKind},
    net::TcpStream,
    time::Instant,
};

use rustix::net::{RecvFlags, recv};

use super::{
    Plan, Share, Tally,
    exchange::{self, Script},
    live::Live,
    response::Kind,
    tally::Fault,
    window::{Phase, Window},
};
use crate::{
    load::request::pattern,
    poll::{Interest, Poller},
};

/// Most bytes that one read takes: they are dropped in the kernel, so it costs no memory.
const READ: usize = 4 << 20;

/// Connect, send, take the answer, close.
pub(super) fn short(
    plan: &Plan,
    share: &Share,
    (send, receive): (usize, usize),
    ready: impl FnOnce() -> Window,
    live: &Live,
) -> io::Result<Tally> {
    let script = Script {
        bytes: pattern(send),
        kind: Kind::Raw(receive as u64),
        reuse: false,
        expect: Some(receive as u64),
    };
    exchange::run(plan, share, &script, ready, live)
}

/// Takes what streams of bytes bring. What is counted is bytes; there are no requests.
pub(super) fn bulk(
    plan: &Plan,
    share: &Share,
    ready: impl FnOnce() -> Window,
    live: &Live,
) -> io::Result<Tally> {
    let mut poller = Poller::new()?;
    let mut sockets = Vec::with_capacity(share.connections);
    for key in 0..share.connections {
        let socket = TcpStream::connect_timeout(&plan.target, plan.timeout)?;
        socket.set_nonblocking(true)?;
        poller.add(&socket, key, Interest::Read)?;
        sockets.push(Some(socket));
    }
    let mut window = ready();
    let mut tally = Tally::new(false, live);
    let mut buffer = vec![0; READ];
    let mut events = Vec::new();
    let mut last = Instant::now();
    loop {
        let now = Instant::now();
        let phase = window.at(now);
        tally.pulse(now, live);
        if phase == Phase::Over {
            return Ok(tally.close(&window));
        }
        let limit = window.edge().saturating_duration_since(now);
        poller.wait(Some(limit.min(plan.timeout)), &mut events)?;
        for key in &events {
            let Some(socket) = &sockets[*key] else {
                continue;
            };
            let read = recv(socket, &mut buffer[..], RecvFlags::TRUNC);
            match read.map_err(io::Error::from) {
                Ok((_, count)) if count > 0 => {
                    last = now;
                    if phase == Phase::Counts {
                        tally.outcome.bytes += count as u64;
                    }
                }
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                _ => {
                    sockets[*key] = None;
                    tally.fault(Fault::Broken);
                }
            }
        }
        if last.elapsed() > plan.timeout {
            tally.fault(Fault::Timeout);
            return Ok(tally.close(&window));
        }
    }
}
