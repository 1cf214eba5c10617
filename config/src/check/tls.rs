//! TLS of listeners and clusters. Whether the files are there and right is seen where they are read.

use super::Checker;
use crate::model::{
    Authorities, ClientCertificates, Cluster, ClusterTls, EndpointAddress, Listener, ListenerTls,
    Protocol, Text, Verify, is_host,
};

/// Longest name of a protocol (RFC 7301 section 3.1).
const LONGEST_PROTOCOL: usize = 255;

pub(super) fn check_listener(listener: &Listener, checker: &mut Checker<'_>) {
    let Some(tls) = &listener.tls else { return };
    checker.field("tls", |checker| {
        if listener.protocol == Protocol::TlsPassthrough || listener.tls_routes.is_some() {
            let expected = "no tls with `protocol: tls_passthrough` or `tls_routes`; \
                            what passes through is not ended here";
            checker.problem("found settings", expected);
        }
        if tls.certificates.is_empty() && !checker.is_unread() {
            checker.problem_at("certificates", "found no certificates", "at least one");
        }
        checker.each("certificates", &tls.certificates, |checker, certificate| {
            file("cert", &certificate.cert, checker);
            file("key", &certificate.key, checker);
            if let Some(ocsp) = &certificate.ocsp {
                file("ocsp", ocsp, checker);
            }
        });
        check_clients(tls, checker);
        check_alpn(listener.protocol, tls, checker);
    });
}

fn check_clients(tls: &ListenerTls, checker: &mut Checker<'_>) {
    checker.each("client_ca", &tls.client_ca, |checker, path| {
        file_here(path, checker);
    });
    match (tls.client_certificates, tls.client_ca.is_empty()) {
        (ClientCertificates::Off, false) => {
            let expected = "no authorities with `client_certificates: off`; nobody is asked";
            checker.problem_at("client_ca", "found files", expected);
        }
        (ClientCertificates::Optional | ClientCertificates::Required, true) => {
            checker.missing("client_ca", "files with the authorities of clients");
        }
        _ => {}
    }
}

fn check_alpn(protocol: Protocol, tls: &ListenerTls, checker: &mut Checker<'_>) {
    checker.each(
        "alpn",
        tls.alpn.as_deref().unwrap_or_default(),
        |checker, name| {
            let name = name.as_str();
            let spoken = ["h2", "http/1.1"].contains(&name);
            if name.is_empty() || name.len() > LONGEST_PROTOCOL {
                checker.problem(format!("found {name:?}"), "the name of a protocol");
            } else if protocol != Protocol::Tcp && !spoken {
                let expected =
                    "h2 or http/1.1; other protocols are for listeners with `protocol: tcp`";
                checker.problem(format!("found {name:?}"), expected);
            }
        },
    );
}

pub(super) fn check_cluster(cluster: &Cluster, checker: &mut Checker<'_>) {
    let Some(tls) = &cluster.tls else { return };
    checker.field("tls", |checker| {
        if let Some(sni) = &tls.sni {
            host("sni", sni, false, checker);
        }
        check_authorities(tls, checker);
        checker.field("verify", |checker| match &tls.verify {
            Some(Verify::Hostname(name)) => host("hostname", name, true, checker),
            Some(Verify::San(names)) => {
                if names.is_empty() && !checker.is_unread() {
                    checker.problem_at("san", "found an empty list", "at least one name");
                }
                checker.each("san", names, |checker, name| {
                    let text = name.as_str();
                    if !is_host(text) && !text.contains("://") {
                        checker.problem(format!("found {text:?}"), "a host, or a URI");
                    }
                });
            }
            None => {}
        });
        checker.field("client_certificate", |checker| {
            if let Some(own) = &tls.client_certificate {
                file("cert", &own.cert, checker);
                file("key", &own.key, checker);
            }
        });
        let by_name = tls.sni.is_some()
            || cluster.dns.is_some()
            || matches!(tls.verify, Some(Verify::Hostname(_)));
        let on_socket = |address: &EndpointAddress| matches!(address, EndpointAddress::Unix(_));
        let mut addresses = cluster.endpoints.iter().map(|endpoint| &endpoint.address);
        if !by_name && addresses.any(on_socket) {
            checker.missing(
                "sni",
                "a name, because an endpoint on a Unix socket has none",
            );
        }
    });
}

fn check_authorities(tls: &ClusterTls, checker: &mut Checker<'_>) {
    checker.field("ca", |checker| {
        if let Authorities::Files(files) = &tls.ca {
            if files.is_empty() && !checker.is_unread() {
                checker.problem_at("files", "found an empty list", "at least one file");
            }
            checker.each("files", files, |checker, path| file_here(path, checker));
        }
    });
}

