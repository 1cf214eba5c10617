//! Clusters whose endpoints are names: a tiny name server answers, changes its mind, and fails.

use std::{
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use outrigger_tests::{
    client::Client,
    proxy::{Proxy, Setup},
    upstream::Upstream,
    wait,
};

/// Answers A questions with one address and TTL 1; AAAA with nothing; or nothing at all.
struct NameServer {
    address: SocketAddr,
    answer: Arc<Mutex<Option<Ipv4Addr>>>,
    asked: Arc<AtomicUsize>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl NameServer {
    fn start(first: Ipv4Addr) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket
            .set_read_timeout(Some(Duration::from_millis(50)))
            .unwrap();
        let address = socket.local_addr().unwrap();
        let answer = Arc::new(Mutex::new(Some(first)));
        let (asked, over) = (
            Arc::new(AtomicUsize::new(0)),
            Arc::new(AtomicBool::new(false)),
        );
        let thread = {
            let (answer, asked, over) = (answer.clone(), asked.clone(), over.clone());
            std::thread::spawn(move || {
                let mut buffer = [0; 512];
                while !over.load(Ordering::SeqCst) {
                    let Ok((n, from)) = socket.recv_from(&mut buffer) else {
                        continue;
                    };
                    asked.fetch_add(1, Ordering::SeqCst);
                    let Some(ip) = *answer.lock().unwrap() else {
                        continue;
                    };
                    let _ = socket.send_to(&reply(&buffer[..n], ip), from);
                }
            })
        };
        Self {
            address,
            answer,
            asked,
            over,
            thread: Some(thread),
        }
    }

    fn say(&self, ip: Option<Ipv4Addr>) {
        *self.answer.lock().unwrap() = ip;
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The question back, with one A record if it asks for one.
fn reply(question: &[u8], ip: Ipv4Addr) -> Vec<u8> {
    let name_end = 12 + question[12..].iter().position(|b| *b == 0).unwrap() + 1;
    let wants_a = question[name_end..name_end + 2] == [0, 1];
    let mut reply = question[..name_end + 4].to_vec();
    reply[2..4].copy_from_slice(&[0x81, 0x80]);
    reply[6..12].copy_from_slice(&[0, u8::from(wants_a), 0, 0, 0, 0]);
    if wants_a {
        reply.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4]);
        reply.extend_from_slice(&ip.octets());
    }
    reply
}

/// The same port on two loopback addresses, each with its own answer.
fn pair() -> (Upstream, Upstream, u16) {
    let first = Upstream::fixed("first");
    let port = first.address.tcp().port();
    let second = Upstream::at((Ipv4Addr::new(127, 0, 0, 2), port).into(), |peer| {
        while peer.request().is_some() {
            peer.answer(200, b"second");
        }
    });
    (first, second, port)
}

fn proxy(server: &NameServer, port: u16) -> Proxy {
    Setup::new(&format!(
        "listeners: [{{ name: web, bind: '127.0.0.1:0', protocol: http }}]
routes: [{{ name: all, rules: [{{ backends: [{{ cluster: back }}] }}] }}]
clusters: [{{ name: back, dns: 'shop.test.:{port}' }}]"
    ))
    .mesh(&format!(
        "dns: {{ servers: ['{}'], min_ttl: 100ms, timeout: 1s }}",
        server.address
    ))
    .start()
}

#[test]
fn names_are_resolved_again_when_their_time_is_over() {
    let (first, second, port) = pair();
    let server = NameServer::start(Ipv4Addr::LOCALHOST);
    let proxy = proxy(&server, port);
    let mut client = Client::connect(proxy.web());
    wait::until("the first answer to be used", || {
        (client.get("/").text() == "first").then_some(())
    });
    server.say(Some(Ipv4Addr::new(127, 0, 0, 2)));
    wait::until("the second answer to be used", || {
        (client.get("/").text() == "second").then_some(())
    });
    assert!(first.count() > 0 && second.count() > 0);
}

#[test]
fn the_last_good_answer_is_kept() {
    let (_first, _second, port) = pair();
    let server = NameServer::start(Ipv4Addr::LOCALHOST);
    let proxy = proxy(&server, port);
    let mut client = Client::connect(proxy.web());
    wait::until("the answer to be used", || {
        (client.get("/").text() == "first").then_some(())
    });
    server.say(None);
    let asked = server.asked.load(Ordering::SeqCst);
    wait::until("two questions in vain", || {
        assert_eq!(client.get("/").text(), "first");
        (server.asked.load(Ordering::SeqCst) >= asked + 2).then_some(())
    });
    assert_eq!(client.get("/").text(), "first");
}

#[test]
fn a_name_that_is_none_is_an_error_of_its_own() {
    let server = NameServer::start(Ipv4Addr::LOCALHOST);
    server.say(None);
    let proxy = proxy(&server, 80);
    let answer = Client::connect(proxy.web()).get("/");
    assert!(matches!(answer.status(), 502 | 503), "{answer}");
    let line = proxy.log_of(1).remove(0);
    assert!(
        ["dns_error", "destination_unavailable"].contains(&line["cause"].as_str().unwrap()),
        "{line}"
    );
}
