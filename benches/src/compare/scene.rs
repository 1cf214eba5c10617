//! One scenario: start everybody, check everybody, then round after round, and a table for each
//! rate.

use std::{
    fs, io,
    time::{Duration, Instant},
};

use super::{
    Settings, calls, check,
    entrant::Entrant,
    figures::{Figures, columns, fill},
    folder,
    progress::Progress,
    round::measure,
};
use crate::{
    backend::Addresses,
    interrupt,
    load::{Outcome, Plan, Work},
    peers::Found,
    report::{Row, Scene, State},
    scenario::{Kind, Scenario},
};

/// From this share of idle time on, the proxy was not what limited a closed loop.
const IDLE: f64 = 0.08;
/// From this share of stolen time on, the machine was not ours.
const STOLEN: f64 = 0.05;
const WARM_UP: Duration = Duration::from_millis(150);

/// One row in the making.
struct Part {
    key: String,
    row: Row,
    entrant: Option<Entrant>,
    figures: Figures,
    idle: Vec<f64>,
    stolen: f64,
    unfinished: u64,
    reconnects: u64,
}

impl Part {
    fn new(key: &str, name: &str, state: State, entrant: Option<Entrant>) -> Self {
        Self {
            key: key.to_owned(),
            row: Row::new(name, state),
            entrant,
            figures: Figures::new(),
            idle: Vec::new(),
            stolen: 0.0,
            unfinished: 0,
            reconnects: 0,
        }
    }

    /// For the next table.
    fn again(&mut self) {
        let (name, state) = (self.row.name.clone(), self.row.state.clone());
        let direct = self.entrant.as_ref().is_some_and(Entrant::is_direct);
        let state = match state {
            State::Errors if direct => State::Direct,
            State::Errors => State::Measured,
            state => state,
        };
        self.row = Row::new(&name, state);
        self.figures.clear();
        self.idle.clear();
        (self.stolen, self.unfinished, self.reconnects) = (0.0, 0, 0);
    }

    fn fail(&mut self, why: String) {
        self.entrant = None;
        self.row.state = State::Failed(why);
    }

    fn take(&mut self, outcome: &Outcome, work: &Work) {
        fill(&mut self.figures, outcome, work);
        self.row.errors.add(&outcome.errors);
        self.row.latencies.merge(&outcome.latencies);
        if !outcome.held.is_empty() {
            self.row.memory.clone_from(&outcome.held);
        }
        if let Some(used) = outcome.used {
            self.idle.extend(used.idle_share);
            self.stolen = self.stolen.max(used.steal_share);
        }
        self.unfinished += outcome.unfinished;
        self.reconnects += outcome.reconnects;
    }
}

pub(super) fn run(
    scenario: &Scenario,
    found: &[Found],
    settings: &Settings,
    addresses: &Addresses,
    progress: &mut Progress,
) -> io::Result<Vec<Scene>> {
    let mut parts = start(scenario, found, settings, addresses)?;
    interrupt::check()?;
    let mut scenes = Vec::new();
    for rate in settings.rates(scenario) {
        let mut plan = plan(scenario, settings, rate);
        warm_up(scenario, settings, &mut plan, &mut parts, progress)?;
        for round in 0..settings.rounds_of(scenario) {
            let part = format!("{}{} round {}", scenario.name, at(rate), round + 1);
            // Nobody is always behind the same one.
            for turn in 0..parts.len() {
                let index = (turn + round) % parts.len();
                progress.step(&part, &parts[index].row.name);
                one(scenario, settings, &mut plan, &mut parts[index])?;
            }
        }
        if scenario.load.system_calls && rate.is_none() {
            for part in &mut parts {
                count_calls(scenario, settings, &plan, part)?;
            }
        }
        scenes.push(scene(scenario, rate, &plan, &mut parts));
        parts.iter_mut().for_each(Part::again);
    }
    Ok(scenes)
}

fn at(rate: Option<f64>) -> String {
    rate.map(|rate| format!("@{rate}")).unwrap_or_default()
}

