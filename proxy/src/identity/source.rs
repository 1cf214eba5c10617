//! Where identity and trust come from, and what is held of them.
//!
//! A source is asked for what comes next, again and again. What it hands out is whole and valid;
//! when it fails, what was held stays. [`Held`] is what the data path reads: a pointer each, so
//! that a handshake sees a key with its chain, and never half of a change.

use std::{
    collections::HashMap,
    fmt,
    pin::Pin,
    sync::Arc,
    time::{Duration, SystemTime},
};

use arc_swap::{ArcSwap, ArcSwapOption};
use rustls::{
    SignatureScheme,
    client::ResolvesClientCert,
    pki_types::UnixTime,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};

use super::{
    bundle::Trust,
    life::{Life, Passed},
    own::Own,
    svid::Fingerprint,
};

/// Longest pause between two looks at the clock: it may have been set.
const LOOK: Duration = Duration::from_mins(10);

/// Something that knows who we are, whom we trust, or both.
///
/// An implementation hands out what changed since it was made or last asked. It MUST go on after an
/// error, and wait by itself before it tries again; it tells an error once, until that changes.
pub(crate) trait Source: Send {
    /// For logs and admin.
    fn name(&self) -> String;

    /// What comes next.
    fn next(&mut self) -> Pin<Box<dyn Future<Output = Result<Update, String>> + Send + '_>>;
}

/// What a source has to say. Absent: it says nothing of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Update {
    pub(crate) own: Option<Arc<Own>>,
    pub(crate) trust: Option<Arc<Trust>>,
}

/// Who we are and whom we trust, now.
pub(crate) struct Held {
    own: ArcSwapOption<Own>,
    trust: ArcSwap<Trust>,
    sources: ArcSwap<Vec<SourceState>>,
    changes: watch::Sender<Version>,
}

/// How often something changed. Sessions that were made under another trust are not to be resumed:
/// whoever sees `trust` differ makes new configurations, with tickets of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Version {
    pub(crate) own: u64,
    pub(crate) trust: u64,
}

/// What became of a source.
#[derive(Clone, Debug)]
pub(crate) struct SourceState {
    pub(crate) name: Arc<str>,
    /// When it last handed something out.
    pub(crate) updated: Option<SystemTime>,
    pub(crate) updates: u64,
    pub(crate) failures: u64,
    /// Its last failure, while nothing good followed.
    pub(crate) error: Option<Arc<str>>,
}

impl SourceState {
    fn new(name: String) -> Self {
        Self {
            name: name.into(),
            updated: None,
            updates: 0,
            failures: 0,
            error: None,
        }
    }
}

impl Held {
    /// Nobody, who trusts nobody.
    pub(crate) fn new() -> Self {
        Self {
            own: ArcSwapOption::empty(),
            trust: ArcSwap::default(),
            sources: ArcSwap::default(),
            changes: watch::Sender::default(),
        }
    }

    /// Who we are, if it is known and has not ended.
    pub(crate) fn own(&self, now: UnixTime) -> Option<Arc<Own>> {
        let own = self.own.load_full()?;
        (now <= own.facts.life.not_after).then_some(own)
    }

    /// The last we were, over or not: for what shows it.
    pub(crate) fn last_own(&self) -> Option<Arc<Own>> {
        self.own.load_full()
    }

    pub(crate) fn trust(&self) -> Arc<Trust> {
        self.trust.load_full()
    }

    pub(crate) fn sources(&self) -> Arc<Vec<SourceState>> {
        self.sources.load_full()
    }

    /// Tells of changes that come.
    pub(crate) fn changes(&self) -> watch::Receiver<Version> {
        self.changes.subscribe()
    }

    fn set_own(&self, own: Option<Arc<Own>>) {
        let is_same = match (&*self.own.load(), &own) {
            (Some(before), Some(own)) => before.is_same(own),
            (None, None) => true,
            _ => false,
        };
        if !is_same {
            self.own.store(own);
            self.changes.send_modify(|version| version.own += 1);
        }
    }

    fn set_trust(&self, trust: Arc<Trust>) {
        if !self.trust.load().is_same(&trust) {
            self.trust.store(trust);
            self.changes.send_modify(|version| version.trust += 1);
        }
    }

    fn certified(&self) -> Option<Arc<CertifiedKey>> {
        self.own(UnixTime::now())
            .map(|own| Arc::clone(&own.certified))
    }
}

/// New handshakes show the certificate that is held then.
impl ResolvesServerCert for Held {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.certified()
    }
}

impl ResolvesClientCert for Held {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.certified()
    }

    fn has_certs(&self) -> bool {
        self.certified().is_some()
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held")
            .field("own", &self.own.load())
            .field("trust", &self.trust.load())
            .finish_non_exhaustive()
    }
}

/// Asks sources, and puts what they say into what is held, for as long as it lives.
pub(crate) struct Keeper {
    _tasks: JoinSet<()>,
}

