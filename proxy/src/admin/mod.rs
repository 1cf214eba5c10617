//! What operators and orchestrators ask: is it alive, is it ready, what does it know, and a few
//! commands.
//!
//! Two faces. [`Face::Probes`] is read-only and may stand at any address. [`Face::Admin`] shows
//! and changes everything; it stands at loopback or at a Unix socket, because the workload and a
//! browser reach loopback too: see `gate` for who is answered. Both run on the side thread and
//! see the process through [`View`] alone, so that nothing asked here can touch traffic.

mod gate;
mod listen;
mod pages;
mod serve;

use std::{io, path::Path, pin::Pin, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use outrigger_config::model::{self, BindAddress};
use serde_json::Value;
use tokio::sync::watch;

use self::{gate::Gate, listen::Listening};
use crate::net::{address::Address, listen::Sharing};

/// The process as it is shown here. Methods are called on the side thread and may take
/// milliseconds, not more.
pub(crate) trait View: Send + Sync {
    /// Whether the process works at all; `false` asks for a restart.
    fn live(&self) -> bool;
    /// Whether traffic may come, or why not.
    fn ready(&self) -> Result<(), String>;
    /// The table that serves, with its version, hash, age and source; secrets are taken out.
    fn config(&self) -> Value;
    /// Every cluster with its endpoints, health and load.
    fn clusters(&self) -> Value;
    /// Every listener with its address and connections.
    fn listeners(&self) -> Value;
    /// Who we are in the mesh, and whom we believe.
    fn identity(&self) -> Value;
    /// Appends `OpenMetrics` text.
    fn metrics(&self, out: &mut String);
    /// Changes the level of the proxy's own log, or says what is wrong with it.
    fn set_log_level(&self, level: &str) -> Result<(), String>;
    /// Starts to drain; returns at once.
    fn drain(&self);
    /// Reads the configuration anew. Resolves when it serves, or with all that is wrong with it.
    fn reload(&self) -> Reload;
}

/// A reload under way. It goes on when nobody waits for it any more.
pub(crate) type Reload = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// What is served where.
#[derive(Clone, Debug)]
pub(crate) enum Face {
    Admin(model::Admin),
    Probes(model::Probes),
}

/// Bounds on what a caller may take.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// Open connections; a further one ends the oldest, so that nobody can keep a probe out by
    /// holding connections.
    connections: usize,
    /// Requests that are worked on.
    requests: usize,
    /// From the first byte to the end of a request's head, and between requests.
    head: Duration,
    /// From a request's head to its response, and for taking the last response.
    request: Duration,
    /// Age at which a connection is asked to leave.
    age: Duration,
    /// Bytes of a request's body.
    body: usize,
}

impl Limits {
    const DEFAULT: Self = Self {
        connections: 64,
        requests: 32,
        head: Duration::from_secs(10),
        request: Duration::from_secs(10),
        age: Duration::from_mins(5),
        body: 64 * 1024,
    };
}

/// A face that may be served: its token can be read, and it is not open to strangers.
#[derive(Debug)]
pub(crate) struct Checked {
    face: Face,
    exposed: bool,
}

impl Checked {
    /// # Errors
    /// What is wrong with the face.
    pub(crate) fn new(face: Face) -> io::Result<Self> {
        let exposed = face.check()?;
        Ok(Self { face, exposed })
    }

    /// Binds, so that an address in use is an error before anything else changed.
    pub(crate) fn bind(self, sharing: Sharing) -> io::Result<Bound> {
        let listening = Listening::bind(self.face.bind(), sharing)?;
        Ok(Bound {
            checked: self,
            listening,
        })
    }

    fn gate(&self, owner: Option<u32>) -> Gate {
        Gate::new(&self.face, self.exposed, owner)
    }
}

/// A face whose address is had, and on which nobody answers yet.
#[derive(Debug)]
pub(crate) struct Bound {
    checked: Checked,
    listening: Listening,
}

/// A face that is served. When this is dropped it ends, after what it was asked until then.
#[derive(Debug)]
pub(crate) struct Server {
    /// Where it is; a port that the kernel chose is filled in.
    pub(crate) address: BindAddress,
    bind: BindAddress,
    /// The user who may make changes over a Unix socket, beside root.
    owner: Option<u32>,
    gate: Arc<ArcSwap<Gate>>,
    _lives: watch::Sender<()>,
}

impl Server {
    /// Whether it is this face at this place, so that [`Self::update`] is all it takes.
    pub(crate) fn is(&self, face: &Face) -> bool {
        *face.bind() == self.bind && face.is_admin() == self.gate.load().is_admin
    }

    /// Takes over the settings of the face that it is.
    pub(crate) fn update(&self, checked: &Checked) {
        debug_assert!(self.is(&checked.face));
        self.gate.store(Arc::new(checked.gate(self.owner)));
    }
}

impl Bound {
    /// Takes its address, and returns a future that answers there for as long as the server lives.
    /// Both need a tokio runtime with io and time.
    pub(crate) fn serve(
        self,
        view: Arc<dyn View>,
    ) -> io::Result<(Server, impl Future<Output = ()> + Send + use<>)> {
        self.serve_within(view, Limits::DEFAULT)
    }

    fn serve_within(
        self,
        view: Arc<dyn View>,
        limits: Limits,
    ) -> io::Result<(Server, impl Future<Output = ()> + Send + use<>)> {
        let address = self.listening.address().clone();
        let (acceptor, owner) = self.listening.accept()?;
        let gate = Arc::new(ArcSwap::from_pointee(self.checked.gate(owner)));
        let shown = Address::from(&address);
        let (lives, ending) = watch::channel(());
        let serving = serve::run((shown, acceptor), Arc::clone(&gate), view, limits, ending);
        let server = Server {
            address,
            bind: self.checked.face.bind().clone(),
            owner,
            gate,
            _lives: lives,
        };
        Ok((server, serving))
    }
}

impl Face {
    /// What the configuration calls it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Admin(_) => "admin",
            Self::Probes(_) => "probes",
        }
    }

    pub(crate) fn bind(&self) -> &BindAddress {
        match self {
            Self::Admin(admin) => &admin.bind,
            Self::Probes(probes) => &probes.bind,
        }
    }

    fn is_admin(&self) -> bool {
        matches!(self, Self::Admin(_))
    }

    /// Whether it is reachable from outside this host; an error where it must not be, or where
    /// the token cannot be used.
    fn check(&self) -> io::Result<bool> {
        let outside = match self.bind() {
            BindAddress::Tcp(at) if !at.ip().to_canonical().is_loopback() => Some(at),
            _ => None,
        };
        if let Self::Admin(admin) = self {
            match (&admin.token_file, outside) {
                (Some(file), _) => {
                    gate::read_token(Path::new(file.as_str())).map_err(invalid)?;
                }
                (None, Some(at)) => {
                    return Err(invalid(format!(
                        "admin at {at} is reachable from outside and needs token_file"
                    )));
                }
                (None, None) => {}
            }
        }
        Ok(outside.is_some())
    }
}

fn invalid(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

#[cfg(test)]
mod tests;
