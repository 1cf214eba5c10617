//! A new file takes the place of the old one: by rename, by the link of a `ConfigMap`, by SIGHUP;
//! and a bad one changes nothing and says why.

use std::fs;

use outrigger_tests::{
    client::{Client, request},
    process::Signal,
    proxy::{Proxy, Setup, simple},
    upstream::Upstream,
    wait,
    wire::Address,
};

fn answering(word: &str) -> String {
    format!(
        "listeners: [{{ name: web, bind: '127.0.0.1:0', protocol: http }}]
routes: [{{ name: all, rules: [{{ filters: [{{ direct_response: {{ status: 200, body: {word} }} }}] }}] }}]"
    )
}

fn says(proxy: &Proxy, word: &str) {
    wait::until(word, || {
        (Client::connect(proxy.web()).get("/").text() == word).then_some(())
    });
}

#[test]
fn by_rename() {
    let mut proxy = Proxy::start(&answering("one"));
    says(&proxy, "one");
    for n in 0..5 {
        let word = format!("word{n}");
        proxy.rewrite(&answering(&word));
        says(&proxy, &word);
    }
}

#[test]
fn by_writing_in_place() {
    let proxy = Proxy::start(&answering("one"));
    let text = fs::read_to_string(proxy.config_path()).unwrap();
    fs::write(proxy.config_path(), text.replace("one", "two")).unwrap();
    says(&proxy, "two");
}

#[test]
fn by_the_link_of_a_config_map() {
    let mut proxy = Setup::new(&answering("one")).config_map().start();
    says(&proxy, "one");
    for n in 0..3 {
        let word = format!("word{n}");
        proxy.rewrite(&answering(&word));
        says(&proxy, &word);
    }
}

#[test]
fn by_signal_also_when_nothing_changed() {
    let proxy = Proxy::start(&answering("one"));
    let reloads = || proxy.metrics().sum("outrigger_config_reloads_total", &[]);
    let before = reloads();
    proxy.signal(Signal::Hup);
    wait::until("a reload", || (reloads() > before).then_some(()));
    says(&proxy, "one");
}

#[test]
fn a_bad_file_changes_nothing_and_says_why() {
    let mut proxy = Proxy::start(&answering("one"));
    let table = proxy.table();
    let rejected = |proxy: &Proxy| {
        proxy
            .metrics()
            .sum("outrigger_config_reloads_total", &[("result", "rejected")])
    };
    for (n, bad) in [
        "listeners: [{ name: web, bind: '127.0.0.1:0', protocl: http }]".to_owned(),
        answering("two").replace("status: 200", "status: 99"),
        "listeners: [".to_owned(),
        // A cluster that does not exist.
        "listeners: [{ name: web, bind: '127.0.0.1:0', protocol: tcp, cluster: nowhere }]"
            .to_owned(),
    ]
    .iter()
    .enumerate()
    {
        proxy.rewrite(bad);
        wait::until("the refusal to be counted", || {
            (rejected(&proxy) >= (n + 1) as f64).then_some(())
        });
        assert_eq!(proxy.table(), table);
        assert_eq!(Client::connect(proxy.web()).get("/").text(), "one");
        let gauge = proxy
            .metrics()
            .sum("outrigger_config_last_reload_successful", &[]);
        assert!(gauge.abs() < 0.5, "{gauge}");
    }
    wait::until("the log to name the field", || {
        proxy.process.stderr().contains("protocl").then_some(())
    });
    proxy.rewrite(&answering("three"));
    says(&proxy, "three");
}

/// A file that is gone for a while is no reason to stop, and is read when it is back.
#[test]
fn a_file_that_vanishes_and_comes_back() {
    let mut proxy = Proxy::start(&answering("one"));
    fs::remove_file(proxy.config_path()).unwrap();
    proxy.signal(Signal::Hup);
    wait::until("the refusal to be counted", || {
        let labels = [("result", "rejected")];
        let n = proxy
            .metrics()
            .sum("outrigger_config_reloads_total", &labels);
        (n >= 1.0).then_some(())
    });
    assert_eq!(Client::connect(proxy.web()).get("/").text(), "one");
    proxy.rewrite(&answering("two"));
    says(&proxy, "two");
}

