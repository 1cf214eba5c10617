//! Every response vector from a scripted upstream through the real proxy, cut in two at every byte.
//!
//! A whole response reaches the client as the vector says; a broken one is a 502, and one that
//! breaks in its body is seen to be broken.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a panic is how a test fails"
)]

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use outrigger_tests::{
    client::{self, Client},
    http::{Message, has_line},
    proxy::Proxy,
    reader::Broken,
    upstream::{Peer, Upstream},
    vectors::{self, Ask, Ending, Passing, Response},
    wait::{self, Gate},
    websocket,
};

/// Cuts tried at one time: each is a connection on both sides.
const BATCH: usize = 100;

/// What the upstream is to send now; it is told the cut by the target of the request.
#[derive(Default)]
struct Script {
    bytes: Vec<u8>,
    end: Ending,
    /// Opened when every request of a batch has arrived: an answer that is whole by its first part
    /// must not free its connection for another request of the batch.
    all_there: Arc<Gate>,
    /// Opened when every first part was sent and read.
    go_on: Arc<Gate>,
}

#[derive(Default)]
struct Stage {
    script: Mutex<Script>,
    arrived: AtomicUsize,
    begun: AtomicUsize,
    /// Numbers of the connections that served a request, in order.
    served: Mutex<Vec<usize>>,
}

fn perform(peer: &mut Peer, stage: &Stage) {
    while let Some(request) = peer.request() {
        let cut: usize = request.target()[1..].parse().unwrap();
        let script = stage.script.lock().unwrap();
        let (bytes, end) = (script.bytes.clone(), script.end);
        let (all_there, go_on) = (script.all_there.clone(), script.go_on.clone());
        drop(script);
        stage.served.lock().unwrap().push(peer.index);
        stage.arrived.fetch_add(1, Ordering::SeqCst);
        all_there.pass();
        peer.send(&bytes[..cut]);
        stage.begun.fetch_add(1, Ordering::SeqCst);
        go_on.pass();
        peer.send(&bytes[cut..]);
        match end {
            Ending::Open => {}
            Ending::Close => return,
            Ending::Reset => return peer.reset(),
        }
    }
}

struct Bench {
    proxy: Proxy,
    stage: Arc<Stage>,
    upstream: Upstream,
    _beacon: Upstream,
}

impl Bench {
    fn new() -> Self {
        let stage = Arc::new(Stage::default());
        let upstream = {
            let stage = stage.clone();
            Upstream::script(move |peer| perform(peer, &stage))
        };
        let beacon = Upstream::fixed("beacon");
        let proxy = Proxy::start(&format!(
            "listeners:
  - {{ name: web, bind: '127.0.0.1:0', protocol: http, routes: [all] }}
  - {{ name: small, bind: '127.0.0.1:0', protocol: http, routes: [small] }}
  - {{ name: beacon, bind: '127.0.0.1:0', protocol: http, routes: [beacon] }}
routes:
  - {{ name: all, rules: [{{ backends: [{{ cluster: back }}] }}] }}
  - {{ name: small, rules: [{{ backends: [{{ cluster: small }}] }}] }}
  - {{ name: beacon, rules: [{{ backends: [{{ cluster: beacon }}] }}] }}
clusters:
  - {{ name: back, endpoints: ['{0}'], pool: {{ max_connections: 100000 }} }}
  - {{ name: small, endpoints: ['{0}'], max_headers: 8, max_header_size: 1024 }}
  - {{ name: beacon, endpoints: ['{1}'] }}
",
            upstream.address, beacon.address
        ));
        Self {
            proxy,
            stage,
            upstream,
            _beacon: beacon,
        }
    }

    fn ask(&self, vector: &Response, cut: usize) -> Client {
        let listener = match vector.request {
            Ask::Small => "small",
            _ => "web",
        };
        let mut client = Client::connect(self.proxy.listener(listener));
        let target = format!("/{cut}");
        match vector.request {
            Ask::GET | Ask::Small => client.send(client::request("GET", &target, &[], b"")),
            Ask::HEAD => client.send(client::request("HEAD", &target, &[], b"")),
            Ask::WebSocket => client.send(websocket::opening(&target)),
        };
        client
    }

