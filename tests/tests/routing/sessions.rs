//! Session persistence by a cookie of our own.

use outrigger_tests::{
    client::{Client, request},
    proxy::{Proxy, list},
    upstream::Upstream,
    wire::Address,
};

use super::named;

fn text(endpoints: &[&Address]) -> String {
    format!(
        "listeners: [{{ name: web, bind: '127.0.0.1:0', protocol: http }}]
routes:
  - name: all
    rules:
      - session: {{ cookie: home, path: /app, max_age: 1h }}
        backends: [{{ cluster: back }}]
clusters: [{{ name: back, endpoints: {}, balance: round_robin }}]",
        list(endpoints)
    )
}

/// Asks without a cookie; returns who answered and the cookie given.
fn first_visit(proxy: &Proxy) -> (String, String) {
    let mut client = Client::connect(proxy.web());
    let answer = client.get("/app");
    let given = answer.field("set-cookie").expect("a cookie").to_owned();
    let cookie = given.split(';').next().unwrap().to_owned();
    assert!(cookie.starts_with("home="), "{given}");
    for attribute in ["Path=/app", "Max-Age=3600", "HttpOnly"] {
        assert!(given.contains(attribute), "{attribute} in {given}");
    }
    // Decision 14: a Secure cookie only over TLS.
    assert!(!given.contains("Secure"), "{given}");
    (answer.text(), cookie)
}

fn visit(proxy: &Proxy, cookie: &str) -> outrigger_tests::http::Message {
    let mut client = Client::connect(proxy.web());
    client.send(request(
        "GET",
        "/app",
        &[&format!("Cookie: a=b; {cookie}; c=d")],
        b"",
    ));
    client.response()
}

#[test]
fn a_client_stays_where_it_was_first_served() {
    let upstreams: Vec<Upstream> = ["a", "b", "c"].map(named).into();
    let addresses: Vec<_> = upstreams.iter().map(|u| &u.address).collect();
    let proxy = Proxy::start(&text(&addresses));
    for _ in 0..6 {
        let (home, cookie) = first_visit(&proxy);
        for _ in 0..10 {
            let answer = visit(&proxy, &cookie);
            assert_eq!(answer.text(), home);
            assert!(answer.field("set-cookie").is_none(), "{answer}");
        }
    }
}

#[test]
fn cookies_survive_a_reload_and_do_not_outlive_their_endpoint() {
    let upstreams: Vec<Upstream> = ["a", "b", "c"].map(named).into();
    let addresses: Vec<_> = upstreams.iter().map(|u| &u.address).collect();
    let mut proxy = Proxy::start(&text(&addresses));
    let homes: Vec<_> = (0..3).map(|_| first_visit(&proxy)).collect();
    // `c` goes: those of `a` and `b` stay, the others get a new home and a new cookie.
    proxy.reload(&text(&addresses[..2]));
    for (home, cookie) in homes {
        let answer = visit(&proxy, &cookie);
        if home == "c" {
            assert_ne!(answer.text(), "c");
            assert!(answer.field("set-cookie").is_some(), "{answer}");
        } else {
            assert_eq!(answer.text(), home);
        }
    }
}

/// A cookie is a hint: made-up ones lead nowhere in particular, and never to another address.
#[test]
fn forged_cookies_are_ignored() {
    let outside = named("outside");
    let upstreams: Vec<Upstream> = ["a", "b"].map(named).into();
    let addresses: Vec<_> = upstreams.iter().map(|u| &u.address).collect();
    let proxy = Proxy::start(&text(&addresses));
    for value in [
        "",
        "x",
        &outside.address.to_string(),
        "127.0.0.1:1",
        &"9".repeat(2_000),
        "%00\u{7f}",
    ] {
        let mut client = Client::connect(proxy.web());
        let line = format!("Cookie: home={}", value.replace('\u{7f}', ""));
        client.send(request("GET", "/app", &[&line], b""));
        let answer = client.response();
        assert!(
            ["a", "b"].contains(&answer.text().as_str()),
            "{value}: {answer}"
        );
    }
    assert_eq!(outside.connections(), 0);
}
