//! Connections that did one request each and then say nothing: what they cost in memory.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    thread,
    time::Duration,
};

use super::{Outcome, Plan, Work, http1, response::Reader};
use crate::{load::tally::Errors, usage::memory};

pub(super) fn run(plan: &Plan) -> io::Result<Outcome> {
    let Work::Idle {
        request,
        steps,
        settle,
    } = &plan.work
    else {
        unreachable!("the caller looked");
    };
    let script = http1::script(plan, request);
    let resident = || {
        plan.watch
            .as_ref()
            .map_or(0, |watch| memory(watch.pid).resident)
    };
    let mut outcome = Outcome::default();
    let mut held = Vec::new();
    for step in steps {
        while held.len() < *step {
            let mut socket = TcpStream::connect_timeout(&plan.target, plan.timeout)?;
            socket.set_read_timeout(Some(plan.timeout))?;
            socket.set_nodelay(true)?;
            socket.write_all(&script.bytes)?;
            if answer(&mut socket, Reader::new(script.kind))? {
                outcome.completed += 1;
            } else {
                outcome.errors.status += 1;
            }
            held.push(socket);
        }
        rest(*settle);
        outcome.held.push((*step, resident()));
    }
    outcome.errors.add(&still_open(&held));
    drop(held);
    rest(*settle);
    outcome.let_go = Some(resident());
    outcome.finish(plan);
    Ok(outcome)
}

/// Lets the process give back what it gives back when connections rest.
#[expect(
    clippy::disallowed_methods,
    reason = "how much memory is left after a while is the question; no event tells of it"
)]
fn rest(millis: u64) {
    thread::sleep(Duration::from_millis(millis));
}

/// Reads one answer. Whether it is right.
fn answer(socket: &mut TcpStream, mut reader: Reader) -> io::Result<bool> {
    let mut buffer = [0; 16 << 10];
    loop {
        let count = socket.read(&mut buffer)?;
        let piece = buffer.get(..count).unwrap_or_default();
        match reader.feed(piece) {
            _ if count == 0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(Some(answer)) => return Ok(answer.status == 200 && answer.keep_alive),
            Ok(None) => {}
            Err(_) => return Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

/// A connection that was closed meanwhile costs nothing and must not be counted as cheap.
fn still_open(held: &[TcpStream]) -> Errors {
    let mut errors = Errors::default();
    for socket in held {
        let open = socket.set_nonblocking(true).is_ok()
            && matches!(socket.peek(&mut [0]), Err(e) if e.kind() == io::ErrorKind::WouldBlock);
        errors.broken += u64::from(!open);
    }
    errors
}
