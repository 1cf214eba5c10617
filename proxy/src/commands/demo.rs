//! `outrigger demo`: what the proxy does, shown on this machine with nothing else installed.
//!
//! Two echo services, a proxy with the configuration that is printed, and a client, all in this
//! process and on loopback. The client's requests are bounded.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    fmt::Write,
    net::SocketAddr,
    process::ExitCode,
    sync::mpsc as channel,
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Full};
use hyper::{Request, Response, body::Incoming, client::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{mpsc, oneshot},
};

use super::{LogArgs, print, run::code};
use crate::app::{self, Addresses, Options, Order, Source};

#[derive(clap::Args)]
pub(super) struct Args {
    /// Requests to send.
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    requests: u32,
    /// End by itself; status 0 only if every request was answered as it should be.
    #[arg(long)]
    exit: bool,
    #[command(flatten)]
    log: LogArgs,
}

/// What the client saw.
#[derive(Default)]
struct Seen {
    /// Answers by what they said: the service, or the status.
    answers: BTreeMap<String, u32>,
    times: Vec<Duration>,
    wrong: Vec<String>,
}

pub(super) fn run(args: &Args) -> Result<ExitCode, String> {
    let log = args.log.start()?;
    let services = [echo("echo-a")?, echo("echo-b")?];
    let text = configuration(services);
    let loaded = outrigger_config::read(&text, "demo.yaml", &|_| None)
        .map_err(|problems| problems.to_string())?;
    let (on_ready, ready) = oneshot::channel();
    let (orders, inbox) = mpsc::unbounded_channel();
    let options = Options {
        source: Source::Fixed(Box::new(loaded)),
        ready_file: None,
        log: Some(log.control()),
        on_ready: Some(on_ready),
        orders: Some((orders.clone(), inbox)),
    };
    let proxy = thread::Builder::new()
        .name("proxy".into())
        .spawn(|| app::run(options))
        .map_err(|error| error.to_string())?;
    let Ok(addresses) = ready.blocking_recv() else {
        return Err(proxy.join().map_or_else(
            |_| "the proxy panicked".to_owned(),
            |r| r.err().unwrap_or_default(),
        ));
    };
    print(&format!(
        "The configuration of this demo:\n\n{}\n",
        indent(&text)
    ))?;
    let web = listener(&addresses, "web")?;
    let seen = client(web, args.requests)?;
    let overhead = overhead(&addresses)?;
    print(&report(&seen, overhead))?;
    let good = seen.wrong.is_empty();
    if args.exit {
        let _ = orders.send(Order::Drain);
    } else {
        print(&invitation(&addresses, web))?;
    }
    let exit = proxy.join().map_err(|_| "the proxy panicked")??;
    Ok(if good { code(exit) } else { ExitCode::FAILURE })
}

fn configuration([a, b]: [SocketAddr; 2]) -> String {
    format!(
        r#"version: 1
mesh: {{ drain: {{ grace: 0s }} }}
admin: {{ bind: "127.0.0.1:0" }}
listeners:
  - {{ name: web, bind: "127.0.0.1:0", protocol: http, routes: [shop] }}
routes:
  - name: shop
    rules:
      - matches: [{{ path: {{ prefix: /canary }} }}]
        filters:
          - request_headers: {{ set: {{ x-env: canary }} }}
          - rewrite: {{ path: {{ replace_prefix: / }} }}
        backends: [{{ cluster: b }}]
      - matches: [{{ path: {{ exact: /hello }} }}]
        filters: [{{ direct_response: {{ status: 200, body: "hello from outrigger" }} }}]
      - timeouts: {{ request: 10s }}
        backends: [{{ cluster: both }}]
clusters:
  - {{ name: both, balance: round_robin, endpoints: ["{a}", "{b}"] }}
  - {{ name: b, endpoints: ["{b}"] }}
"#
    )
}

/// A service that answers with its name and the request it saw, on a thread of its own.
fn echo(name: &'static str) -> Result<SocketAddr, String> {
    let (told, address) = channel::channel();
    let serving = async move {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let _ = told.send(listener.local_addr()?);
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let answer = service_fn(move |request: Request<Incoming>| async move {
                Ok::<_, Infallible>(answer(name, &request))
            });
            tokio::task::spawn_local(async move {
                let served = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), answer)
                    .await;
                if let Err(error) = served {
                    tracing::debug!(%error, "echo");
                }
            });
        }
    };
    start(name, serving)?;
    address
        .recv_timeout(Duration::from_secs(5))
        .map_err(|_| format!("{name} did not start"))
}

fn answer(name: &str, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let mut text = format!("{name}: {} {}\n", request.method(), request.uri());
    for (field, value) in request.headers() {
        let value = value.to_str().unwrap_or("(not text)");
        let _ = writeln!(text, "{field}: {value}");
    }
    let mut response = Response::new(Full::from(text));
    response.headers_mut().insert(
        "x-service",
        http::HeaderValue::from_str(name).unwrap_or(http::HeaderValue::from_static("?")),
    );
    response
}

/// Runs a future on a runtime and thread of its own.
fn start(
    name: &str,
    future: impl Future<Output = std::io::Result<()>> + Send + 'static,
) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let run = move || {
        let ended = tokio::task::LocalSet::new().block_on(&runtime, future);
        if let Err(error) = ended {
            tracing::error!(%error, "a part of the demo ended");
        }
    };
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(run)
        .map(drop)
        .map_err(|error| error.to_string())
}

