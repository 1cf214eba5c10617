//! The steps that are measured: each is made ready, and then done as often as asked. Shared by
//! the benchmarks (clock) and by the program whose instructions `gate` counts.

use std::fmt::Write;

use outrigger_proxy::benching::{Config, Request, Response, Table};

/// One step, ready to be done again and again.
pub type Ready = Box<dyn FnMut()>;

/// A step: its name, how often `gate` does it, and what makes it ready.
pub struct Step {
    pub name: &'static str,
    #[allow(dead_code, reason = "Criterion chooses for itself")]
    pub times: u32,
    pub ready: fn() -> Ready,
}

const fn step(name: &'static str, times: u32, ready: fn() -> Ready) -> Step {
    Step { name, times, ready }
}

pub const STEPS: &[Step] = &[
    step("head/parse-request", 1000, || {
        let mut request = request("GET", "shop.example", "/cart/items?page=2", "");
        Box::new(move || request.parse())
    }),
    step("head/write-request", 1000, || {
        let mut request = request("GET", "shop.example", "/cart/items?page=2", "");
        Box::new(move || assert!(request.write() > 300))
    }),
    step("head/parse-response", 1000, || {
        let mut response = Response::new(RESPONSE);
        Box::new(move || response.parse())
    }),
    step("head/write-response", 1000, || {
        let mut response = Response::new(RESPONSE);
        Box::new(move || assert!(response.write() > 100))
    }),
    step("route/hosts-10", 1000, || {
        find(&hosts(10), "h9.example", "/x", "")
    }),
    step("route/hosts-100", 1000, || {
        find(&hosts(100), "h99.example", "/x", "")
    }),
    step("route/hosts-1000", 1000, || {
        find(&hosts(1_000), "h999.example", "/x", "")
    }),
    step("route/hosts-10000-first", 1000, || {
        find(&hosts(10_000), "h0.example", "/x", "")
    }),
    step("route/hosts-10000-last", 1000, || {
        find(&hosts(10_000), "h9999.example", "/x", "")
    }),
    step("route/prefixes-10000-first", 1000, || {
        find(&prefixes(10_000), "a.example", "/p0/x", "")
    }),
    step("route/prefixes-10000-last", 1000, || {
        find(&prefixes(10_000), "a.example", "/p9999/x", "")
    }),
    step("route/wildcards-1000", 1000, || {
        find(&wildcards(1_000), "a.b.w999.example", "/x", "")
    }),
    step("route/headers-100", 1000, || {
        find(&headers(100), "a.example", "/x", "x-v: 99\r\n")
    }),
    step("route/regexes-10", 1000, || {
        find(&regexes(10), "a.example", "/r9/abc", "")
    }),
    step("balance/round_robin-10", 1000, || pick("\"round_robin\"")),
    step("balance/random-10", 1000, || pick("\"random\"")),
    step("balance/least_request-10", 1000, || {
        pick("\"least_request\"")
    }),
    step("balance/peak_ewma-10", 1000, || pick("\"peak_ewma\"")),
    step("balance/ring_hash-10", 1000, || {
        pick("{\"ring_hash\":{\"hash_on\":[{\"header\":\"x-key\"}]}}")
    }),
    step("balance/maglev-10", 1000, || {
        pick("{\"maglev\":{\"hash_on\":[{\"header\":\"x-key\"}]}}")
    }),
    step("snapshot/read-1000", 4, || {
        let text = hosts(1_000);
        Box::new(move || drop(Config::read(&text)))
    }),
    step("snapshot/build-1000", 8, || {
        let config = Config::read(&hosts(1_000));
        Box::new(move || drop(Table::new(&config)))
    }),
    step("snapshot/rebuild-1000-same", 8, || {
        let config = Config::read(&hosts(1_000));
        let table = Table::new(&config);
        Box::new(move || assert_eq!(table.rebuild(&config), 1_000))
    }),
    step("snapshot/swap", 1000, || {
        let mut table = Table::new(&Config::read(&hosts(10)));
        Box::new(move || assert_eq!(table.swap(), 1))
    }),
    step("snapshot/load", 1000, || {
        let mut table = Table::new(&Config::read(&hosts(10)));
        Box::new(move || assert_eq!(table.load(), 1))
    }),
];

