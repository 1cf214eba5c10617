//! The faults that are injected, each with the word it must lead to.

use std::io::Write;

use outrigger_tests::{
    client::{Client, request},
    http::Message,
    proxy::Proxy,
    upstream::{Peer, Upstream},
    wait, websocket,
};

/// What is done, and what it leads to.
pub(crate) struct Fault {
    /// For people.
    pub(crate) name: &'static str,
    /// The word in log, metric and `Proxy-Status`.
    pub(crate) cause: &'static str,
    /// Status the client sees; 0: no whole response.
    pub(crate) status: u16,
    /// Does it; returns the whole response that the client got, if it got one.
    pub(crate) inject: fn(&Bench) -> Option<Message>,
}

/// A proxy with a listener, a route or a cluster for every kind of trouble.
pub(crate) struct Bench {
    /// The proxy.
    pub(crate) proxy: Proxy,
    back: Upstream,
    silent: Upstream,
}

/// Misbehaves as the first segment of the path says.
fn misbehave(peer: &mut Peer) {
    while let Some(head) = peer.head() {
        match head.target().split('/').nth(1).unwrap_or_default() {
            "close" => return,
            "garbage" => {
                peer.send("nonsense\r\n\r\n");
            }
            "big" => {
                peer.send(format!(
                    "HTTP/1.1 200 OK\r\nX: {}\r\n\r\n",
                    "x".repeat(70_000)
                ));
            }
            "short" => {
                peer.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
                return;
            }
            "switch" => {
                peer.send(
                    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n",
                );
            }
            "pause" => {
                peer.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
            }
            "flood" => {
                peer.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n");
                let part = vec![b'x'; 65_536];
                while peer.wire.write_all(&part).is_ok() {}
                return;
            }
            "ok" => {
                peer.answer(200, b"ok");
                continue;
            }
            _ => {}
        }
        peer.wait_end();
        return;
    }
}

impl Bench {
    /// Starts it.
    pub(crate) fn new() -> Self {
        let back = Upstream::script(misbehave);
        let silent = Upstream::script(|peer| {
            peer.request();
            peer.wait_end();
        });
        let mut gone = Upstream::fixed("x");
        gone.stop();
        let http = "proxy_status: true, header_timeout: 300ms, stream_idle_timeout: 500ms, max_request_line: 256, max_header_size: 4KiB, max_body_size: 1000";
        let text = format!(
            "listeners:
  - {{ name: web, bind: '127.0.0.1:0', protocol: http, http: {{ {http} }} }}
  - {{ name: announced, bind: '127.0.0.1:0', protocol: http, proxy_protocol: required }}
  - {{ name: guess, bind: '127.0.0.1:0', protocol: auto }}
  - {{ name: idle, bind: '127.0.0.1:0', protocol: tcp, cluster: back, idle_timeout: 200ms }}
  - {{ name: aging, bind: '127.0.0.1:0', protocol: tcp, cluster: back, max_lifetime: 200ms }}
  - {{ name: one, bind: '127.0.0.1:0', protocol: http, max_connections: 1 }}
routes:
  - name: all
    hosts: [a.example]
    rules:
      - {{ matches: [{{ path: {{ prefix: /gone }} }}], backends: [{{ cluster: gone }}] }}
      - {{ matches: [{{ path: {{ prefix: /empty }} }}], backends: [{{ cluster: empty }}] }}
      - {{ matches: [{{ path: {{ prefix: /weightless }} }}], backends: [{{ cluster: back, weight: 0 }}] }}
      - {{ matches: [{{ path: {{ prefix: /full }} }}], backends: [{{ cluster: full }}] }}
      - {{ matches: [{{ path: {{ prefix: /waiting }} }}], backends: [{{ cluster: waiting }}] }}
      - {{ matches: [{{ path: {{ prefix: /silent }} }}], timeouts: {{ request: 200ms }}, backends: [{{ cluster: back }}] }}
      - {{ matches: [{{ path: {{ prefix: /once }} }}], timeouts: {{ backend_request: 200ms }}, backends: [{{ cluster: back }}] }}
      - {{ backends: [{{ cluster: back }}] }}
clusters:
  - {{ name: back, endpoints: ['{back}'] }}
  - {{ name: gone, endpoints: ['{gone}'] }}
  - {{ name: empty, endpoints: [{{ address: '{back}', weight: 0 }}] }}
  - {{ name: full, endpoints: ['{silent}'], pool: {{ max_connections: 1, max_pending: 0 }} }}
  - {{ name: waiting, endpoints: ['{silent}'], pool: {{ max_connections: 1, pending_timeout: 200ms }} }}
",
            back = back.address,
            gone = gone.address,
            silent = silent.address,
        );
        Self {
            proxy: Proxy::start(&text),
            back,
            silent,
        }
    }

    fn client(&self, listener: &str) -> Client {
        Client::connect(self.proxy.listener(listener))
    }

    fn send(&self, bytes: impl AsRef<[u8]>) -> Option<Message> {
        let mut client = self.client("web");
        client.send(bytes);
        client.try_response("GET").ok()
    }

    fn get(&self, target: &str) -> Option<Message> {
        self.send(request("GET", target, &[], b""))
    }

    fn head(&self, target: &str, fields: &[&str]) -> Option<Message> {
        self.send(request("POST", target, fields, b""))
    }

