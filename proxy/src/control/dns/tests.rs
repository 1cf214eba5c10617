//! Resolution against name servers of our own on loopback.

mod server;

use std::{path::PathBuf, sync::atomic::AtomicU32};

use tokio::time::timeout;

use self::server::{Reply, Server, a, aaaa, cname, srv};
use super::*;
use crate::cluster::tests::{cells, config};

const DEADLINE: Duration = Duration::from_secs(20);

/// Files of a host of our own, removed when dropped.
struct Files(PathBuf);

impl Files {
    fn new(resolv_conf: &str, hosts: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let name = format!("outrigger-dns-{}-{number}", std::process::id());
        let files = Self(std::env::temp_dir().join(name));
        std::fs::create_dir_all(&files.0).unwrap();
        files.write("resolv.conf", resolv_conf);
        files.write("hosts", hosts);
        files
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.0.join(name), text).unwrap();
    }

    fn system(&self) -> System {
        System::at(self.0.join("resolv.conf"), self.0.join("hosts"))
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A cluster, its task, and the name server it asks.
struct Bed {
    server: Server,
    cluster: Arc<Cluster>,
    task: DnsTask,
    files: Files,
}

/// Answers are asked for again at once, whatever their TTL, unless a test says otherwise.
fn settings(server: &Server) -> model::Dns {
    model::Dns {
        min_ttl: Duration::from_millis(20),
        max_ttl: Duration::from_millis(20),
        timeout: Duration::from_secs(3),
        max_endpoints: 256,
        servers: vec![server.address],
    }
}

fn dns(name: &str) -> model::DnsEndpoints {
    let (host, port) = match name.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().ok()),
        None => (name, None),
    };
    model::DnsEndpoints {
        name: model::DnsName {
            host: host.into(),
            port,
        },
        srv: false,
        family: model::DnsFamily::Both,
    }
}

fn srv_of(name: &str) -> model::DnsEndpoints {
    model::DnsEndpoints {
        srv: true,
        ..dns(name)
    }
}

impl Bed {
    fn new(server: Server, dns: model::DnsEndpoints) -> Self {
        Self::with(server, dns, Files::new("", ""), |_| ())
    }

    fn with(
        server: Server,
        dns: model::DnsEndpoints,
        files: Files,
        change: impl FnOnce(&mut model::Dns),
    ) -> Self {
        let mut settings = settings(&server);
        change(&mut settings);
        let config = model::Cluster {
            dns: Some(dns),
            ..config("c")
        };
        let cluster = Arc::new(Cluster::new(config, cells()));
        let task = spawn_with(Arc::clone(&cluster), &settings, || 0, files.system());
        Self {
            server,
            cluster,
            task,
            files,
        }
    }

    fn endpoints(&self) -> Vec<String> {
        let set = self.cluster.endpoints();
        set.iter()
            .map(|(it, weight)| format!("{}*{weight}", it.name))
            .collect()
    }

    async fn until(&self, what: &str, done: impl FnMut(&DnsState) -> bool) {
        let waited = timeout(DEADLINE, self.task.wait_until(done)).await;
        waited.unwrap_or_else(|_| panic!("{what}: {:?}", self.task.state()));
    }

    async fn resolved(&self) {
        self.until("resolved", |state| state.successes > 0).await;
    }

    /// Waits for a resolution that began after now.
    async fn resolved_anew(&self) {
        let before = self.task.state().successes;
        // The next one may be on its way already.
        self.until("resolved anew", |state| state.successes > before + 1)
            .await;
    }
}

#[tokio::test]
async fn every_address_is_an_endpoint() {
    let server = Server::start().await;
    server.answer(
        "app.test",
        &[a("10.0.0.2", 60), a("10.0.0.1", 60), a("10.0.0.2", 60)],
    );
    let bed = Bed::new(server, dns("app.test:80"));
    bed.resolved().await;
    assert_eq!(bed.endpoints(), ["10.0.0.1:80*1", "10.0.0.2:80*1"]);
    let state = bed.task.state();
    assert!(state.last_success.is_some() && state.next.is_some() && state.error.is_none());
}

