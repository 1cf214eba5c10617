//! One proxy in one scenario: configured, started, made ready, reloaded, ended.

use std::{
    fs, io,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use super::check;
use crate::{
    child::{Running, pause},
    interrupt,
    peers::{Found, Instance, Signal as Word},
    scenario::Scenario,
    usage::Watch,
};

/// A table of 10,000 routes may take a moment.
const READY: Duration = Duration::from_mins(1);
const VALIDATION: Duration = Duration::from_mins(1);

/// A running proxy, or none for what goes directly to the back end.
pub(super) struct Entrant {
    pub(super) address: SocketAddr,
    pub(super) watch: Option<Watch>,
    proxy: Option<Proxy>,
}

struct Proxy {
    running: Running,
    found: Found,
    scenario: Scenario,
    workers: usize,
    upstream: u16,
    dir: PathBuf,
    generation: u64,
}

impl Entrant {
    pub(super) const fn direct(address: SocketAddr) -> Self {
        Self {
            address,
            watch: None,
            proxy: None,
        }
    }

    /// Starts a proxy before `upstream`, with its files in `dir`.
    pub(super) fn start(
        found: &Found,
        scenario: &Scenario,
        upstream: SocketAddr,
        (workers, cpus): (usize, &[usize]),
        dir: &Path,
    ) -> io::Result<Self> {
        // Workers drop root and still have to read and write here.
        fs::create_dir_all(dir.join("tmp"))?;
        let dir = dir.canonicalize()?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        let instance = Instance {
            setup: &scenario.proxy,
            port: address.port(),
            upstream: upstream.port(),
            workers,
            reload: scenario.storm.is_some(),
            generation: 0,
            dir: &dir,
        };
        found.peer.write(&instance)?;
        let command = |arguments: Vec<String>| {
            let binary = found.binary.to_string_lossy().into_owned();
            [vec![binary], arguments].concat()
        };
        if let Some(arguments) = found.peer.validation(&instance) {
            let log = dir.join("validation.log");
            let mut check = Running::start(&command(arguments), cpus, &log, Stdio::null())?;
            if !check.wait(VALIDATION)?.success() {
                return Err(io::Error::other(format!(
                    "refuses its configuration: {}",
                    complaint(&log)
                )));
            }
        }
        let log = dir.join("proxy.log");
        let output = fs::File::create(dir.join("proxy.out"))?;
        let arguments = command(found.peer.arguments(&instance));
        let running = Running::start(&arguments, cpus, &log, output.into())?;
        let end = Instant::now() + READY;
        while TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_err() {
            interrupt::check()?;
            if running.has_ended() {
                return Err(io::Error::other(format!(
                    "did not start: {}",
                    complaint(&log)
                )));
            }
            if Instant::now() > end {
                return Err(io::Error::other(format!("not ready within {READY:?}")));
            }
            pause(Duration::from_millis(10));
        }
        let watch = Watch {
            pid: running.id(),
            cpus: cpus.to_vec(),
        };
        Ok(Self {
            address,
            watch: Some(watch),
            proxy: Some(Proxy {
                running,
                found: found.clone(),
                scenario: scenario.clone(),
                workers,
                upstream: upstream.port(),
                dir,
                generation: 0,
            }),
        })
    }

    pub(super) const fn is_direct(&self) -> bool {
        self.proxy.is_none()
    }

    /// Why it ended, if it did.
    pub(super) fn ended(&self) -> Option<String> {
        let proxy = self.proxy.as_ref()?;
        let said = || complaint(&proxy.dir.join("proxy.log"));
        proxy
            .running
            .has_ended()
            .then(|| format!("ended: {}", said()))
    }

    /// Gives it the next table; none for what has no tables.
    pub(super) fn reload(&mut self) -> io::Result<()> {
        let Some(proxy) = &mut self.proxy else {
            return Ok(());
        };
        proxy.generation += 1;
        proxy.found.peer.write(&Instance {
            setup: &proxy.scenario.proxy,
            port: self.address.port(),
            upstream: proxy.upstream,
            workers: proxy.workers,
            reload: true,
            generation: proxy.generation,
            dir: &proxy.dir,
        })?;
        proxy.nudge()
    }

    /// Whether new requests are served by the last table within a while: how many reloads that
    /// makes.
    pub(super) fn took_over(&self) -> io::Result<u64> {
        let Some(proxy) = &self.proxy else {
            return Ok(0);
        };
        let expected = proxy.generation.to_string();
        let host = proxy.scenario.request().host;
        let begin = Instant::now();
        let mut nudges = 0;
        loop {
            interrupt::check()?;
            let got = check::field(self.address, &host, "x-generation").unwrap_or_default();
            if got == expected {
                return Ok(proxy.generation);
            }
            let waited = begin.elapsed().as_secs();
            if waited > nudges {
                // A signal that came while the one before was obeyed may have been lost with it.
                nudges = waited;
                proxy.nudge()?;
            }
            if waited >= 10 {
                let what = format!("the reload had no effect: {got:?} instead of {expected}");
                return Err(io::Error::other(what));
            }
            pause(Duration::from_millis(20));
        }
    }
}

impl Proxy {
    /// Tells it that there are other files, where it does not watch them.
    fn nudge(&self) -> io::Result<()> {
        match self.found.peer.reload.signal {
            Some(Word::Hup) => self.running.signal(Signal::HUP),
            Some(Word::Usr2) => self.running.signal(Signal::USR2),
            None => Ok(()),
        }
    }
}

/// A port that was free a moment ago.
fn free_port() -> io::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?.port())
}

/// What a program said of its end, short enough for a table.
fn complaint(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines = || text.lines().filter(|line| !line.trim().is_empty());
    let is_error = |line: &&str| {
        let line = line.to_ascii_lowercase();
        let words = ["alert", "emerg", "error", "fatal", "critical"];
        words.iter().any(|word| line.contains(word))
    };
    let line = lines().find(is_error).or_else(|| lines().next());
    let line = line.unwrap_or("it says nothing");
    // Paths of the run are of no interest to a reader.
    let dir = log.parent().map(|dir| format!("{}/", dir.display()));
    let line = dir.map_or(line.to_owned(), |dir| line.replace(&dir, ""));
    line.chars().take(160).collect()
}
