//! Ctrl-C: noted, and met by whoever waits next, so that the way out is the ordinary one and ends
//! every child. A second one ends this process at once; children then end by their death signal.

use std::{
    io,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use tokio::{
    runtime::Builder,
    select,
    signal::unix::{SignalKind, signal},
};

static ASKED: AtomicBool = AtomicBool::new(false);

/// Exit code of a process that was interrupted.
pub(crate) const CODE: u8 = 130;

/// Begins to listen for signals, from a thread of its own.
pub(crate) fn listen() -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let (mut interrupt, mut terminate) = runtime.block_on(async {
        io::Result::Ok((
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
        ))
    })?;
    thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            runtime.block_on(async {
                loop {
                    select! {
                        _ = interrupt.recv() => {}
                        _ = terminate.recv() => {}
                    }
                    if ASKED.swap(true, Ordering::SeqCst) {
                        std::process::exit(CODE.into());
                    }
                }
            });
        })?;
    Ok(())
}

pub(crate) fn was_asked() -> bool {
    ASKED.load(Ordering::SeqCst)
}

/// An error if we were asked to leave.
pub(crate) fn check() -> io::Result<()> {
    if was_asked() {
        return Err(io::Error::new(io::ErrorKind::Interrupted, "interrupted"));
    }
    Ok(())
}
