//! `outrigger-bench load`.

use std::{
    collections::BTreeMap,
    fs,
    net::{SocketAddr, ToSocketAddrs},
    path::PathBuf,
    process::ExitCode,
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use super::print;
use crate::{
    compare::{columns, fill, machine, today},
    cpus::Layout,
    load::{self, Outcome, Plan, Request, Work, live::Live, request::Body},
    report::{self, Report, Row, Scene, State},
    usage::Watch,
};

#[derive(clap::Args)]
pub(super) struct Args {
    /// `http://host:port/path`.
    url: String,
    /// Requests per second at fixed times; latency counts from those. Without it every
    /// connection asks again when it was answered.
    #[arg(long, value_parser = positive)]
    rate: Option<f64>,
    /// Connections.
    #[arg(long, short, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    connections: u32,
    /// Requests at a time on each connection of HTTP/2.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    streams: u32,
    /// Speak HTTP/2, with prior knowledge.
    #[arg(long)]
    http2: bool,
    /// Send the body as a message of gRPC, over HTTP/2, and look at its status.
    #[arg(long)]
    grpc: bool,
    /// Seconds that count.
    #[arg(long, short, default_value_t = 10.0, value_parser = positive)]
    duration: f64,
    /// Seconds of load before them.
    #[arg(long, default_value_t = 0.5)]
    warm_up: f64,
    /// Seconds a request may take.
    #[arg(long, default_value_t = 5.0, value_parser = positive)]
    timeout: f64,
    /// Method; POST if there is a body.
    #[arg(long, short = 'X')]
    method: Option<String>,
    /// `name: value`, any number of times.
    #[arg(long, short = 'H')]
    header: Vec<String>,
    /// Body: a text, `@file`, or `=BYTES` for so many bytes of a pattern.
    #[arg(long, short = 'b')]
    body: Option<String>,
    /// Send the body in chunks of so many bytes.
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(1..))]
    chunked: Option<u32>,
    /// A new connection for each request.
    #[arg(long)]
    close: bool,
    /// Length the body of each answer must have.
    #[arg(long, value_name = "BYTES")]
    expect: Option<u64>,
    /// Threads.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: u16,
    /// CPUs to pin the threads to.
    #[arg(long, value_delimiter = ',')]
    cpus: Vec<usize>,
    /// A process to watch, with its children: its CPU time per request, and its memory.
    #[arg(long)]
    pid: Option<u32>,
    /// CPUs that process is pinned to, for their idle and softirq time.
    #[arg(long, value_delimiter = ',')]
    pid_cpus: Vec<usize>,
    /// Write the report (JSON, HTML, Markdown, SVG) into this folder.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Print the report as JSON instead of a table.
    #[arg(long)]
    json: bool,
    /// No live view.
    #[arg(long, short)]
    quiet: bool,
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value > 0.0 && value.is_finite() => Ok(value),
        Ok(_) => Err("must be above 0".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

pub(super) fn run(args: &Args) -> Result<ExitCode, String> {
    let plan = plan(args)?;
    let outcome = watched(args, &plan)?;
    let scene = scene(args, &plan, &outcome);
    let report = Report {
        title: format!("Load on {}", args.url),
        command: std::env::args().collect::<Vec<_>>().join(" "),
        date: today(),
        machine: machine(Layout {
            proxy: args.pid_cpus.clone(),
            load: args.cpus.clone(),
            backend: Vec::new(),
        }),
        terms: vec![match args.rate {
            Some(rate) => format!("{rate} requests per second at fixed times; latency from those"),
            None => "closed loop: each connection asks again when it was answered".to_owned(),
        }],
        peers: Vec::new(),
        scenes: vec![scene],
    };
    if let Some(dir) = &args.out {
        fs::create_dir_all(dir)
            .and_then(|()| report::write(&report, dir))
            .map_err(|error| format!("{}: {error}", dir.display()))?;
    }
    if args.json {
        let text = serde_json::to_string(&report).map_err(|error| error.to_string())?;
        print(&(text + "\n"))?;
    } else {
        print(&report::text(&report.scenes[0]))?;
    }
    let failed = outcome.errors.total() > 0 || outcome.completed == 0;
    Ok(ExitCode::from(u8::from(failed)))
}

fn watched(args: &Args, plan: &Plan) -> Result<Outcome, String> {
    if args.quiet || args.json {
        return load::run(plan, &Arc::new(Live::off())).map_err(|error| error.to_string());
    }
    let live = Arc::new(Live::on());
    let (running, end) = mpsc::channel();
    let view = Arc::clone(&live);
    let whole = plan.warm_up + plan.duration;
    let shown = thread::spawn(move || view.show(&end, whole));
    let outcome = load::run(plan, &live);
    drop(running);
    // A view that panicked has shown what it could.
    let _ = shown.join();
    outcome.map_err(|error| error.to_string())
}

fn plan(args: &Args) -> Result<Plan, String> {
    let (target, authority, path) = address(&args.url)?;
    let mut request = Request {
        path,
        host: authority,
        chunk: args.chunked.map(|size| size as usize),
        close: args.close,
        grpc: args.grpc,
        expect: args.expect,
        ..Request::default()
    };
    for header in &args.header {
        let (name, value) = header
            .split_once(':')
            .ok_or_else(|| format!("--header {header}: no colon"))?;
        if name.eq_ignore_ascii_case("host") {
            value.trim().clone_into(&mut request.host);
        } else {
            request
                .headers
                .push((name.to_owned(), value.trim().to_owned()));
        }
    }
    let body = args.body.as_deref().map(body).transpose()?;
    let posts = args.grpc || args.chunked.is_some() || body.is_some();
    if posts {
        "POST".clone_into(&mut request.method);
    }
    if let Some(method) = &args.method {
        request.method.clone_from(method);
    }
    request.body = body.unwrap_or(Body::Size(0));
    let http2 = args.http2 || args.grpc;
    if http2 && (args.close || args.chunked.is_some()) {
        return Err("--close and --chunked are of HTTP/1".to_owned());
    }
    let work = if http2 {
        Work::Http2 {
            request,
            streams: args.streams as usize,
        }
    } else {
        Work::Http1 { request }
    };
    Ok(Plan {
        target,
        work,
        connections: args.connections as usize,
        threads: args.threads.into(),
        cpus: args.cpus.clone(),
        rate: args.rate,
        warm_up: Duration::from_secs_f64(args.warm_up.max(0.0)),
        duration: Duration::from_secs_f64(args.duration),
        timeout: Duration::from_secs_f64(args.timeout),
        watch: args.pid.map(|pid| Watch {
            pid,
            cpus: args.pid_cpus.clone(),
        }),
    })
}

/// Where to connect, what to call it, and the path.
fn address(url: &str) -> Result<(SocketAddr, String, String), String> {
    let rest = url
        .strip_prefix("http://")
        .ok_or_else(|| format!("{url}: only http:// is spoken, without TLS"))?;
    let at = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(at);
    let path = if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("/{path}")
    };
    let has_port = authority
        .rsplit_once(':')
        .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let with_port = if has_port {
        authority.to_owned()
    } else {
        format!("{authority}:80")
    };
    let mut found = with_port
        .to_socket_addrs()
        .map_err(|error| format!("{authority}: {error}"))?;
    let target = found
        .next()
        .ok_or_else(|| format!("{authority}: no address"))?;
    Ok((target, authority.to_owned(), path))
}

