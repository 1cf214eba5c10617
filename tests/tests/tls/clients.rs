//! Clients that show certificates, or should.

use std::sync::Arc;

use outrigger_tests::{secure::Authority, upstream::Upstream};

use super::{get, site, start};

#[test]
fn only_clients_of_our_authority_come_in() {
    let (dir, authority) = site();
    authority.issue(dir.path(), "good", &["client.example"]);
    authority.issue_until(dir.path(), "late", &["client.example"], 2_002);
    Authority::new().issue(dir.path(), "strange", &["client.example"]);
    let upstream = Upstream::fixed("hello");
    let client = |own: Option<&str>| {
        let own = own.map(|stem| (dir.path(), stem));
        Arc::new(authority.client_with(&["http/1.1"], own))
    };
    let ca = format!(", client_ca: [{}]", dir.file("ca.pem").display());

    let required = start(
        &dir,
        &format!("{ca}, client_certificates: required"),
        &upstream,
    );
    let good = client(Some("good"));
    // The second time by resumption.
    for _ in 0..2 {
        assert_eq!(get(&required, &good).unwrap(), 200);
    }
    let resumed = [("listener", "web"), ("result", "resumed")];
    let resumed = required
        .metrics()
        .sum("outrigger_tls_handshakes_total", &resumed);
    assert!((resumed - 1.0).abs() < 0.1, "{resumed}");
    upstream.take();
    // A line may be written after the client has its answer.
    let mut lines = 2;
    for (own, cause, alert) in [
        (None, "client_certificate_missing", "CertificateRequired"),
        (
            Some("late"),
            "client_certificate_expired",
            "CertificateExpired",
        ),
        (
            Some("strange"),
            "client_certificate_unknown_ca",
            "UnknownCA",
        ),
    ] {
        let error = get(&required, &client(own)).unwrap_err();
        assert!(error.to_string().contains(alert), "{own:?}: {error}");
        lines += 1;
        let line = required.log_of(lines).pop().unwrap();
        assert_eq!(line["cause"], cause, "{line}");
    }
    assert_eq!(upstream.count(), 0);

    let optional = start(
        &dir,
        &format!("{ca}, client_certificates: optional"),
        &upstream,
    );
    assert_eq!(get(&optional, &client(None)).unwrap(), 200);
    assert_eq!(get(&optional, &good).unwrap(), 200);
    assert!(get(&optional, &client(Some("strange"))).is_err());
}
