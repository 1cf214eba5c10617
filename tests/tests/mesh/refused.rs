//! Who is not let in and whom nothing is sent to: each with its own cause word.

use std::{fs, sync::Arc};

use outrigger_tests::{
    client::get,
    files::TempDir,
    proxy::{Proxy, run},
    secure::{Authority, Secured},
    upstream::Upstream,
};
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, SanType,
    SerialNumber, date_time_ymd,
};
use rustls::{
    ClientConfig,
    version::{TLS12, TLS13},
};

use super::{API, Domain, WEB, outbound};

type Edit = fn(&mut CertificateParams);

fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

/// What is wrong with a certificate of `web`, and how it is called: of a client, of an endpoint.
const WRONG: [(Edit, &str, &str); 7] = [
    (
        |params| params.not_after = date_time_ymd(2_002, 1, 1),
        "client_certificate_expired",
        "tls_certificate_expired",
    ),
    (
        |params| params.not_before = date_time_ymd(2_090, 1, 1),
        "client_certificate_not_yet_valid",
        "tls_certificate_not_yet_valid",
    ),
    (
        |params| {
            params
                .subject_alt_names
                .push(uri("spiffe://shop.example/b"));
        },
        "client_certificate_wrong_identity",
        "tls_certificate_name_mismatch",
    ),
    (
        |params| params.subject_alt_names = vec![uri("spiffe://else.example/web")],
        "client_certificate_wrong_trust_domain",
        "tls_certificate_wrong_trust_domain",
    ),
    (
        |params| params.serial_number = Some(SerialNumber::from(66)),
        "client_certificate_revoked",
        "tls_certificate_revoked",
    ),
    (
        |params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained),
        "client_certificate_invalid",
        "tls_certificate_error",
    ),
    (
        |params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::EmailProtection],
        "client_certificate_invalid",
        "tls_certificate_error",
    ),
];

fn workload(params: &mut CertificateParams) {
    params.subject_alt_names = vec![uri(WEB)];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
}

/// A domain whose authority signs whatever a test asks for, and has taken number 66 back.
struct Loose {
    domain: Domain,
    dir: TempDir,
    authority: Authority,
}

impl Loose {
    fn new() -> Self {
        let (dir, authority) = (TempDir::new(), Authority::new());
        authority.write(&dir.file("ca.pem"));
        authority.revoke(&dir.file("crl.pem"), &[66]);
        Self {
            domain: Domain::new(),
            dir,
            authority,
        }
    }

    /// The proxy of `api` by the tidy authority, which trusts the loose one.
    fn start(&self, rest: &str) -> Proxy {
        let trust = format!(
            "trust: [{{ name: shop.example, roots: [{0}/ca.pem, {1}], revocation_lists: [{0}/crl.pem] }}]\n",
            self.dir.path().display(),
            self.domain.path().join("ca/ca.crt").display(),
        );
        outrigger_tests::proxy::Setup::new(&format!("{trust}{rest}"))
            .mesh(&self.domain.identity("api"))
            .start()
    }

    fn issue(&self, edit: impl FnOnce(&mut CertificateParams)) {
        self.authority.issue_with(self.dir.path(), "x", |params| {
            workload(params);
            edit(params);
        });
    }
}

fn ask(proxy: &Proxy, config: ClientConfig) -> std::io::Result<u16> {
    let mut client = Secured::connect(proxy.web(), "any.example", &Arc::new(config))?;
    let get = outrigger_tests::client::request("GET", "/", &[], b"");
    Ok(client.ask(&get)?.status())
}