fn host(field: &'static str, name: &Text, may_be_address: bool, checker: &mut Checker<'_>) {
    let text = name.as_str();
    let is_address = text.parse::<std::net::IpAddr>().is_ok();
    if !(is_host(text) || is_address) || (is_address && !may_be_address) {
        let expected = "the name of a host";
        checker.problem_at(field, format!("found {text:?}"), expected);
    }
}

pub(super) fn file(field: &'static str, path: &Text, checker: &mut Checker<'_>) {
    checker.field(field, |checker| file_here(path, checker));
}

pub(super) fn file_here(path: &Text, checker: &mut Checker<'_>) {
    if path.as_str().is_empty() && !checker.is_unread() {
        checker.problem("found \"\"", "the path of a file");
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::check;

    fn listener(more: &str, expected: &[&str]) {
        check(
            &format!("listeners: [{{ name: l, bind: '127.0.0.1:1', {more} }}]"),
            expected,
        );
    }

    fn cluster(more: &str, expected: &[&str]) {
        check(
            &format!("clusters: [{{ name: c, endpoints: ['127.0.0.1:1'], {more} }}]"),
            expected,
        );
    }

    #[test]
    fn listeners() {
        let pair = "certificates: [{ cert: a, key: b }]";
        listener(&format!("tls: {{ {pair} }}"), &[]);
        let tcp = format!("protocol: tcp, cluster: c, tls: {{ {pair}, alpn: [amqp] }}");
        check(
            &format!(
                "listeners: [{{ name: l, bind: '127.0.0.1:1', {tcp} }}]\nclusters: [{{ name: c, endpoints: [] }}]"
            ),
            &[],
        );
        listener(
            &format!(
                "tls: {{ {pair}, min_version: '1.2', client_certificates: optional, client_ca: [c] }}"
            ),
            &[],
        );
        listener(
            "tls: { certificates: [] }",
            &["listeners[0].tls.certificates: found no certificates; expected at least one"],
        );
        listener(
            "tls: { certificates: [{ cert: '', key: b, ocsp: '' }], alpn: [amqp] }",
            &[
                "listeners[0].tls.certificates[0].cert: found \"\"; expected the path of a file",
                "listeners[0].tls.certificates[0].ocsp: found \"\"; expected the path of a file",
                "listeners[0].tls.alpn[0]: found \"amqp\"; expected h2 or http/1.1; other protocols are for listeners with `protocol: tcp`",
            ],
        );
        listener(
            &format!("tls: {{ {pair}, client_ca: [c] }}"),
            &[
                "listeners[0].tls.client_ca: found files; expected no authorities with `client_certificates: off`; nobody is asked",
            ],
        );
        listener(
            &format!("tls: {{ {pair}, client_certificates: required }}"),
            &[
                "listeners[0].tls.client_ca: missing; expected files with the authorities of clients",
            ],
        );
        listener(
            &format!("tls_routes: [], tls: {{ {pair} }}"),
            &[
                "listeners[0].tls: found settings; expected no tls with `protocol: tls_passthrough` or `tls_routes`; what passes through is not ended here",
            ],
        );
    }

    #[test]
    fn clusters() {
        cluster("tls: {}", &[]);
        cluster(
            "protocol: auto, tls: { ca: system, verify: { san: [a.example, 'spiffe://a/b'] } }",
            &[],
        );
        cluster("tls: { verify: { hostname: 127.0.0.1 } }", &[]);
        cluster(
            "tls: { sni: 127.0.0.1, ca: { files: [] }, verify: { san: ['a b'] }, client_certificate: { cert: a, key: '' } }",
            &[
                "clusters[0].tls.sni: found \"127.0.0.1\"; expected the name of a host",
                "clusters[0].tls.ca.files: found an empty list; expected at least one file",
                "clusters[0].tls.verify.san[0]: found \"a b\"; expected a host, or a URI",
                "clusters[0].tls.client_certificate.key: found \"\"; expected the path of a file",
            ],
        );
        cluster(
            "proxy_protocol: v2, tls: {}",
            &[
                "clusters[0].proxy_protocol: found a PROXY header for connections over TLS; expected `off`, or no TLS",
            ],
        );
        check(
            "clusters: [{ name: c, endpoints: ['unix:/x'], tls: {} }]",
            &[
                "clusters[0].tls.sni: missing; expected a name, because an endpoint on a Unix socket has none",
            ],
        );
    }
}