#[test]
fn a_port_that_is_taken_leaves_the_old_table() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut proxy = Proxy::start(&answering("one"));
    let table = proxy.table();
    proxy.rewrite(&format!(
        "{}\n",
        answering("two").replace(
            "protocol: http }]",
            &format!(
                "protocol: http }}, {{ name: more, bind: '{}', protocol: http }}]",
                taken.local_addr().unwrap()
            )
        )
    ));
    wait::until("the refusal to be counted", || {
        let n = proxy
            .metrics()
            .sum("outrigger_config_reloads_total", &[("result", "rejected")]);
        (n >= 1.0).then_some(())
    });
    assert_eq!(proxy.table(), table);
    assert_eq!(Client::connect(proxy.web()).get("/").text(), "one");
}

#[test]
fn a_request_ends_on_the_table_it_began_with() {
    let gate = std::sync::Arc::new(wait::Gate::default());
    let upstream = {
        let gate = gate.clone();
        Upstream::script(move |peer| {
            while let Some(request) = peer.request() {
                if request.target() == "/slow" {
                    gate.pass();
                }
                peer.answer(200, b"old");
            }
        })
    };
    let mut proxy = Proxy::start(&simple(&[&upstream.address]));
    let mut client = Client::connect(proxy.web());
    client.send(request("GET", "/slow", &[], b""));
    wait::until("the request to be upstream", || {
        (upstream.count() == 1).then_some(())
    });
    proxy.reload(&answering("new"));
    assert_eq!(Client::connect(proxy.web()).get("/").text(), "new");
    gate.open();
    assert_eq!(client.response().text(), "old");
    // The same connection, now on the new table.
    assert_eq!(client.get("/").text(), "new");
}

#[test]
fn listeners_come_and_go_and_unchanged_ones_keep_their_connections() {
    let two = "listeners:
  - { name: web, bind: '127.0.0.1:0', protocol: http }
  - { name: more, bind: '127.0.0.1:0', protocol: http }
routes: [{ name: all, rules: [{ filters: [{ direct_response: { status: 200, body: ok } }] }] }]";
    let mut proxy = Proxy::start(two);
    let more = proxy.listener("more");
    let mut kept = Client::connect(proxy.web());
    let mut leaving = Client::connect(more.clone());
    assert_eq!(
        (kept.get("/").text(), leaving.get("/").text()),
        ("ok".into(), "ok".into())
    );
    proxy.reload(&answering("new"));
    wait::until("the removed listener to refuse", || {
        Client::try_connect(&more).err()
    });
    assert_eq!(kept.get("/").text(), "new");
    // Its idle connection was asked to go; none is cut within a request.
    leaving.expect_end();
    // And back again, with what it needs.
    proxy.reload(two);
}

#[test]
fn unchanged_clusters_keep_their_pools() {
    let upstream = Upstream::fixed("ok");
    let text = simple(&[&upstream.address]);
    let mut proxy = Proxy::start(&text);
    let mut client = Client::connect(proxy.web());
    assert_eq!(client.get("/").text(), "ok");
    for n in 0..5 {
        proxy.reload(&text.replace(
            "rules: [{",
            &format!("rules: [{{ matches: [{{ path: {{ prefix: /n{n} }} }}, {{}}],"),
        ));
        assert_eq!(client.get("/").text(), "ok");
        assert_eq!(Client::connect(proxy.web()).get("/").text(), "ok");
        // None was closed by the swap.
        assert_eq!(upstream.open(), upstream.connections());
    }
    // The last one is counted when its answer is on its way already.
    wait::until("counters to live on", || {
        let sent = proxy
            .metrics()
            .sum("outrigger_upstream_requests_total", &[("cluster", "back")]);
        ((sent - 11.0).abs() < 0.5).then_some(())
    });
}

fn says_at(address: &Address, word: &str) {
    wait::until(word, || {
        (Client::connect(address.clone()).get("/").text() == word).then_some(())
    });
}