/// Starts and checks everybody. Who cannot take part gets a row that says so.
fn start(
    scenario: &Scenario,
    found: &[Found],
    settings: &Settings,
    addresses: &Addresses,
) -> io::Result<Vec<Part>> {
    let (front, behind) = targets(scenario, addresses);
    let mut parts = Vec::new();
    let direct = Entrant::direct(front);
    fs::create_dir_all(folder(&settings.out, &scenario.name, "direct"))?;
    check::answers(&direct, scenario)?;
    let mut part = Part::new("direct", "direct", State::Direct, Some(direct));
    if scenario.load.kind == Kind::Idle {
        // Whose memory? There is no proxy.
        part.entrant = None;
        part.row.state = State::Unable("there is no proxy to measure".to_owned());
    }
    parts.push(part);
    for found in found {
        interrupt::check()?;
        let peer = &found.peer;
        let dir = folder(&settings.out, &scenario.name, &peer.key);
        let lacks = scenario.needs.iter().find_map(|need| peer.lacks.get(need));
        if let Some(why) = lacks {
            let state = State::Unable(why.clone());
            parts.push(Part::new(&peer.key, &peer.name, state, None));
            continue;
        }
        let place = (settings.workers, settings.layout.proxy.as_slice());
        let entrant = Entrant::start(found, scenario, behind, place, &dir)
            .and_then(|entrant| check::answers(&entrant, scenario).map(|()| entrant));
        parts.push(match entrant {
            Ok(entrant) => {
                let note = check::note(&entrant, scenario);
                let mut part = Part::new(&peer.key, &peer.name, State::Measured, Some(entrant));
                part.row.notes.extend(note.filter(|_| scenario.order == 10));
                part
            }
            // What a scenario needs beside the ordinary may not be there yet.
            Err(error) if !scenario.needs.is_empty() || scenario.proxy.tcp => {
                let state = State::Unable(error.to_string());
                Part::new(&peer.key, &peer.name, state, None)
            }
            Err(error) => {
                let state = State::Failed(error.to_string());
                Part::new(&peer.key, &peer.name, state, None)
            }
        });
    }
    Ok(parts)
}

/// Where the load goes without a proxy, and where proxies send it.
fn targets(
    scenario: &Scenario,
    addresses: &Addresses,
) -> (std::net::SocketAddr, std::net::SocketAddr) {
    let own = match scenario.load.kind {
        Kind::TcpBulk => addresses.source,
        Kind::TcpShort => addresses.answer,
        Kind::Http2 => addresses.http2,
        Kind::Http1 | Kind::Idle => addresses.http,
    };
    let behind = if scenario.proxy.upstream_http2 {
        addresses.http2
    } else if scenario.load.kind == Kind::Http2 {
        addresses.http
    } else {
        own
    };
    (own, behind)
}

fn plan(scenario: &Scenario, settings: &Settings, rate: Option<f64>) -> Plan {
    let mut work = scenario.work();
    let mut seconds = scenario.load.seconds * settings.length;
    if let Work::Idle { steps, settle, .. } = &mut work {
        if settings.quick {
            for step in steps.iter_mut() {
                *step = (*step / 10).max(1);
            }
            *settle = 1_200;
        }
        // Not of use there, but it is what the deadline is made of.
        let opening = *steps.last().unwrap_or(&0) as f64 / 500.0;
        seconds = *settle as f64 / 1e3 * (steps.len() + 1) as f64 + opening;
    }
    Plan {
        target: ([127, 0, 0, 1], 0).into(),
        work,
        connections: scenario.load.connections,
        threads: settings.layout.load.len(),
        cpus: settings.layout.load.clone(),
        rate,
        warm_up: WARM_UP,
        duration: Duration::from_secs_f64(seconds),
        timeout: Duration::from_secs(5),
        watch: None,
    }
}

fn warm_up(
    scenario: &Scenario,
    settings: &Settings,
    plan: &mut Plan,
    parts: &mut [Part],
    progress: &mut Progress,
) -> io::Result<()> {
    if scenario.load.kind == Kind::Idle {
        // Memory is measured of a proxy that was not busy before.
        progress.skip(parts.len());
        return Ok(());
    }
    let whole = plan.duration;
    plan.duration = whole / 2;
    let what = format!("{}{} warm-up", scenario.name, at(plan.rate));
    for part in parts.iter_mut() {
        progress.step(&what, &part.row.name);
        let Some(entrant) = &part.entrant else {
            continue;
        };
        plan.target = entrant.address;
        let dir = folder(&settings.out, &scenario.name, &part.key);
        if let Err(error) = measure(plan, &settings.layout.load, &dir, || Ok(())) {
            interrupt::check()?;
            part.fail(error.to_string());
        }
    }
    plan.duration = whole;
    Ok(())
}