#[tokio::test]
async fn only_the_families_asked_for() {
    for (family, expected) in [
        (model::DnsFamily::V4, ["10.0.0.1:80*1", "10.0.0.2:80*1"]),
        (model::DnsFamily::V6, ["[fd00::1]:80*1", "[fd00::2]:80*1"]),
    ] {
        let server = Server::start().await;
        let records = [
            a("10.0.0.1", 60),
            aaaa("fd00::1", 60),
            a("10.0.0.2", 60),
            aaaa("fd00::2", 60),
        ];
        server.answer("app.test", &records);
        let bed = Bed::new(
            server,
            model::DnsEndpoints {
                family,
                ..dns("app.test:80")
            },
        );
        bed.resolved().await;
        assert_eq!(bed.endpoints(), expected);
        let kinds = bed.server.kinds_asked();
        assert_eq!(kinds.len(), 1, "{kinds:?}");
    }
}

#[tokio::test]
async fn changes_are_followed_and_equal_answers_swap_nothing() {
    let server = Server::start().await;
    server.answer("app.test", &[a("10.0.0.1", 0), a("10.0.0.2", 0)]);
    let bed = Bed::new(server, dns("app.test:80"));
    bed.resolved().await;
    let first = bed.cluster.endpoints().clone();
    bed.server
        .answer("app.test", &[a("10.0.0.2", 0), a("10.0.0.1", 0)]);
    bed.resolved_anew().await;
    assert!(Arc::ptr_eq(&first, &bed.cluster.endpoints()));

    bed.server
        .answer("app.test", &[a("10.0.0.2", 0), a("10.0.0.3", 0)]);
    bed.resolved_anew().await;
    assert_eq!(bed.endpoints(), ["10.0.0.2:80*1", "10.0.0.3:80*1"]);
    assert_eq!(bed.cluster.endpoints().all[0].id, first.all[1].id);
}

#[tokio::test]
async fn a_ttl_is_honoured_within_its_bounds() {
    // (bounds, TTL of the answer, seconds until the next resolution, give or take a tenth)
    for (least, most, ttl, expected) in [
        (1, 300, 60, 60.0),
        (1, 300, 0, 1.0),
        (1, 300, 3_600, 300.0),
        (90, 300, 60, 90.0),
    ] {
        let server = Server::start().await;
        // The alias has the shorter one.
        server.answer("app.test", &[cname("other.test", ttl)]);
        server.answer("other.test", &[a("10.0.0.1", 100_000)]);
        let bed = Bed::with(server, dns("app.test:80"), Files::new("", ""), |settings| {
            settings.min_ttl = Duration::from_secs(least);
            settings.max_ttl = Duration::from_secs(most);
        });
        bed.resolved().await;
        let state = bed.task.state();
        let wait = state
            .next
            .unwrap()
            .duration_since(state.last_success.unwrap())
            .unwrap();
        let wait = wait.as_secs_f64();
        assert!((wait - expected).abs() <= expected * 0.101, "{ttl}: {wait}");
        assert_eq!(bed.endpoints(), ["10.0.0.1:80*1"]);
    }
}

#[tokio::test]
async fn the_last_good_answer_stays() {
    let server = Server::start().await;
    server.answer("app.test", &[a("10.0.0.1", 60)]);
    let bed = Bed::with(server, dns("app.test:80"), Files::new("", ""), |settings| {
        settings.timeout = Duration::from_millis(200);
    });
    bed.resolved().await;
    for (reply, error) in [
        (Reply::NoName, "no such name"),
        (Reply::Records(Vec::new()), "the name has no such records"),
        (Reply::ServerFailure, "the name server answered"),
        (Reply::Silence, "no answer in time"),
    ] {
        let before = bed.task.state().failures;
        bed.server.reply("app.test", reply);
        bed.until("failed", |state| state.failures > before).await;
        let state = bed.task.state();
        let found = state.error.unwrap();
        assert!(found.contains(error), "{found} for {error}");
        assert!(state.last_failure.is_some());
        assert_eq!(bed.endpoints(), ["10.0.0.1:80*1"]);

        let before = bed.task.state().successes;
        bed.server.answer("app.test", &[a("10.0.0.1", 60)]);
        bed.until("recovered", |state| state.successes > before)
            .await;
        assert!(bed.task.state().error.is_none());
    }
}