    /// Asks for `target` while another holds the only connection of its cluster.
    fn beside_one(&self, target: &str) -> Option<Message> {
        let before = self.silent.count();
        let mut first = self.client("web");
        first.send(request("GET", target, &[], b""));
        wait::until("the first to be upstream", || {
            (self.silent.count() > before).then_some(())
        });
        self.get(target)
    }

    /// A client in the middle of a response that never ends.
    fn flooded(&self) -> Client {
        let mut client = self.client("web");
        client.wire.small_receive_buffer();
        client.send(request("GET", "/flood", &[], b""));
        client.head();
        client
    }

    fn logged(&self, cause: &str) {
        wait::until(cause, || {
            self.proxy
                .log()
                .iter()
                .any(|l| l["cause"] == cause)
                .then_some(())
        });
    }
}

const fn fault(
    name: &'static str,
    cause: &'static str,
    status: u16,
    inject: fn(&Bench) -> Option<Message>,
) -> Fault {
    Fault {
        name,
        cause,
        status,
        inject,
    }
}

/// All of them.
pub(crate) const FAULTS: &[Fault] = &[
    fault("a broken head", "http_request_error", 400, |b| {
        b.send("GET / HTTP/1.1\r\nHost : x\r\n\r\n")
    }),
    fault("a long line", "request_line_too_long", 414, |b| {
        b.get(&format!("/{}", "x".repeat(300)))
    }),
    fault("a large head", "request_header_too_large", 431, |b| {
        b.head("/", &[&format!("X: {}", "x".repeat(5_000))])
    }),
    fault("a large body", "request_body_too_large", 413, |b| {
        b.head("/", &["Content-Length: 2000"])
    }),
    fault("a slow head", "request_header_timeout", 408, |b| {
        b.send("GET / HT")
    }),
    fault("a slow body", "request_body_timeout", 408, |b| {
        b.head("/body", &["Content-Length: 10"])
    }),
    fault("another version", "http_version_not_supported", 505, |b| {
        b.send("GET / HTTP/2.0\r\nHost: a.example\r\n\r\n")
    }),
    fault(
        "an unknown coding",
        "transfer_coding_not_implemented",
        501,
        |b| b.head("/", &["Transfer-Encoding: gzip"]),
    ),
    fault("an unknown expectation", "expectation_failed", 417, |b| {
        b.head("/", &["Expect: x"])
    }),
    fault("CONNECT", "connect_not_allowed", 405, |b| {
        b.send("CONNECT a.example:1 HTTP/1.1\r\nHost: a.example:1\r\n\r\n")
    }),
    fault("no route", "route_not_found", 404, |b| {
        b.head("/", &["Host: b.example"])
    }),
    fault(
        "no backend with a weight",
        "proxy_configuration_error",
        500,
        |b| b.get("/weightless"),
    ),
    fault(
        "no endpoint with a weight",
        "destination_unavailable",
        503,
        |b| b.get("/empty"),
    ),
    fault("an endpoint that is gone", "connection_refused", 502, |b| {
        b.get("/gone")
    }),
    fault(
        "an endpoint that closes",
        "connection_terminated",
        502,
        |b| b.get("/close"),
    ),
    fault("an answer that is none", "http_protocol_error", 502, |b| {
        b.get("/garbage")
    }),
    fault(
        "an answer with a large head",
        "http_response_header_section_size",
        502,
        |b| b.get("/big"),
    ),
    fault(
        "an answer that ends early",
        "http_response_incomplete",
        0,
        |b| b.get("/short"),
    ),
    fault(
        "a switch to another protocol",
        "http_upgrade_failed",
        502,
        |b| b.send(websocket::opening("/switch")),
    ),
    fault(
        "a pause within an answer",
        "connection_read_timeout",
        0,
        |b| b.get("/pause"),
    ),
    fault("a request's deadline", "http_response_timeout", 504, |b| {
        b.get("/silent")
    }),
    fault("one try's deadline", "backend_request_timeout", 504, |b| {
        b.get("/once")
    }),
    fault("a full pool", "connection_limit_reached", 503, |b| {
        b.beside_one("/full")
    }),
    fault(
        "a long wait for the pool",
        "connection_pool_timeout",
        503,
        |b| b.beside_one("/waiting"),
    ),
    fault("a client that stalls", "client_stalled", 0, |b| {
        let _stalled = b.flooded();
        b.logged("client_stalled");
        None
    }),
    fault("no PROXY header", "proxy_protocol_error", 0, |b| {
        let mut client = b.client("announced");
        client.send(request("GET", "/", &[], b""));
        client.rest();
        None
    }),
    fault("no HTTP", "protocol_unknown", 0, |b| {
        let mut client = b.client("guess");
        client.send("SSH-2.0-x\r\n");
        client.rest();
        None
    }),
    fault("an idle connection", "idle_timeout", 0, |b| {
        b.client("idle").rest();
        None
    }),
    fault("an old connection", "lifetime_reached", 0, |b| {
        b.client("aging").rest();
        None
    }),
    fault(
        "one connection too many",
        "downstream_connection_limit",
        0,
        |b| {
            let mut first = b.client("one");
            first.get("/ok");
            b.client("one").rest();
            None
        },
    ),
    fault("going round in circles", "proxy_loop_detected", 508, |b| {
        // Our own name in `Via` is what the upstream got to see.
        b.get("/ok")?;
        let last = b.back.requests().pop()?;
        let name = last.field("via")?.split(' ').next_back()?.to_owned();
        let via = vec![format!("1.1 {name}"); 20].join(", ");
        b.head("/ok", &[&format!("Via: {via}")])
    }),
];