/// A listener's name is what state hangs on; clients do not know it.
#[test]
fn a_renamed_listener_serves_what_its_connections_ask() {
    let mut proxy = Proxy::start(&answering("one"));
    let at = proxy.web();
    let renamed = |word: &str| {
        let bind = format!("name: other, bind: '{at}'");
        answering(word).replace("name: web, bind: '127.0.0.1:0'", &bind)
    };
    let fixed = answering("one").replace("127.0.0.1:0", &at.to_string());
    proxy.reload(&fixed);
    let mut kept = Client::connect(at);
    assert_eq!(kept.get("/").text(), "one");
    proxy.reload(&renamed("two"));
    let last = kept.get("/");
    assert_eq!((last.status(), last.text().as_str()), (200, "one"));
    assert!(last.has_token("connection", "close"), "{last:?}");
    kept.expect_end();
    says_at(&at.into(), "two");
}

/// The old socket is in the way of the new one, but it is our own.
#[test]
fn a_listener_moves_to_every_address_of_its_port_and_back() {
    let mut proxy = Proxy::start(&answering("one"));
    let at = proxy.web();
    for (bind, word) in [
        (format!("0.0.0.0:{}", at.port()), "two"),
        (format!("[::]:{}", at.port()), "three"),
        (at.to_string(), "four"),
    ] {
        proxy.reload(&answering(word).replace("127.0.0.1:0", &bind));
        says_at(&at.into(), word);
    }
}

#[test]
fn a_unix_listener_changes_and_is_renamed_at_its_path() {
    let bind = |text: &str| text.replace("127.0.0.1:0", "unix:DIR/web.sock");
    let mut proxy = Proxy::start(&bind(&answering("one")));
    let at = proxy.listener("web");
    let mut kept = Client::connect(at.clone());
    assert_eq!(kept.get("/").text(), "one");
    let backlog = answering("two").replace("protocol: http", "protocol: http, backlog: 7");
    let renamed = answering("three").replace("name: web", "name: other");
    for (text, word) in [(backlog, "two"), (renamed, "three")] {
        proxy.reload(&bind(&text));
        says_at(&at, word);
    }
    // What is refused leaves the socket where it is, and nothing beside it.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let second = format!(
        "listeners: [{{ name: taken, bind: '{}', protocol: http }}, ",
        taken.local_addr().unwrap()
    );
    let refused = answering("four").replace("listeners: [", &second);
    let table = proxy.table();
    proxy.rewrite(&bind(&refused));
    wait::until("the refusal", || {
        let labels = [("result", "rejected")];
        let n = proxy
            .metrics()
            .sum("outrigger_config_reloads_total", &labels);
        (n >= 1.0).then_some(())
    });
    assert_eq!(proxy.table(), table);
    assert_eq!(Client::connect(at).get("/").text(), "three");
    let files = fs::read_dir(proxy.dir.path()).unwrap();
    let names = files.map(|f| f.unwrap().file_name().into_string().unwrap());
    let left: Vec<_> = names.filter(|name| name.starts_with('.')).collect();
    assert_eq!(left, [""; 0]);
}

#[test]
fn each_problem_has_a_line_of_its_own_in_the_log() {
    let mut proxy = Proxy::start(&answering("one"));
    proxy.rewrite("lisners: []\nrotes: []");
    let log = wait::until("two problems", || {
        let log = proxy.process.stderr();
        log.contains("rotes").then_some(log)
    });
    let problems = log.lines().filter(|line| line.contains("unknown field"));
    assert_eq!(problems.count(), 2, "{log}");
}

/// Kept connections to an endpoint that left its cluster are closed soon, on every worker.
#[test]
fn an_endpoint_that_is_removed_is_let_go() {
    let (stays, goes) = (Upstream::fixed("stays"), Upstream::fixed("goes"));
    let both = simple(&[&stays.address, &goes.address])
        .replace("endpoints:", "balance: round_robin, endpoints:");
    let mut proxy = Setup::new(&both).mesh("workers: 2").start();
    let mut clients: Vec<_> = (0..16).map(|_| Client::connect(proxy.web())).collect();
    for client in &mut clients {
        for _ in 0..4 {
            assert_eq!(client.get("/").status(), 200);
        }
    }
    assert!(goes.open() > 0);
    proxy.reload(&both.replace(&format!(", '{}'", goes.address), ""));
    wait::until("its connections to be closed", || {
        (goes.open() == 0).then_some(())
    });
}