    fn check(&self, vector: &Response, cuts: &[usize], beacon: &mut Client) -> Result<(), String> {
        let (all_there, go_on) = (Arc::new(Gate::default()), Arc::new(Gate::default()));
        *self.stage.script.lock().unwrap() = Script {
            bytes: vector.bytes(),
            end: vector.end,
            all_there: all_there.clone(),
            go_on: go_on.clone(),
        };
        let arrived = self.stage.arrived.load(Ordering::SeqCst);
        let begun = self.stage.begun.load(Ordering::SeqCst);
        let mut clients: Vec<_> = cuts.iter().map(|cut| self.ask(vector, *cut)).collect();
        let n = cuts.len();
        wait::until("every request to be upstream", || {
            (self.stage.arrived.load(Ordering::SeqCst) - arrived >= n).then_some(())
        });
        all_there.open();
        wait::until("every first part to be sent", || {
            (self.stage.begun.load(Ordering::SeqCst) - begun >= n).then_some(())
        });
        // Its answer says that the one worker has read those parts.
        assert_eq!(beacon.get("/").text(), "beacon");
        go_on.open();
        for (client, cut) in clients.iter_mut().zip(cuts) {
            seen(client, vector).map_err(|e| format!("cut at {cut}: {e}"))?;
        }
        Ok(())
    }

    /// Whether the connection to the upstream serves a second request. The gate is open by now.
    fn check_reuse(&self, vector: &Response, reuse: bool) -> Result<(), String> {
        self.stage.served.lock().unwrap().clear();
        let whole = vector.send.chars().count();
        for _ in 0..2 {
            seen(&mut self.ask(vector, whole), vector)?;
        }
        let served = self.stage.served.lock().unwrap().clone();
        if served.len() == 2 && (served[0] == served[1]) == reuse {
            return Ok(());
        }
        Err(format!(
            "reuse should be {reuse}, the connections were {served:?}"
        ))
    }
}

fn seen(client: &mut Client, vector: &Response) -> Result<(), String> {
    let method = match vector.request {
        Ask::HEAD => "HEAD",
        _ => "GET",
    };
    let answer = client.try_response(method);
    match vector.verdict {
        Passing::Pass => {
            let answer = answer.map_err(|e| format!("no whole response: {e:?}"))?;
            passed(&answer, vector)?;
            let interim: Vec<_> = client.interim.iter().map(Message::status).collect();
            // An unasked 100 may be passed on or kept back (RFC 9110 section 15.2).
            if vector.name == "100-unasked" || interim == vector.interim {
                return Ok(());
            }
            Err(format!(
                "interim responses {interim:?}, not {:?}",
                vector.interim
            ))
        }
        Passing::Refuse => match answer {
            Ok(answer) if answer.status() == vector.status => Ok(()),
            other => Err(format!("{} wanted, got {other:?}", vector.status)),
        },
        Passing::Cut => match answer {
            Err(Broken::Cut(_)) => Ok(()),
            Ok(answer) if answer.status() == 502 => Ok(()),
            other => Err(format!("a broken response wanted, got {other:?}")),
        },
    }
}

fn passed(answer: &Message, vector: &Response) -> Result<(), String> {
    let fail = |what: String| Err(format!("{what}\nclient got {answer}"));
    if answer.status() != vector.status {
        return fail(format!("{} wanted", vector.status));
    }
    if let Some(line) = vector.has.iter().find(|l| !answer.has_line(l)) {
        return fail(format!("lacks {line:?}"));
    }
    if let Some(name) = vector.lacks.iter().find(|n| answer.all(n).next().is_some()) {
        return fail(format!("has {name}"));
    }
    if answer.text() != vector.body {
        return fail(format!("body {:?} wanted", vector.body));
    }
    if answer.trailers.len() != vector.trailers.len()
        || !vector
            .trailers
            .iter()
            .all(|t| has_line(&answer.trailers, t))
    {
        return fail(format!("trailers {:?} wanted", vector.trailers));
    }
    Ok(())
}

fn run(select: impl Fn(usize) -> bool) {
    let bench = Bench::new();
    let mut beacon = Client::connect(bench.proxy.listener("beacon"));
    let mut failures = Vec::new();
    for (number, (topic, vector)) in vectors::responses().into_iter().enumerate() {
        if !select(number) {
            continue;
        }
        let cuts: Vec<_> = (0..=vector.send.chars().count().min(400)).collect();
        let result = cuts
            .chunks(BATCH)
            .try_for_each(|batch| bench.check(&vector, batch, &mut beacon))
            .and_then(|()| {
                vector
                    .reuse
                    .map_or(Ok(()), |r| bench.check_reuse(&vector, r))
            });
        if let Err(e) = result {
            failures.push(format!(
                "{topic}/{} ({}; RFC {}): {e}",
                vector.name, vector.why, vector.rfc
            ));
        }
    }
    assert!(bench.upstream.count() > 1_000);
    assert!(
        failures.is_empty(),
        "{} vectors fail:\n{}",
        failures.len(),
        failures.join("\n")
    );
}

#[test]
fn every_cut_part_1() {
    run(|n| n % 2 == 0);
}

#[test]
fn every_cut_part_2() {
    run(|n| n % 2 == 1);
}
