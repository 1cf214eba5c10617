//! Proxies that know each other: mTLS between two of them, who is let in and who is not, what is
//! told of a client, and certificates that change.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a panic is how a test fails"
)]

mod pair;
mod permissive;
mod policy;
mod refused;
mod renewal;

use std::path::Path;

use outrigger_tests::{
    files::TempDir,
    proxy::{Proxy, Setup, run},
};

/// A trust domain with its authority, made by the proxy's own command.
struct Domain(TempDir);

impl Domain {
    /// `shop.example`, with the workloads `web` and `api`.
    fn new() -> Self {
        let domain = Self::of("shop.example");
        domain.issue("web", &[]);
        domain.issue("api", &[]);
        domain
    }

    fn of(name: &str) -> Self {
        let dir = TempDir::new();
        let ca = dir.file("ca").display().to_string();
        let _ = run(&["ca", "init", "--dir", &ca, "--trust-domain", name]).success();
        Self(dir)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// A certificate for a workload in `ca/issued/`, with more arguments of `ca issue`.
    fn issue(&self, workload: &str, more: &[&str]) {
        let ca = self.0.file("ca").display().to_string();
        let id = format!("spiffe://shop.example/{workload}");
        let fixed = ["ca", "issue", "--dir", &ca, "--id", &id, "--force"];
        let _ = run(&[&fixed[..], more].concat()).success();
    }

    /// Settings of `mesh` for a workload.
    fn identity(&self, workload: &str) -> String {
        let dir = self.0.file("ca/issued").join(workload);
        let dir = dir.display();
        format!("identity: {{ cert: {dir}/tls.crt, key: {dir}/tls.key }}")
    }

    /// Trust in this domain.
    fn trust(&self) -> String {
        let root = self.0.file("ca/ca.crt");
        format!(
            "trust: [{{ name: shop.example, roots: [{}] }}]\n",
            root.display()
        )
    }

    /// The proxy of a workload.
    fn start(&self, workload: &str, rest: &str) -> Proxy {
        Setup::new(&format!("{}{rest}", self.trust()))
            .mesh(&self.identity(workload))
            .start()
    }

    /// The proxy before `api`, which listens strictly for others of the mesh.
    fn inbound(&self, listener: &str, endpoint: &str) -> Proxy {
        self.start(
            "api",
            &format!(
                "listeners: [{{ name: web, bind: '127.0.0.1:0', direction: inbound{listener} }}]
routes: [{{ name: all, rules: [{{ backends: [{{ cluster: back }}] }}] }}]
clusters: [{{ name: back, endpoints: ['{endpoint}'] }}]"
            ),
        )
    }

    /// The proxy of `web`, towards one that must be `identity`.
    fn outbound(&self, to: &Proxy, identity: &str, cluster: &str) -> Proxy {
        self.start("web", &outbound(to, identity, cluster))
    }
}

fn outbound(to: &Proxy, identity: &str, cluster: &str) -> String {
    format!(
        "listeners: [{{ name: web, bind: '127.0.0.1:0', direction: outbound }}]
routes: [{{ name: all, rules: [{{ backends: [{{ cluster: peer }}] }}] }}]
clusters: [{{ name: peer, endpoints: ['{}'], identities: ['{identity}']{cluster} }}]",
        to.web()
    )
}

const API: &str = "spiffe://shop.example/api";
const WEB: &str = "spiffe://shop.example/web";