#[tokio::test]
async fn what_never_resolved_is_known_as_such() {
    let server = Server::start().await;
    let bed = Bed::new(server, dns("app.test:80"));
    timeout(DEADLINE, bed.task.tried_once()).await.unwrap();
    assert!(bed.cluster.endpoints().all.is_empty());
    let mut resolved = std::pin::pin!(bed.task.resolved_once());
    tokio::select! {
        biased;
        () = &mut resolved => panic!("there was no answer"),
        () = tokio::task::yield_now() => {}
    }
    bed.server.answer("app.test", &[a("10.0.0.1", 60)]);
    timeout(DEADLINE, resolved).await.unwrap();
}

#[tokio::test]
async fn a_truncated_answer_is_asked_for_over_tcp() {
    let server = Server::start().await;
    let records = (1..=200).map(|it| a(&format!("10.0.0.{it}"), 60)).collect();
    server.reply("app.test", Reply::TooLongForUdp(records));
    let bed = Bed::new(server, dns("app.test:80"));
    bed.resolved().await;
    assert_eq!(bed.endpoints().len(), 200);
}

#[tokio::test]
async fn endpoints_are_bounded() {
    let server = Server::start().await;
    let records: Vec<_> = (1..=20)
        .rev()
        .map(|it| a(&format!("10.0.0.{it}"), 60))
        .collect();
    server.answer("app.test", &records);
    let bed = Bed::with(server, dns("app.test:80"), Files::new("", ""), |settings| {
        settings.max_endpoints = 3;
    });
    bed.resolved().await;
    assert_eq!(
        bed.endpoints(),
        ["10.0.0.1:80*1", "10.0.0.2:80*1", "10.0.0.3:80*1"]
    );
}

#[tokio::test]
async fn a_lost_packet_is_sent_again() {
    let server = Server::start().await;
    server.answer("app.test", &[a("10.0.0.1", 60)]);
    server.lose(2);
    let bed = Bed::new(server, dns("app.test:80"));
    bed.resolved().await;
    assert_eq!(bed.task.state().failures, 0);
}

#[tokio::test]
async fn a_silent_family_does_not_take_the_other_along() {
    let server = Server::start().await;
    server.answer("app.test", &[a("10.0.0.1", 60), a("10.0.0.2", 60)]);
    server.reply_to("app.test", "AAAA", Reply::Silence);
    let began = Instant::now();
    let bed = Bed::with(server, dns("app.test:80"), Files::new("", ""), |settings| {
        settings.timeout = Duration::from_mins(1);
    });
    bed.resolved().await;
    // Left alone, the silent one would be asked three times for 5 s each.
    assert!(began.elapsed() < Duration::from_secs(10));
    assert_eq!(bed.endpoints(), ["10.0.0.1:80*1", "10.0.0.2:80*1"]);
}

#[tokio::test]
async fn a_family_that_fails_for_once_keeps_its_addresses() {
    let server = Server::start().await;
    server.answer(
        "app.test",
        &[a("127.0.0.1", 60), a("127.0.0.2", 60), aaaa("fd00::1", 60)],
    );
    let bed = Bed::new(server, dns("app.test:80"));
    bed.resolved().await;
    // Whether the third is among them depends on this machine's routes.
    let known = ["127.0.0.1:80*1", "127.0.0.2:80*1"];
    assert_eq!(bed.endpoints()[..2], known);
    bed.server.reply_to("app.test", "A", Reply::ServerFailure);
    bed.resolved_anew().await;
    assert_eq!(bed.endpoints()[..2], known);
    // That they are gone is another thing than not knowing.
    let none = Reply::Records(Vec::new());
    bed.server.reply_to("app.test", "A", none);
    bed.resolved_anew().await;
    assert_eq!(bed.endpoints(), ["[fd00::1]:80*1"]);
}

