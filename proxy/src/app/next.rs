//! The next table, from its file until it serves. It is built at once, and then held until each of
//! its names was asked for the first time, so that a new cluster has its endpoints when traffic
//! comes.
//!
//! Nothing waits for that but the table itself: signals are acted on, questions are answered, and a
//! newer file takes its place. What puts it to work is in `apply`.

use std::{collections::HashMap, io, path::Path, sync::Arc};

use outrigger_config::{Loaded, model};
use tokio::{
    sync::oneshot,
    time::{Instant, timeout_at},
};

use super::{App, read};
use crate::{
    cluster::Cluster,
    control::dns::{self, DnsTask},
    snapshot::{self, Snapshot},
    timer::now,
    tls,
};

/// Where to say that a configuration serves, or what is wrong with it.
pub(super) type Asked = oneshot::Sender<Result<(), String>>;

/// A table that waits for its names.
pub(super) struct Next {
    pub(super) snapshot: Snapshot,
    pub(super) names: HashMap<Arc<str>, Arc<Resolving>>,
    /// When it serves, whether its names are resolved or not.
    due: Instant,
    /// The latest time at which one that takes its place is due: else a file that changes all the
    /// time would never serve.
    latest: Instant,
    asked: Vec<Asked>,
    /// A newer file was refused meanwhile.
    pub(super) outdated: bool,
}

/// A name being resolved for a cluster.
pub(super) struct Resolving {
    cluster: Arc<Cluster>,
    settings: model::Dns,
    pub(super) task: DnsTask,
}

impl Next {
    /// Takes the place of one that still waits. Who asked for that one hears of this one.
    fn supersede(&mut self, earlier: Self) {
        self.latest = earlier.latest;
        self.due = self.due.min(self.latest);
        self.asked.extend(earlier.asked);
    }
}

/// Resolves when the table that waits may serve; without one, never.
pub(super) async fn due(next: Option<&Next>) {
    let Some(next) = next else {
        return std::future::pending().await;
    };
    let first_answers = async {
        for resolving in next.names.values() {
            resolving.task.tried_once().await;
        }
    };
    if timeout_at(next.due, first_answers).await.is_err() {
        tracing::warn!(
            "some names are not resolved yet; their clusters have no endpoints until they are"
        );
    }
}

impl App {
    /// Takes a text of the configuration: it is the next, or refused.
    pub(super) fn take(&mut self, path: &Path, text: io::Result<String>, asked: Option<Asked>) {
        let planned = text
            .map_err(|error| format!("{}: {error}", path.display()))
            .and_then(|text| read(&text, path))
            .and_then(|loaded| self.plan(Arc::new(loaded)));
        match planned {
            Ok(mut next) => {
                self.text_refused = false;
                next.asked.extend(asked);
                if let Some(earlier) = self.next.take() {
                    next.supersede(earlier);
                }
                self.next = Some(next);
            }
            Err(problems) => {
                self.text_refused = true;
                self.refuse(&problems);
                if let Some(next) = &mut self.next {
                    next.outdated = true;
                }
                if let Some(asked) = asked {
                    let _ = asked.send(Err(problems));
                }
            }
        }
    }

    /// Builds the table after the one that serves, and asks for its names.
    pub(super) fn plan(&self, loaded: Arc<Loaded>) -> Result<Next, String> {
        let previous = self.process.table.load_full();
        let tls = tls::Table::read(&loaded.config, &previous.tls)?;
        let snapshot = snapshot::build(loaded, tls, &previous, &self.metrics, now())?;
        let settings = &snapshot.source.config.mesh.dns;
        let now = Instant::now();
        Ok(Next {
            names: self.resolve(&snapshot, settings),
            due: now + settings.timeout,
            latest: now + 2 * settings.timeout,
            asked: Vec::new(),
            outdated: false,
            snapshot,
        })
    }

    /// Starts to resolve names that are not being resolved yet.
    fn resolve(
        &self,
        snapshot: &Snapshot,
        settings: &model::Dns,
    ) -> HashMap<Arc<str>, Arc<Resolving>> {
        let mut names = HashMap::new();
        let running = self.shown.resolving();
        for (name, cluster) in snapshot
            .clusters
            .iter()
            .filter(|(_, c)| c.config.dns.is_some())
        {
            let kept = running
                .get(name)
                .filter(|r| Arc::ptr_eq(&r.cluster, cluster) && r.settings == *settings);
            let resolving = kept.cloned().unwrap_or_else(|| {
                let task = dns::spawn(Arc::clone(cluster), settings, now);
                Arc::new(Resolving {
                    cluster: Arc::clone(cluster),
                    settings: settings.clone(),
                    task,
                })
            });
            names.insert(Arc::clone(name), resolving);
        }
        names
    }

    /// Puts the table that waits to work.
    ///
    /// # Errors
    /// Everything that stands against it, a line each; nothing has changed then.
    pub(super) async fn finish(&mut self) -> Result<(), String> {
        let Some(Next {
            snapshot,
            names,
            asked,
            outdated,
            ..
        }) = self.next.take()
        else {
            return Ok(());
        };
        let result = self.apply(snapshot, names, outdated).await;
        // Of a start that fails it is the end of the process that tells.
        if let Err(problems) = &result
            && self.process.table.load().version > 0
        {
            self.refuse(problems);
        }
        for asked in asked {
            let _ = asked.send(result.clone());
        }
        result
    }

    pub(super) fn refuse(&self, problems: &str) {
        self.metrics.config_rejected();
        self.shown.rejected(problems);
        tracing::error!("the new configuration is refused, the last good one stays");
        for problem in problems.lines() {
            tracing::error!("{problem}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn files_that_follow_one_another_serve_in_the_end() {
        let began = Instant::now();
        let at = |seconds| {
            let now = began + Duration::from_secs(seconds);
            Next {
                snapshot: Snapshot::empty(),
                names: HashMap::new(),
                due: now + Duration::from_secs(5),
                latest: now + Duration::from_secs(10),
                asked: Vec::new(),
                outdated: false,
            }
        };
        let mut next = at(0);
        for (seconds, due) in [(4, 9), (8, 10), (9, 10)] {
            let mut newer = at(seconds);
            newer.supersede(next);
            assert_eq!(newer.due, began + Duration::from_secs(due), "{seconds}");
            next = newer;
        }
    }
}