/// One round of one entrant.
fn one(
    scenario: &Scenario,
    settings: &Settings,
    plan: &mut Plan,
    part: &mut Part,
) -> io::Result<()> {
    let Some(entrant) = &mut part.entrant else {
        return Ok(());
    };
    plan.target = entrant.address;
    plan.watch.clone_from(&entrant.watch);
    let dir = folder(&settings.out, &scenario.name, &part.key);
    let every = scenario
        .storm
        .map(|storm| Duration::from_millis(storm.every_ms));
    let mut next = Instant::now() + WARM_UP;
    let outcome = measure(plan, &settings.layout.load, &dir, || {
        if let Some(every) = every.filter(|_| Instant::now() >= next) {
            next += every;
            entrant.reload()?;
        }
        Ok(())
    });
    let ended = entrant.ended();
    match (outcome, ended) {
        (Ok(outcome), None) => part.take(&outcome, &plan.work),
        (Err(error), None) => {
            interrupt::check()?;
            part.fail(error.to_string());
        }
        (_, Some(why)) => part.fail(why),
    }
    if every.is_some() {
        let took = part.entrant.as_ref().map(Entrant::took_over).transpose();
        match took {
            Err(error) => {
                interrupt::check()?;
                part.fail(error.to_string());
            }
            Ok(Some(reloads)) if reloads > 0 => {
                part.row.notes = vec![format!("{reloads} reloads, the last one seen to serve")];
            }
            Ok(_) => {}
        }
    }
    Ok(())
}

fn count_calls(
    scenario: &Scenario,
    settings: &Settings,
    plan: &Plan,
    part: &mut Part,
) -> io::Result<()> {
    let Some(strace) = &settings.strace else {
        return Ok(());
    };
    let Some(entrant) = &part.entrant else {
        return Ok(());
    };
    let Some(watch) = &entrant.watch else {
        return Ok(());
    };
    let mut plan = plan.clone();
    plan.target = entrant.address;
    plan.watch = None;
    // Connections are made under its eyes as well: few of them, so that requests are nearly all.
    plan.connections = plan.connections.min(16);
    plan.warm_up = Duration::ZERO;
    plan.duration = Duration::from_millis(400);
    let dir = folder(&settings.out, &scenario.name, &part.key);
    let counted = calls::count(strace, watch.pid, &dir, || {
        Ok(measure(&plan, &settings.layout.load, &dir, || Ok(()))?.completed)
    });
    match counted {
        Ok(calls) if !calls.is_empty() => {
            part.row.set("calls", &[calls.values().sum()], false);
            let named = calls.iter().map(|(name, each)| format!("{each:.2} {name}"));
            let named: Vec<_> = named.collect();
            part.row
                .notes
                .push(format!("per request {}", named.join(", ")));
            part.row.system_calls = calls;
        }
        // A figure the less; the others stand.
        Ok(_) => {}
        Err(error) => {
            interrupt::check()?;
            part.row.notes.push(format!("no system calls: {error}"));
        }
    }
    Ok(())
}

/// Makes the table of what was gathered.
fn scene(scenario: &Scenario, rate: Option<f64>, plan: &Plan, parts: &mut [Part]) -> Scene {
    let closed = rate.is_none();
    for part in parts.iter_mut() {
        let idle = crate::stats::Summary::of(&part.idle).map_or(0.0, |idle| idle.median);
        for (key, values) in &part.figures {
            let limited = closed && matches!(*key, "rate" | "gbit") && idle > IDLE;
            part.row.set(key, values, limited);
        }
        let row = &mut part.row;
        if row.errors.total() > 0 && row.state == State::Measured {
            row.state = State::Errors;
        }
        if part.stolen > STOLEN {
            let percent = part.stolen * 100.0;
            row.notes
                .push(format!("the hypervisor took {percent:.0} % of a round"));
        }
        if part.unfinished > 0 {
            row.notes.push(format!(
                "{} requests had no answer at the end",
                part.unfinished
            ));
        }
        if part.reconnects > 0 {
            row.notes.push(format!(
                "closed {} connections between requests",
                part.reconnects
            ));
        }
    }
    add_to_direct(parts);
    let mut scene = Scene {
        name: format!("{}{}", scenario.name, at(rate)),
        about: scenario.about.clone(),
        columns: columns(&plan.work, rate.is_some()),
        rows: parts.iter().map(|part| part.row.clone()).collect(),
        notes: Vec::new(),
    };
    scene.rank();
    scene
}

/// What a proxy adds to the latency there is without one.
fn add_to_direct(parts: &mut [Part]) {
    let Some((direct, others)) = parts.split_first_mut() else {
        return;
    };
    for (key, added) in [("p50", "added50"), ("p99", "added99")] {
        let Some(without) = direct.row.median(key) else {
            continue;
        };
        for part in others.iter_mut() {
            if let Some(with) = part.row.median(key) {
                part.row.set(added, &[with - without], false);
            }
        }
    }
}