#[tokio::test]
async fn services_bring_port_and_weight() {
    let server = Server::start().await;
    server.answer(
        "_http._tcp.test",
        &[
            srv(1, 10, 81, "a.test"),
            srv(1, 20, 82, "b.test"),
            srv(1, 20, 83, "b.test"),
            srv(2, 1, 84, "c.test"),
        ],
    );
    server.answer("a.test", &[a("10.0.0.1", 60)]);
    server.answer("b.test", &[a("10.0.0.2", 60)]);
    server.answer("c.test", &[a("10.0.0.3", 60)]);
    let bed = Bed::new(server, srv_of("_http._tcp.test"));
    bed.resolved().await;
    assert_eq!(
        bed.endpoints(),
        ["10.0.0.1:81*10", "10.0.0.2:82*20", "10.0.0.2:83*20"]
    );

    // The others are there for when none of these is.
    bed.server.reply("a.test", Reply::NoName);
    bed.server.reply("b.test", Reply::NoName);
    bed.resolved_anew().await;
    assert_eq!(bed.endpoints(), ["10.0.0.3:84*1"]);
}

#[tokio::test]
async fn a_target_that_cannot_be_asked_for_keeps_its_place() {
    let server = Server::start().await;
    server.answer(
        "_http._tcp.test",
        &[
            srv(1, 1, 80, "a.test"),
            srv(1, 1, 80, "b.test"),
            srv(2, 1, 80, "c.test"),
        ],
    );
    server.answer("a.test", &[a("10.0.0.1", 60)]);
    server.answer("b.test", &[a("10.0.0.2", 60)]);
    server.answer("c.test", &[a("10.0.0.3", 60)]);
    let bed = Bed::new(server, srv_of("_http._tcp.test"));
    bed.resolved().await;
    bed.server.reply("a.test", Reply::ServerFailure);
    bed.resolved_anew().await;
    assert_eq!(bed.endpoints(), ["10.0.0.1:80*1", "10.0.0.2:80*1"]);
    // Nor do those of the next priority come in for a name server's fault.
    bed.server.reply("b.test", Reply::ServerFailure);
    bed.resolved_anew().await;
    assert_eq!(bed.endpoints(), ["10.0.0.1:80*1", "10.0.0.2:80*1"]);
}

#[tokio::test]
async fn the_root_as_target_is_no_service() {
    let server = Server::start().await;
    server.answer("_http._tcp.test", &[srv(0, 0, 0, ".")]);
    let bed = Bed::new(server, srv_of("_http._tcp.test"));
    timeout(DEADLINE, bed.task.tried_once()).await.unwrap();
    assert_eq!(
        &*bed.task.state().error.unwrap(),
        "the service has no target"
    );
}

#[tokio::test]
async fn the_hosts_file_comes_first_and_is_read_anew() {
    let server = Server::start().await;
    server.answer("app", &[a("10.9.9.9", 60)]);
    let bed = Bed::with(
        server,
        dns("app:80"),
        Files::new("", "10.0.0.1 app\n10.0.0.2 app"),
        |_| (),
    );
    bed.resolved().await;
    assert_eq!(bed.endpoints(), ["10.0.0.1:80*1", "10.0.0.2:80*1"]);
    assert!(bed.server.kinds_asked().is_empty());
    bed.files.write("hosts", "10.0.0.3 app");
    bed.resolved_anew().await;
    assert_eq!(bed.endpoints(), ["10.0.0.3:80*1"]);
    bed.files.write("hosts", "");
    bed.resolved_anew().await;
    assert_eq!(bed.endpoints(), ["10.9.9.9:80*1"]);
}

#[tokio::test]
async fn the_search_list_is_followed_and_read_anew() {
    let server = Server::start().await;
    server.answer("app.one.test", &[a("10.0.0.1", 60)]);
    server.answer("app.two.test", &[a("10.0.0.2", 60)]);
    server.answer("app", &[a("10.0.0.3", 60)]);
    let conf = |search: &str| format!("nameserver 127.0.0.1\nsearch {search}\noptions ndots:2\n");
    let bed = Bed::with(
        server,
        dns("app:80"),
        Files::new(&conf("none.test one.test"), ""),
        |_| (),
    );
    bed.resolved().await;
    assert_eq!(bed.endpoints(), ["10.0.0.1:80*1"]);
    bed.files.write("resolv.conf", &conf("two.test one.test"));
    bed.resolved_anew().await;
    assert_eq!(bed.endpoints(), ["10.0.0.2:80*1"]);
    bed.files.write("resolv.conf", &conf("none.test"));
    bed.resolved_anew().await;
    assert_eq!(bed.endpoints(), ["10.0.0.3:80*1"]);
}

