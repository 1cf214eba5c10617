//! TLS that is ended and begun by the proxy: certificates by name, who clients and endpoints are,
//! what is refused and how it is called, and files that change.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a panic is how a test fails"
)]

mod clients;
mod endpoints;
mod listener;
mod renewal;

use std::sync::Arc;

use outrigger_tests::{
    client::request,
    files::TempDir,
    proxy::{Proxy, Setup},
    secure::{Authority, Secured},
    upstream::Upstream,
};
use rustls::ClientConfig;

/// A folder with an authority (`ca.pem`) and a certificate `site` for `a.example`.
fn site() -> (TempDir, Authority) {
    let dir = TempDir::new();
    let authority = Authority::new();
    authority.write(&dir.file("ca.pem"));
    authority.issue(dir.path(), "site", &["a.example"]);
    (dir, authority)
}

/// The listener `web` with these settings of `tls` beside its certificate `site`, before a cluster.
fn text(dir: &TempDir, tls: &str, upstream: &Upstream) -> String {
    format!(
        "listeners: [{{ name: web, bind: '127.0.0.1:0', protocol: http, tls: {{ certificates: [{{ cert: FILES/site.pem, key: FILES/site.key }}] {tls} }} }}]
routes: [{{ name: all, rules: [{{ backends: [{{ cluster: back }}] }}] }}]
clusters: [{{ name: back, endpoints: ['{}'] }}]",
        upstream.address
    )
    .replace("FILES", &dir.path().display().to_string())
}

fn start(dir: &TempDir, tls: &str, upstream: &Upstream) -> Proxy {
    Setup::new(&text(dir, tls, upstream)).start()
}

/// One request on a connection of its own; an error where there is no answer.
fn get(proxy: &Proxy, config: &Arc<ClientConfig>) -> std::io::Result<u16> {
    let mut client = Secured::connect(proxy.web(), "a.example", config)?;
    let answer = client.ask(&request("GET", "/", &[], b""))?;
    Ok(answer.status())
}