const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nServer: shop\r\nDate: Wed, 25 Nov 2026 19:00:00 GMT\r\nContent-Type: application/json\r\nContent-Length: 1024\r\nCache-Control: no-store\r\n\r\n";

/// About what a browser or a service sends.
fn request(method: &str, host: &str, target: &str, more: &str) -> Request {
    Request::new(
        format!(
            "{method} {target} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: steps/1.0 (linux; x86_64)\r\nAccept: application/json, text/plain;q=0.8\r\n\
             Accept-Encoding: gzip, br\r\nAuthorization: Bearer 0123456789abcdef0123456789abcdef\r\nx-key: 4711\r\n{more}\r\n"
        )
        .as_bytes(),
    )
}

fn find(config: &str, host: &str, path: &str, more: &str) -> Ready {
    let table = Table::new(&Config::read(config));
    let request = request("GET", host, path, more);
    Box::new(move || assert!(table.finds(&request)))
}

fn pick(balance: &str) -> Ready {
    let endpoints: Vec<_> = (1..=10)
        .map(|port| format!("\"127.0.0.1:{port}\""))
        .collect();
    let endpoints = endpoints.join(",");
    let config = format!(
        "{{\"version\":1,\"clusters\":[{{\"name\":\"c\",\"balance\":{balance},\"endpoints\":[{endpoints}]}}]}}"
    );
    let mut table = Table::new(&Config::read(&config));
    let request = request("GET", "a.example", "/", "");
    Box::new(move || assert!(table.pick("c", &request).is_some()))
}

/// A configuration with one listener, and routes as written.
fn configuration(routes: &str) -> String {
    format!(
        "{{\"version\":1,\"listeners\":[{{\"name\":\"l\",\"bind\":\"127.0.0.1:1\",\"protocol\":\"http\"}}],\
         \"clusters\":[{{\"name\":\"c\",\"endpoints\":[\"127.0.0.1:2\"]}}],\"routes\":[{}]}}",
        routes.trim_end_matches(',')
    )
}

const RULE: &str = "\"backends\":[{\"cluster\":\"c\"}]";

fn hosts(count: u32) -> String {
    let mut routes = String::new();
    for i in 0..count {
        let _ = write!(
            routes,
            "{{\"name\":\"h{i}\",\"hosts\":[\"h{i}.example\"],\"rules\":[{{{RULE}}}]}},"
        );
    }
    configuration(&routes)
}

fn wildcards(count: u32) -> String {
    let mut routes = String::new();
    for i in 0..count {
        let _ = write!(
            routes,
            "{{\"name\":\"w{i}\",\"hosts\":[\"*.w{i}.example\"],\"rules\":[{{{RULE}}}]}},"
        );
    }
    configuration(&routes)
}

/// One host whose rules differ by these matches.
fn rules(count: u32, matched: fn(u32) -> String) -> String {
    let rules: Vec<_> = (0..count)
        .map(|i| format!("{{\"matches\":[{{{}}}],{RULE}}}", matched(i)))
        .collect();
    let rules = rules.join(",");
    configuration(&format!(
        "{{\"name\":\"a\",\"hosts\":[\"a.example\"],\"rules\":[{rules}]}}"
    ))
}

fn prefixes(count: u32) -> String {
    rules(count, |i| format!("\"path\":{{\"prefix\":\"/p{i}\"}}"))
}

fn headers(count: u32) -> String {
    rules(count, |i| {
        format!("\"headers\":[{{\"name\":\"x-v\",\"exact\":\"{i}\"}}]")
    })
}

fn regexes(count: u32) -> String {
    rules(count, |i| {
        format!("\"path\":{{\"regex\":\"/r{i}/[a-z]+\"}}")
    })
}
