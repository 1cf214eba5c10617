//! The way out: readiness first, then new connections, then old ones (decision 22).

use std::{
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant},
};

use outrigger_config::model::Direction;

use super::{App, Exit};
use crate::{drain::Phase, worker::Order};

/// How often is looked whether connections are left.
const LOOK: Duration = Duration::from_millis(10);
/// What cut connections may take to end.
const AFTER_CUT: Duration = Duration::from_secs(1);
/// What the last access log lines may take.
const LAST_LINES: Duration = Duration::from_secs(1);

/// Drains and ends.
pub(super) async fn drain(mut app: App) -> Exit {
    let settings = app.process.table.load().source.config.mesh.drain.clone();
    tracing::info!(grace = ?settings.grace, deadline = ?settings.deadline, "leaving");
    app.shown.leaving();
    app.phases(Phase::Grace, Phase::Running);
    if app.connected() || has_listeners(&app) {
        tokio::time::sleep(settings.grace).await;
    }
    let deadline = Instant::now() + settings.deadline;
    app.stop_accepting(|direction| direction != Direction::Outbound);
    app.phases(Phase::Closing, Phase::Running);
    let inward_done = wait(deadline, || {
        app.open(|direction| direction != Direction::Outbound) == 0
    })
    .await;
    app.stop_accepting(|_| true);
    app.phases(Phase::Closing, Phase::Closing);
    let outward_done = wait(deadline, || !app.connected()).await;
    let exit = if inward_done && outward_done {
        Exit::Clean
    } else {
        tracing::warn!(
            connections = app.process.connections.load(Relaxed),
            "the deadline cuts what is left"
        );
        app.phases(Phase::Cut, Phase::Cut);
        wait(Instant::now() + AFTER_CUT, || !app.connected()).await;
        Exit::Cut
    };
    // Its connections count as ended, since they are gone, but nobody finished them.
    let exit = if app.has_lost_a_worker() {
        Exit::Broken
    } else {
        exit
    };
    for worker in std::mem::take(&mut app.workers) {
        worker.join();
    }
    if let Some((_, log)) = app.access_log.take()
        && !log.close(LAST_LINES)
    {
        tracing::warn!("the last access log lines could not be written in time");
    }
    tracing::info!(?exit, "ended");
    exit
}

async fn wait(deadline: Instant, done: impl Fn() -> bool) -> bool {
    while !done() {
        if Instant::now() >= deadline {
            return false;
        }
        tokio::time::sleep(LOOK).await;
    }
    true
}

fn has_listeners(app: &App) -> bool {
    !app.listening.is_empty()
}

impl App {
    fn phases(&self, inward: Phase, outward: Phase) {
        self.tell(|| Order::Phases(inward, outward));
    }

    fn connected(&self) -> bool {
        self.process.connections.load(Relaxed) > 0
    }

    /// Connections open on listeners of some directions.
    fn open(&self, of: impl Fn(Direction) -> bool) -> u32 {
        let table = self.process.table.load();
        table
            .listeners
            .iter()
            .filter(|l| of(l.config.direction))
            .map(|l| l.open.load(Relaxed))
            .sum()
    }

    fn stop_accepting(&mut self, of: impl Fn(Direction) -> bool) {
        let table = self.process.table.load();
        for listener in table.listeners.iter().filter(|l| of(l.config.direction)) {
            if self.listening.remove(&listener.name).is_some() {
                self.tell(|| Order::Unlisten {
                    name: std::sync::Arc::clone(&listener.name),
                });
            }
        }
    }
}
