//! `outrigger-bench compare`: every scenario through every proxy, by interleaved rounds.

mod calls;
mod check;
mod entrant;
mod facts;
mod figures;
mod progress;
mod round;
mod scene;

use std::{
    fs, io,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{ExitCode, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

pub(crate) use facts::{machine, today};
pub(crate) use figures::{columns, fill};

use crate::{
    backend::Addresses,
    child::Running,
    commands::print,
    cpus::{self, Layout},
    interrupt, peers,
    report::{self, PeerFacts, Report},
    scenario,
};
use progress::Progress;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Scenarios, by name or by file (`*.toml`), separated by commas.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Peers, by name or by file; `direct` alone for no proxy at all.
    #[arg(long, value_delimiter = ',')]
    peers: Vec<String>,
    /// Rounds that count, after one that does not.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: u16,
    /// Two short rounds: to see that it works, not to believe.
    #[arg(long)]
    quick: bool,
    /// Workers of every proxy.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    workers: u16,
    /// Install peers that are missing first: Debian's packages as root, Python's into a cache folder.
    #[arg(long)]
    install: bool,
    /// Where the report and every configuration go.
    #[arg(long, default_value = "target/compare")]
    out: PathBuf,
    /// Say what scenarios and peers there are, and end.
    #[arg(long)]
    list: bool,
}

/// What holds for a whole run.
struct Settings {
    rounds: usize,
    /// Of what scenarios say, how long a round is.
    length: f64,
    quick: bool,
    workers: usize,
    layout: Layout,
    strace: Option<PathBuf>,
    out: PathBuf,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode, String> {
    if args.list {
        return list();
    }
    interrupt::listen().map_err(|error| error.to_string())?;
    let done = carry_out(args);
    if interrupt::was_asked() {
        let _ = writeln!(io::stderr(), "\noutrigger-bench: interrupted");
        return Ok(ExitCode::from(interrupt::CODE));
    }
    done
}

fn list() -> Result<ExitCode, String> {
    for scenario in scenario::all()? {
        print(&format!("{:18} {}\n", scenario.name, scenario.about))?;
    }
    for peer in peers::choose(&[])? {
        let found = peers::find(&peer);
        let state = found.map_or_else(|why| why, |found| found.version);
        print(&format!("{:18} {state}\n", peer.key))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn carry_out(args: &Args) -> Result<ExitCode, String> {
    let scenarios = scenario::choose(&args.only)?;
    let (found, facts) = look(args)?;
    let settings = settings(args)?;
    let problem = |error: io::Error| error.to_string();
    let (_backend, addresses) = backend(&settings).map_err(problem)?;
    let mut report = Report {
        title: "Outrigger beside its peers".to_owned(),
        command: command_line(),
        date: today(),
        machine: machine(settings.layout.clone()),
        terms: terms(&settings),
        peers: facts,
        scenes: Vec::new(),
    };
    let steps = |s: &scenario::Scenario| {
        let rounds = settings.rounds_of(s) + 1;
        (found.len() + 1) * rounds * settings.rates(s).len()
    };
    let mut progress = Progress::new(scenarios.iter().map(steps).sum());
    let mut right = true;
    for scenario in &scenarios {
        let scenes = scene::run(scenario, &found, &settings, &addresses, &mut progress);
        let scenes = scenes.map_err(|error| format!("{}: {error}", scenario.name))?;
        progress.clear();
        for scene in scenes {
            print(&report::text(&scene))?;
            right &= scene
                .rows
                .iter()
                .all(|row| !matches!(row.state, report::State::Failed(_)));
            report.scenes.push(scene);
        }
        // What is there is there, should the rest be interrupted.
        report::write(&report, &settings.out).map_err(problem)?;
    }
    print(&format!(
        "\nThe report is in {}\n",
        settings.out.join("report.html").display()
    ))?;
    Ok(ExitCode::from(u8::from(!right)))
}

/// As it was given, without the folder of the program.
fn command_line() -> String {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    format!("outrigger-bench {}", arguments.join(" "))
}

/// Finds peers, or installs them; what is missing is told in the report.
fn look(args: &Args) -> Result<(Vec<peers::Found>, Vec<PeerFacts>), String> {
    let mut there = Vec::new();
    let mut facts = Vec::new();
    for peer in peers::choose(&args.peers)? {
        let mut found = peers::find(&peer);
        if args.install && (found.is_err() || !peers::is_complete(&peer)) {
            found = peers::install(&peer).and_then(|()| peers::find(&peer));
        }
        if let Err(why) = &found {
            let _ = writeln!(io::stderr(), "{}: left out: {why}", peer.name);
        }
        facts.push(PeerFacts {
            name: peer.name.clone(),
            version: found.as_ref().ok().map(|found| found.version.clone()),
            missing: found.as_ref().err().cloned(),
            notes: peer.notes.clone(),
        });
        there.extend(found);
    }
    Ok((there, facts))
}

fn settings(args: &Args) -> Result<Settings, String> {
    let workers = usize::from(args.workers);
    let layout = Layout::new(&cpus::available(), workers);
    if layout.proxy == layout.load {
        let _ = writeln!(
            io::stderr(),
            "one CPU: the load takes the proxy's time, figures are rough"
        );
    }
    let problem = |error: io::Error| format!("{}: {error}", args.out.display());
    fs::create_dir_all(&args.out).map_err(problem)?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let strace = std::env::split_paths(&path)
        .map(|folder| folder.join("strace"))
        .find(|path| path.is_file());
    Ok(Settings {
        rounds: if args.quick { 2 } else { args.rounds.into() },
        length: if args.quick { 0.3 } else { 1.0 },
        quick: args.quick,
        workers,
        layout,
        strace,
        out: args.out.canonicalize().map_err(problem)?,
    })
}

impl Settings {
    /// Memory does not waver, and its rounds are long.
    fn rounds_of(&self, scenario: &scenario::Scenario) -> usize {
        match scenario.load.kind {
            scenario::Kind::Idle => 1,
            _ => self.rounds,
        }
    }

    fn rates(&self, scenario: &scenario::Scenario) -> Vec<Option<f64>> {
        let rates = scenario.load.rates.iter().copied().map(Some);
        let mut rates: Vec<_> = rates.collect();
        if rates.is_empty() {
            rates.push(None);
        }
        if self.quick {
            rates.truncate(1);
        }
        rates
    }
}

fn terms(settings: &Settings) -> Vec<String> {
    vec![
        format!(
            "{} worker(s) each; access logs off; routing, limits and default statistics on; every configuration stands beside this report",
            settings.workers
        ),
        format!(
            "{} rounds, interleaved, after one that does not count: median (least..greatest); rounds of {:.2} s, or what the scenario says",
            settings.rounds,
            settings.length * scenario::ORDINARY
        ),
        "CPU is user and system time of all threads of the proxy, of the same moment as the requests; softirq is its CPU's, beside it".to_owned(),
        "at a fixed rate latency counts from when a request should have begun, whatever became of those before it".to_owned(),
        "p99 and above are wall clock and do not rank; direct is the load on the back end without a proxy".to_owned(),
    ]
}

/// Starts the back end and learns where it listens.
fn backend(settings: &Settings) -> io::Result<(Running, Addresses)> {
    let program = std::env::current_exe()?.to_string_lossy().into_owned();
    let threads = settings.layout.backend.len().to_string();
    let command = ["backend", "--json", "--port", "0", "--threads", &threads];
    let command: Vec<_> = std::iter::once(program)
        .chain(command.map(str::to_owned))
        .collect();
    let log = settings.out.join("backend.log");
    let mut backend = Running::start(&command, &settings.layout.backend, &log, Stdio::piped())?;
    let output = backend.output().ok_or(io::ErrorKind::BrokenPipe)?;
    let (told, hear) = mpsc::channel();
    thread::spawn(move || {
        let mut line = String::new();
        let read = BufReader::new(output).read_line(&mut line);
        told.send(read.map(|_| line))
    });
    let line = hear
        .recv_timeout(Duration::from_secs(10))
        .map_err(|_| io::Error::other("the back end does not start"))??;
    Ok((backend, serde_json::from_str(&line)?))
}

/// The folder for one entrant's files.
fn folder(out: &Path, scenario: &str, entrant: &str) -> PathBuf {
    out.join("configurations").join(scenario).join(entrant)
}
