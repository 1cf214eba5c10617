//! Every request vector through the real proxy, cut in two at every byte.
//!
//! What is accepted must reach the upstream as the vector says; of what is refused, not one byte
//! may, and the client gets the status and then the end of the connection.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a panic is how a test fails"
)]

use outrigger_tests::{
    client::{self, Client},
    http::{Message, has_line},
    proxy::Proxy,
    reader::Broken,
    upstream::Upstream,
    vectors::{self, Forwarded, Request, Verdict, When},
};

/// Cuts tried at one time: each is a connection.
const BATCH: usize = 100;

struct Bench {
    proxy: Proxy,
    upstream: Upstream,
    /// Behind a listener of its own: its answer says that everything sent before was read.
    _beacon: Upstream,
}

impl Bench {
    fn new() -> Self {
        let upstream = Upstream::fixed("ok");
        let beacon = Upstream::fixed("beacon");
        let small =
            "max_request_line: 256, max_header_size: 1024, max_headers: 8, max_body_size: 64";
        let proxy = Proxy::start(&format!(
            "listeners:
  - {{ name: plain, bind: '127.0.0.1:0', protocol: http, routes: [all] }}
  - {{ name: small, bind: '127.0.0.1:0', protocol: http, routes: [all], http: {{ {small} }} }}
  - {{ name: merge, bind: '127.0.0.1:0', protocol: http, routes: [all], http: {{ merge_slashes: true }} }}
  - {{ name: connect, bind: '127.0.0.1:0', protocol: http, routes: [all], http: {{ connect: true }} }}
  - {{ name: beacon, bind: '127.0.0.1:0', protocol: http, routes: [beacon] }}
routes:
  - {{ name: all, rules: [{{ backends: [{{ cluster: back }}] }}] }}
  - {{ name: beacon, rules: [{{ backends: [{{ cluster: beacon }}] }}] }}
clusters:
  - {{ name: back, endpoints: ['{}'], pool: {{ max_connections: 100000, max_idle: 1000 }} }}
  - {{ name: beacon, endpoints: ['{}'] }}
",
            upstream.address, beacon.address
        ));
        Self {
            proxy,
            upstream,
            _beacon: beacon,
        }
    }

    /// Returns when the one worker has read what was sent to it before.
    fn settle(beacon: &mut Client) {
        for _ in 0..2 {
            assert_eq!(beacon.get("/").text(), "beacon");
        }
    }

    /// Sends a vector cut at each of `cuts` and judges what came of it.
    fn check(&self, vector: &Request, cuts: &[usize], beacon: &mut Client) -> Result<(), String> {
        let bytes = vector.bytes();
        let address = self.proxy.listener(&vector.on);
        let before = self.upstream.bytes();
        self.upstream.take();
        let mut clients: Vec<_> = cuts
            .iter()
            .map(|cut| {
                let mut client = Client::connect(address.clone());
                client.send(&bytes[..*cut]);
                client
            })
            .collect();
        Self::settle(beacon);
        for (client, cut) in clients.iter_mut().zip(cuts) {
            // Refused already, perhaps: then sending may fail.
            let _ = client.try_send(&bytes[*cut..]);
        }
        for (client, cut) in clients.iter_mut().zip(cuts) {
            answers(client, vector).map_err(|e| format!("cut at {cut}: {e}"))?;
        }
        self.received(vector, cuts.len())?;
        let nothing = vector.when == When::Head && vector.forward.is_empty();
        if vector.verdict == Verdict::Reject && nothing {
            let leaked = self.upstream.bytes() - before;
            if leaked > 0 {
                return Err(format!("{leaked} bytes of it reached the upstream"));
            }
        }
        Ok(())
    }

    /// What the upstream must have received of `times` sendings.
    fn received(&self, vector: &Request, times: usize) -> Result<(), String> {
        let requests = self.upstream.requests();
        let wanted = vector.forward.len() * times;
        if requests.len() != wanted {
            let lines: Vec<_> = requests.iter().map(|r| &r.line).collect();
            return Err(format!("{wanted} requests wanted, upstream got {lines:?}"));
        }
        for request in &requests {
            let reasons: Vec<_> = vector
                .forward
                .iter()
                .map_while(|f| fits(request, f).err())
                .collect();
            if reasons.len() == vector.forward.len() {
                return Err(format!("{}\nupstream got {request}", reasons.join("; ")));
            }
        }
        Ok(())
    }
}