fn listener(addresses: &Addresses, name: &str) -> Result<SocketAddr, String> {
    let found = addresses.listeners.iter().find(|(n, _)| n == name);
    found
        .and_then(|(_, at)| at.parse().ok())
        .ok_or(format!("no listener {name}"))
}

/// Sends requests over one kept connection.
fn client(proxy: SocketAddr, requests: u32) -> Result<Seen, String> {
    let sending = async move {
        let stream = TcpStream::connect(proxy).await.map_err(|e| e.to_string())?;
        stream.set_nodelay(true).map_err(|e| e.to_string())?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|e| e.to_string())?;
        tokio::task::spawn_local(connection);
        let mut seen = Seen::default();
        for n in 0..requests {
            let path = match n % 10 {
                0 => "/canary/cart",
                1 => "/hello",
                _ => "/shop/cart?id=1",
            };
            let request = Request::builder()
                .uri(path)
                .header("host", "shop.example")
                .body(Empty::<Bytes>::new());
            let began = Instant::now();
            sender.ready().await.map_err(|e| e.to_string())?;
            let response = sender
                .send_request(request.map_err(|e| e.to_string())?)
                .await
                .map_err(|e| e.to_string())?;
            let status = response.status();
            let service = response
                .headers()
                .get("x-service")
                .and_then(|v| v.to_str().ok())
                .unwrap_or("outrigger")
                .to_owned();
            let body = response
                .into_body()
                .collect()
                .await
                .map_err(|e| e.to_string())?
                .to_bytes();
            seen.times.push(began.elapsed());
            judge(&mut seen, path, status.as_u16(), &service, &body);
            *seen
                .answers
                .entry(format!("{path:18} -> {service}"))
                .or_default() += 1;
        }
        Ok(seen)
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    tokio::task::LocalSet::new().block_on(&runtime, sending)
}

/// Whether an answer is what the configuration says.
fn judge(seen: &mut Seen, path: &str, status: u16, service: &str, body: &[u8]) {
    let text = String::from_utf8_lossy(body);
    let good = status == 200
        && match path {
            "/canary/cart" => {
                service == "echo-b"
                    && text.starts_with("echo-b: GET /cart\n")
                    && text.contains("x-env: canary\n")
            }
            "/hello" => text == "hello from outrigger",
            _ => {
                text.contains(": GET /shop/cart?id=1\n")
                    && text.contains("x-forwarded-for: 127.0.0.1\n")
            }
        };
    if !good {
        seen.wrong.push(format!("{path}: {status} {text}"));
    }
}

/// What the proxy says of its own share, on average.
fn overhead(addresses: &Addresses) -> Result<Duration, String> {
    let admin = addresses.admin.as_deref().ok_or("no admin")?;
    let (_, text) = super::ask::ask(admin, "GET", "/metrics", None)?;
    let number = |name: &str| -> f64 {
        let line = text
            .lines()
            .find(|l| l.starts_with(name) && l.contains("route=\"shop\""));
        line.and_then(|l| l.rsplit(' ').next())
            .and_then(|n| n.parse().ok())
            .unwrap_or(0.0)
    };
    let (sum, count) = (
        number("outrigger_proxy_overhead_seconds_sum"),
        number("outrigger_proxy_overhead_seconds_count"),
    );
    Ok(Duration::from_secs_f64(if count > 0.0 {
        sum / count
    } else {
        0.0
    }))
}

fn report(seen: &Seen, overhead: Duration) -> String {
    let mut times = seen.times.clone();
    times.sort_unstable();
    let at = |share: f64| {
        times
            .get(((times.len() as f64 - 1.0) * share).round() as usize)
            .copied()
            .unwrap_or_default()
    };
    let mut text = format!(
        "{} requests over one connection, one after the other:\n\n",
        times.len()
    );
    for (answer, count) in &seen.answers {
        let _ = writeln!(text, "  {count:>6}  {answer}");
    }
    let (p50, p90, p99, longest) = (at(0.5), at(0.9), at(0.99), at(1.0));
    let _ = writeln!(
        text,
        "\n  seen by the client   p50 {p50:?}   p90 {p90:?}   p99 {p99:?}   longest {longest:?}\n  \
         spent in the proxy   {overhead:?} on average (metric outrigger_proxy_overhead_seconds)\n"
    );
    match seen.wrong.first() {
        None => text.push_str("Every answer was what the configuration says.\n"),
        Some(first) => {
            let _ = writeln!(
                text,
                "{} answers were wrong, first: {first}",
                seen.wrong.len()
            );
        }
    }
    text
}

fn invitation(addresses: &Addresses, web: SocketAddr) -> String {
    let admin = addresses.admin.as_deref().unwrap_or_default();
    format!(
        "\nTry it yourself:\n\n  curl http://{web}/shop/cart\n  curl http://{web}/canary/cart\n  curl -i http://{web}/hello\n  curl http://{admin}/clusters\n  curl http://{admin}/metrics\n  curl http://{admin}/            (everything the admin interface has)\n\nCtrl-C ends it.\n"
    )
}

fn indent(text: &str) -> String {
    let mut indented = String::with_capacity(text.len() + 128);
    for line in text.lines() {
        let _ = writeln!(indented, "  {line}");
    }
    indented
}