impl Keeper {
    /// What was loaded already, by the place of its source in the list, is held at once. What
    /// earlier sources had said is forgotten. Needs a tokio runtime.
    pub(crate) fn start(
        held: &Arc<Held>,
        sources: Vec<Box<dyn Source>>,
        loaded: Vec<(usize, Update)>,
    ) -> Self {
        let mut keeping = Keeping {
            held: Arc::clone(held),
            said: vec![Update::default(); sources.len()],
            told: HashMap::new(),
        };
        let states = sources.iter().map(|source| SourceState::new(source.name()));
        held.sources.store(Arc::new(states.collect()));
        for (at, update) in loaded {
            keeping.take(at, Ok(update));
        }
        keeping.hold();
        let mut tasks = JoinSet::new();
        let (sender, said) = mpsc::channel(1);
        for (at, source) in sources.into_iter().enumerate() {
            tasks.spawn(ask(source, at, sender.clone()));
        }
        tasks.spawn(keeping.run(said));
        Self { _tasks: tasks }
    }
}

type Said = (usize, Result<Update, String>);

async fn ask(mut source: Box<dyn Source>, at: usize, sender: mpsc::Sender<Said>) {
    loop {
        let said = source.next().await;
        if sender.send((at, said)).await.is_err() {
            return;
        }
    }
}

/// The work of a [`Keeper`].
struct Keeping {
    held: Arc<Held>,
    /// The last that each source said.
    said: Vec<Update>,
    /// Of which certificates how much was told.
    told: HashMap<Fingerprint, Passed>,
}

impl Keeping {
    async fn run(mut self, mut said: mpsc::Receiver<Said>) {
        loop {
            let next = self.tell_lives(UnixTime::now());
            tokio::select! {
                said = said.recv() => match said {
                    Some((at, said)) => {
                        self.take(at, said);
                        self.hold();
                    }
                    // No source is left; lives go on.
                    None => tokio::time::sleep(next).await,
                },
                () = tokio::time::sleep(next) => {}
            }
        }
    }

    /// Notes what a source said.
    fn take(&mut self, at: usize, said: Result<Update, String>) {
        let mut states = Vec::clone(&self.held.sources.load());
        let (Some(state), Some(place)) = (states.get_mut(at), self.said.get_mut(at)) else {
            return;
        };
        match said {
            Ok(update) => {
                state.updated = Some(SystemTime::now());
                state.updates += 1;
                state.error = None;
                place.own = update.own.or(place.own.take());
                place.trust = update.trust.or(place.trust.take());
            }
            Err(error) => {
                tracing::error!(source = %state.name, %error, "no new certificates; the last ones stay in use");
                state.failures += 1;
                state.error = Some(error.into());
            }
        }
        self.held.sources.store(Arc::new(states));
    }

    /// Holds what all sources said: the first identity, and all that is trusted.
    fn hold(&mut self) {
        let own = self.said.iter().find_map(|said| said.own.clone());
        let before = self.held.last_own();
        if let Some(own) = &own
            && before.is_none_or(|before| !before.is_same(own))
        {
            let facts = &own.facts;
            tracing::info!(id = %facts.id, serial = %facts.serial, until = facts.life.not_after.as_secs(), "a certificate is in use");
        }
        self.held.set_own(own);
        let trusts: Vec<_> = self
            .said
            .iter()
            .filter_map(|s| s.trust.as_deref())
            .collect();
        match Trust::of_all(trusts) {
            Ok(trust) => self.held.set_trust(Arc::new(trust)),
            // Each was valid alone, so that they are too many.
            Err(error) => {
                tracing::error!(%error, "the roots of all sources together are not taken");
            }
        }
    }

    /// Tells of lives that near their end; returns when to look again.
    fn tell_lives(&mut self, now: UnixTime) -> Duration {
        let lives = lives(&self.held);
        self.told
            .retain(|known, _| lives.iter().any(|(_, print, _)| print == known));
        let mut next = LOOK;
        for (name, fingerprint, life) in lives {
            let passed = life.passed(now);
            let told = self.told.insert(fingerprint, passed);
            if told.is_none_or(|told| told < passed) {
                tell(&name, passed, life, now);
            }
            next = next.min(life.next_step(now).unwrap_or(LOOK));
        }
        next
    }
}

/// Everything with a life: our certificate and the roots.
fn lives(held: &Held) -> Vec<(String, Fingerprint, Life)> {
    let own = held.last_own();
    let own = own.iter().map(|own| {
        let facts = &own.facts;
        (facts.id.to_string(), facts.fingerprint, facts.life)
    });
    let trust = held.trust();
    let roots = trust.domains().flat_map(|(domain, bundle)| {
        let root = move |root: &super::bundle::Root| {
            (format!("root of {domain}"), root.fingerprint, root.life)
        };
        bundle.roots.iter().map(root)
    });
    own.chain(roots).collect()
}

fn tell(name: &str, passed: Passed, life: Life, now: UnixTime) {
    let left = life.left(now);
    match passed {
        Passed::Nothing | Passed::Young => {}
        Passed::Half => {
            tracing::info!(name, left, "half of a certificate's life has passed");
        }
        Passed::ThreeQuarters => {
            tracing::warn!(
                name,
                left,
                "three quarters of a certificate's life have passed"
            );
        }
        Passed::NineTenths => {
            tracing::error!(
                name,
                left,
                "nine tenths of a certificate's life have passed"
            );
        }
        Passed::All => tracing::error!(name, left, "a certificate has expired"),
    }
}

#[cfg(test)]
mod tests;