#[test]
fn clients_that_are_not_who_they_must_be() {
    let loose = Loose::new();
    let upstream = Upstream::fixed("hello");
    let proxy = loose.start(&format!(
        "listeners: [{{ name: web, bind: '127.0.0.1:0', direction: inbound }}]
routes: [{{ name: all, rules: [{{ backends: [{{ cluster: back }}] }}] }}]
clusters: [{{ name: back, endpoints: ['{}'] }}]",
        upstream.address
    ));
    let own = Some((loose.dir.path(), "x"));
    let shown = || Authority::client_of_mesh(own, &[&TLS13]);
    loose.issue(|_| {});
    assert_eq!(ask(&proxy, shown()).unwrap(), 200);
    let mut lines = 1;
    let mut refused = |config: ClientConfig, cause: &str| {
        let asked = ask(&proxy, config);
        assert!(asked.is_err(), "{cause}: {asked:?}");
        lines += 1;
        let line = proxy.log_of(lines).pop().unwrap();
        assert_eq!(line["cause"], cause, "{line}");
    };
    for (edit, cause, _) in WRONG {
        loose.issue(edit);
        refused(shown(), cause);
    }
    refused(
        Authority::client_of_mesh(None, &[&TLS13]),
        "client_certificate_missing",
    );
    let stranger = Authority::new();
    stranger.issue_with(loose.dir.path(), "x", workload);
    refused(shown(), "client_certificate_unknown_ca");
    // TLS 1.2, though its certificate is right.
    loose.issue(|_| {});
    refused(
        Authority::client_of_mesh(own, &[&TLS12]),
        "tls_handshake_failed",
    );
    assert_eq!(upstream.count(), 1);
}

#[test]
fn endpoints_that_are_not_who_they_must_be() {
    let loose = Loose::new();
    for (edit, _, cause) in WRONG {
        loose.issue(edit);
        let (address, server) =
            outrigger_tests::secure::serve_once(loose.dir.path(), "x", |stream| {
                let _ = std::io::Read::read(stream, &mut [0; 64]).unwrap_err();
            });
        let proxy = loose.start(&format!(
            "listeners: [{{ name: web, bind: '127.0.0.1:0', direction: outbound }}]
routes: [{{ name: all, rules: [{{ backends: [{{ cluster: peer }}] }}] }}]
clusters: [{{ name: peer, endpoints: ['{address}'], identities: ['{WEB}'], safe_resends: 0 }}]"
        ));
        assert_eq!(get(proxy.web(), "/").status(), 502, "{cause}");
        let line = proxy.log_of(1).remove(0);
        assert_eq!(line["cause"], cause, "{line}");
        server.join().unwrap();
    }
}

#[test]
fn the_right_domain_and_another_workload() {
    let domain = Domain::new();
    domain.issue("other", &[]);
    let upstream = Upstream::fixed("hello");
    let inbound = domain.inbound("", &upstream.address.to_string());
    let proxy = domain.start(
        "web",
        &outbound(&inbound, "spiffe://shop.example/other", ""),
    );
    assert_eq!(get(proxy.web(), "/").status(), 502);
    let line = proxy.log_of(1).remove(0);
    assert_eq!(line["cause"], "tls_certificate_name_mismatch", "{line}");
    assert_eq!(upstream.count(), 0);
    let right = domain.start("web", &outbound(&inbound, API, ""));
    assert_eq!(get(right.web(), "/").status(), 200);
}

#[test]
fn without_its_files_nothing_starts_and_a_bad_one_changes_nothing() {
    let domain = Domain::new();
    let upstream = Upstream::fixed("hello");
    let inbound = domain.inbound("", &upstream.address.to_string());
    let outbound = domain.outbound(&inbound, API, "");
    assert_eq!(get(outbound.web(), "/").status(), 200);
    // The key of another workload.
    let issued = domain.path().join("ca/issued");
    fs::copy(issued.join("api/tls.key"), issued.join("web/new")).unwrap();
    fs::rename(issued.join("web/new"), issued.join("web/tls.key")).unwrap();
    let rejected = outrigger_tests::wait::until("the refusal", || {
        let rejected = outbound.ask_json("/config")["rejected"].clone();
        (!rejected.is_null()).then_some(rejected)
    });
    let problem = rejected["problems"][0].as_str().unwrap();
    assert!(
        problem.starts_with("mesh.identity.cert: ") && problem.contains("not the key"),
        "{problem}"
    );
    assert_eq!(get(outbound.web(), "/").status(), 200);
    // A process that begins with that does not.
    let config = outbound.config_path().display().to_string();
    let seen = run(&["run", "--config", &config]);
    assert!(
        seen.stderr.contains("mesh.identity.cert: "),
        "{}",
        seen.stderr
    );
}