fn answers(client: &mut Client, vector: &Request) -> Result<(), String> {
    for forwarded in &vector.forward {
        let method = forwarded.line.split(' ').next().unwrap_or_default();
        let answer = client
            .try_response(method)
            .map_err(|e| format!("no answer from the upstream: {e:?}"))?;
        if (answer.status(), answer.text().as_str()) != (200, "ok") {
            return Err(format!("200 wanted, got {answer}"));
        }
    }
    if vector.verdict == Verdict::Reject {
        let refusal = client
            .try_response("GET")
            .map_err(|e| format!("no refusal: {e:?}"))?;
        if refusal.status() != vector.status {
            return Err(format!("{} wanted, got {refusal}", vector.status));
        }
    }
    if vector.verdict == Verdict::Reject || vector.close {
        return match client.try_response("GET") {
            Err(Broken::Ended) => Ok(()),
            other => Err(format!("the end of the connection wanted, got {other:?}")),
        };
    }
    Ok(())
}

fn fits(request: &Message, wanted: &Forwarded) -> Result<(), String> {
    if request.line != wanted.line {
        return Err(format!("not {:?}", wanted.line));
    }
    if let Some(line) = wanted.has.iter().find(|l| !request.has_line(l)) {
        return Err(format!("lacks {line:?}"));
    }
    if let Some(name) = wanted
        .lacks
        .iter()
        .find(|n| request.all(n).next().is_some())
    {
        return Err(format!("has {name}"));
    }
    if request.text() != wanted.body {
        return Err(format!("body {:?}, not {:?}", request.text(), wanted.body));
    }
    if request.trailers.len() != wanted.trailers.len()
        || !wanted
            .trailers
            .iter()
            .all(|t| has_line(&request.trailers, t))
    {
        return Err(format!(
            "trailers {:?}, not {:?}",
            request.trailers, wanted.trailers
        ));
    }
    Ok(())
}

fn run(select: impl Fn(usize) -> bool) {
    let bench = Bench::new();
    let mut beacon = Client::connect(bench.proxy.listener("beacon"));
    let mut failures = Vec::new();
    let mut tried = 0;
    for (number, (topic, vector)) in vectors::requests().into_iter().enumerate() {
        if !select(number) {
            continue;
        }
        let cuts: Vec<_> = (1..=vector.send.chars().count()).collect();
        for batch in cuts.chunks(BATCH) {
            tried += batch.len();
            if let Err(e) = bench.check(&vector, batch, &mut beacon) {
                failures.push(format!(
                    "{topic}/{} ({}; RFC {}): {e}",
                    vector.name, vector.why, vector.rfc
                ));
                // What is left over of this one must not be blamed on the next.
                Bench::settle(&mut beacon);
                break;
            }
        }
    }
    assert!(tried > 1_000, "{tried}");
    assert!(
        failures.is_empty(),
        "{} vectors fail:\n{}",
        failures.len(),
        failures.join("\n")
    );
    // Nothing may come late either.
    bench.upstream.take();
    Bench::settle(&mut beacon);
    assert_eq!(bench.upstream.count(), 0);
}

// In four parts, so that they run beside each other.
#[test]
fn every_cut_part_1() {
    run(|n| n % 4 == 0);
}

#[test]
fn every_cut_part_2() {
    run(|n| n % 4 == 1);
}

#[test]
fn every_cut_part_3() {
    run(|n| n % 4 == 2);
}

#[test]
fn every_cut_part_4() {
    run(|n| n % 4 == 3);
}

/// Whatever follows what was refused on the same connection, also much of it, changes nothing: the
/// client still gets to read the refusal, and nothing is forwarded.
#[test]
fn refusal_is_readable_while_the_client_goes_on_sending() {
    let bench = Bench::new();
    let bad = b"GET / HTTP/1.1\r\nHost : a.example\r\n\r\n";
    for _ in 0..20 {
        let mut client = Client::connect(bench.proxy.listener("plain"));
        client.send(bad);
        for _ in 0..20 {
            let more = client::request("POST", "/smuggled", &[], &[b'x'; 1_000]);
            if client.try_send(more).is_err() {
                break;
            }
        }
        assert_eq!(client.response().status(), 400);
    }
    assert_eq!((bench.upstream.count(), bench.upstream.bytes()), (0, 0));
}