fn body(text: &str) -> Result<Body, String> {
    if let Some(path) = text.strip_prefix('@') {
        let text = fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
        return Ok(Body::Text(text));
    }
    match text.strip_prefix('=').map(str::parse) {
        Some(Ok(size)) => Ok(Body::Size(size)),
        Some(Err(_)) => Err(format!("--body {text}: no number of bytes")),
        None => Ok(Body::Text(text.to_owned())),
    }
}

fn scene(args: &Args, plan: &Plan, outcome: &Outcome) -> Scene {
    let state = if outcome.errors.total() > 0 {
        State::Errors
    } else {
        State::Measured
    };
    let mut row = Row::new("target", state);
    let columns = columns(&plan.work, plan.rate.is_some());
    let mut values: BTreeMap<&'static str, Vec<f64>> = BTreeMap::new();
    fill(&mut values, outcome, &plan.work);
    for (key, values) in &values {
        row.set(key, values, false);
    }
    row.latencies = outcome.latencies.clone();
    row.errors = outcome.errors;
    let mut notes = vec![format!(
        "{} right answers in {:.2} s, longest {:.0} us",
        outcome.completed,
        outcome.seconds,
        outcome.latencies.max()
    )];
    if outcome.unfinished > 0 {
        notes.push(format!("{} had no answer at the end", outcome.unfinished));
    }
    if outcome.reconnects > 0 {
        notes.push(format!(
            "{} connections were closed between requests",
            outcome.reconnects
        ));
    }
    Scene {
        name: "load".to_owned(),
        about: args.url.clone(),
        columns: columns
            .into_iter()
            // One target has no spread and no rank.
            .map(|mut column| {
                column.spread = false;
                column.better = None;
                column
            })
            .collect(),
        rows: vec![row],
        notes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        let read = |url: &str| address(url).unwrap();
        let (target, authority, path) = read("http://127.0.0.1:8080/a?b=c");
        assert_eq!(target.to_string(), "127.0.0.1:8080");
        assert_eq!(
            (authority.as_str(), path.as_str()),
            ("127.0.0.1:8080", "/a?b=c")
        );
        let (target, _, path) = read("http://127.0.0.1");
        assert_eq!((target.port(), path.as_str()), (80, "/"));
        assert_eq!(read("http://[::1]:81?x").2, "/?x");
        assert!(address("https://a/").is_err());
    }

    #[test]
    fn bodies_are_read() {
        assert!(matches!(body("=12"), Ok(Body::Size(12))));
        assert!(matches!(body("hello"), Ok(Body::Text(text)) if text == "hello"));
        assert!(body("=x").is_err());
        assert!(body("@/nowhere/at/all").is_err());
    }
}