#[tokio::test]
async fn an_unknown_candidate_is_not_skipped() {
    let server = Server::start().await;
    // Whether the first candidate exists cannot be found out; the second is another host.
    server.reply("app.one.test", Reply::Silence);
    server.answer("app", &[a("10.0.0.3", 60)]);
    let conf = "nameserver 127.0.0.1\nsearch one.test\noptions timeout:1 attempts:1\n";
    let bed = Bed::with(server, dns("app:80"), Files::new(conf, ""), |settings| {
        settings.timeout = Duration::from_mins(1);
    });
    bed.until("failed", |state| state.failures > 0).await;
    assert!(bed.cluster.endpoints().all.is_empty());
}

#[tokio::test]
async fn without_a_name_server_there_is_an_error() {
    let server = Server::start().await;
    let bed = Bed::with(server, dns("app.test:80"), Files::new("", ""), |settings| {
        settings.servers.clear();
    });
    timeout(DEADLINE, bed.task.tried_once()).await.unwrap();
    let error = bed.task.state().error.unwrap();
    assert!(error.contains("no name server"), "{error}");
}

#[tokio::test]
async fn a_failed_connect_asks_at_once_but_not_more_than_once_a_second() {
    let server = Server::start().await;
    server.answer("app.test", &[a("10.0.0.1", 3_600)]);
    let began = Instant::now();
    let bed = Bed::with(server, dns("app.test:80"), Files::new("", ""), |settings| {
        settings.max_ttl = Duration::from_hours(1);
    });
    bed.resolved().await;
    bed.server.answer("app.test", &[a("10.0.0.2", 3_600)]);
    bed.cluster.connect_failed();
    bed.until("asked", |state| state.successes == 2).await;
    assert_eq!(bed.endpoints(), ["10.0.0.2:80*1"]);
    assert!(began.elapsed() >= FLOOR);
    bed.cluster.connect_failed();
    bed.cluster.connect_failed();
    bed.until("asked again", |state| state.successes == 3).await;
    assert!(began.elapsed() >= 2 * FLOOR);
}

#[tokio::test]
async fn an_address_is_there_at_once() {
    let server = Server::start().await;
    for (name, expected) in [
        ("10.0.0.1:80", "10.0.0.1:80*1"),
        ("[fd00::1]:80", "[fd00::1]:80*1"),
        ("fd00::1:80", ""),
    ] {
        let (host, port) = name.rsplit_once(':').unwrap();
        let mut dns = dns(name);
        dns.name.host = host.into();
        dns.name.port = (!expected.is_empty()).then(|| port.parse().unwrap());
        let bed = Bed::new(Server::start().await, dns);
        let state = bed.task.state();
        if expected.is_empty() {
            assert_eq!(&*state.error.unwrap(), "an address needs a port");
        } else {
            assert_eq!(bed.endpoints(), [expected]);
            assert_eq!((state.successes, state.next), (1, None));
            timeout(DEADLINE, bed.task.resolved_once()).await.unwrap();
        }
    }
    assert!(server.kinds_asked().is_empty());
}

#[tokio::test]
async fn a_dropped_task_ends() {
    let server = Server::start().await;
    server.answer("app.test", &[a("10.0.0.1", 60)]);
    let bed = Bed::new(server, dns("app.test:80"));
    bed.resolved().await;
    let mut state = bed.task.state.clone();
    drop(bed.task);
    let ended = async { while state.changed().await.is_ok() {} };
    timeout(DEADLINE, ended).await.unwrap();
}

#[test]
fn retries_become_slower() {
    for (failures, millis) in [
        (0, 100),
        (1, 100),
        (2, 200),
        (3, 400),
        (7, 6_400),
        (8, 10_000),
        (1_000, 10_000),
    ] {
        assert_eq!(retry_after(failures), Duration::from_millis(millis));
    }
    let second = Duration::from_secs(1);
    for _ in 0..1_000 {
        let jittered = jittered(second, 0.1);
        assert!((900..=1_100).contains(&jittered.as_millis()));
    }
}
