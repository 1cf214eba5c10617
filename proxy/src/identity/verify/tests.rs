//! Chains that break one rule each, and handshakes of rustls with these verifiers on both sides.

use rcgen::{
    BasicConstraints, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SerialNumber,
};
use rustls::{ClientConfig, ClientConnection, Connection, ServerConfig, ServerConnection};

use super::{
    super::{
        bundle::Bundle,
        provider,
        testing::{Ca, Leaf, NOW, Rsa, SPAN, at, constraints, date, dns, now, pem, trusting, uri},
    },
    *,
};

const WEB: &str = "spiffe://one.example/web";

fn judge(trust: &Trust, leaf: &Leaf, between: &[&Ca]) -> Result<Peer, Refused> {
    let between: Vec<_> = between.iter().map(|ca| ca.der.clone()).collect();
    let client = chain(trust, Role::Client, &leaf.der, &between, now());
    let server = chain(trust, Role::Server, &leaf.der, &between, now());
    let word =
        |verdict: &Result<Peer, Refused>| verdict.as_ref().map_err(|why| why.refusal).cloned();
    assert_eq!(word(&client), word(&server));
    client
}

fn from_pem(text: &str) -> Result<Bundle, Refused> {
    let mut bundle = Bundle::default();
    bundle.add_pem(text.as_bytes())?;
    Ok(bundle)
}

#[track_caller]
fn refused(trust: &Trust, leaf: &Leaf, between: &[&Ca], expected: Refusal) {
    let why = judge(trust, leaf, between).expect_err("it must not be taken");
    assert_eq!(why.refusal, expected, "{why}");
}

#[test]
fn a_right_chain_is_taken() {
    let root = Ca::new("root");
    let trust = trusting("one.example", &[&root]);
    let leaf = root.leaf_with(WEB, |params| {
        params.subject_alt_names.push(dns("web.local"));
    });
    let peer = judge(&trust, &leaf, &[]).unwrap();
    assert_eq!(peer.id.as_str(), WEB);
    assert_eq!(peer.life.not_after, at(NOW + SPAN));
    assert_eq!(&*peer.dns_names, ["web.local".into()]);
    assert_eq!(peer.fingerprint.to_string().len(), 64);
    let first = root.below("first", |_| {});
    let second = first.below("second", |_| {});
    judge(&trust, &second.leaf(WEB), &[&second, &first]).unwrap();
    // The order in which they are sent does not matter.
    judge(&trust, &second.leaf(WEB), &[&first, &second]).unwrap();
}

#[test]
fn who_vouches_matters() {
    let (root, other) = (Ca::new("root"), Ca::new("other"));
    let trust = trusting("one.example", &[&root]);
    refused(&trust, &other.leaf(WEB), &[], Refusal::UnknownCa);
    // The same name, and another key.
    refused(&trust, &Ca::new("root").leaf(WEB), &[], Refusal::UnknownCa);
    let between = root.below("between", |_| {});
    refused(&trust, &between.leaf(WEB), &[], Refusal::UnknownCa);
    refused(
        &trust,
        &root.leaf("spiffe://two.example/web"),
        &[],
        Refusal::WrongTrustDomain,
    );
}

#[test]
fn roots_vouch_for_their_own_domain_alone() {
    let (one, two) = (Ca::new("one"), Ca::new("two"));
    let mut trust = trusting("one.example", &[&one]);
    let bundle = Bundle::new(vec![two.der.clone()]).unwrap();
    trust.add("two.example".parse().unwrap(), bundle);
    judge(&trust, &one.leaf(WEB), &[]).unwrap();
    judge(&trust, &two.leaf("spiffe://two.example/web"), &[]).unwrap();
    refused(&trust, &two.leaf(WEB), &[], Refusal::UnknownCa);
    refused(
        &trust,
        &one.leaf("spiffe://two.example/web"),
        &[],
        Refusal::UnknownCa,
    );
}

#[test]
fn a_new_root_stands_beside_the_old_one() {
    // As it often is, under the same name.
    let (old, new) = (Ca::new("root"), Ca::new("root"));
    for roots in [[&old, &new], [&new, &old]] {
        let trust = trusting("one.example", &roots);
        judge(&trust, &old.leaf(WEB), &[]).unwrap();
        judge(&trust, &new.leaf(WEB), &[]).unwrap();
        // What is wrong is told, whichever root it is that leads there.
        let late = old.leaf_with(WEB, |params| params.not_after = date(NOW - 1));
        refused(&trust, &late, &[], Refusal::Expired);
    }
}

#[test]
fn time() {
    let root = Ca::new("root");
    let trust = trusting("one.example", &[&root]);
    let late = root.leaf_with(WEB, |params| params.not_after = date(NOW - 1));
    refused(&trust, &late, &[], Refusal::Expired);
    let early = root.leaf_with(WEB, |params| params.not_before = date(NOW + 1));
    refused(&trust, &early, &[], Refusal::NotYetValid);
    let edge = root.leaf_with(WEB, |params| {
        (params.not_before, params.not_after) = (date(NOW), date(NOW));
    });
    judge(&trust, &edge, &[]).unwrap();
    let between = root.below("between", |params| params.not_after = date(NOW - 1));
    refused(&trust, &between.leaf(WEB), &[&between], Refusal::Expired);
    // Of a root, too.
    let root = Ca::with("root", |params| params.not_after = date(NOW - 1));
    refused(
        &trusting("one.example", &[&root]),
        &root.leaf(WEB),
        &[],
        Refusal::Expired,
    );
    let root = Ca::with("root", |params| params.not_before = date(NOW + 1));
    refused(
        &trusting("one.example", &[&root]),
        &root.leaf(WEB),
        &[],
        Refusal::NotYetValid,
    );
}

#[test]
fn one_identity_and_a_whole_one() {
    let root = Ca::new("root");
    let trust = trusting("one.example", &[&root]);
    for names in [
        vec![],
        vec![dns("web.local")],
        vec![uri(WEB), uri("spiffe://one.example/other")],
        vec![uri(WEB), uri("https://one.example/")],
        vec![uri(WEB), uri(WEB)],
        vec![uri("spiffe://one.example")],
        vec![uri("spiffe://one.example/web/")],
        vec![uri("spiffe://one.example:443/web")],
        vec![uri("spiffe://ONE.example/web")],
        vec![uri("https://one.example/web")],
    ] {
        let shown = format!("{names:?}");
        let leaf = root.leaf_with(WEB, |params| params.subject_alt_names = names);
        let why = judge(&trust, &leaf, &[]).expect_err(&shown);
        assert_eq!(why.refusal, Refusal::WrongIdentity, "{shown}: {why}");
    }
}

#[test]
fn what_a_leaf_and_what_an_authority_may_be() {
    let root = Ca::new("root");
    let trust = trusting("one.example", &[&root]);
    let leaf_may_not_be = |edit: fn(&mut rcgen::CertificateParams)| {
        refused(&trust, &root.leaf_with(WEB, edit), &[], Refusal::BadChain);
    };
    leaf_may_not_be(|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained));
    leaf_may_not_be(|params| params.key_usages = vec![]);
    leaf_may_not_be(|params| params.key_usages = vec![KeyUsagePurpose::KeyAgreement]);
    leaf_may_not_be(|params| params.key_usages.push(KeyUsagePurpose::KeyCertSign));
    leaf_may_not_be(|params| params.key_usages.push(KeyUsagePurpose::CrlSign));
    leaf_may_not_be(|params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
    });
    let authority_may_not_be = |edit: fn(&mut rcgen::CertificateParams)| {
        let between = root.below("between", edit);
        refused(&trust, &between.leaf(WEB), &[&between], Refusal::BadChain);
    };
    authority_may_not_be(|params| params.is_ca = IsCa::ExplicitNoCa);
    authority_may_not_be(|params| params.key_usages = vec![KeyUsagePurpose::DigitalSignature]);
    // Another workload signs.
    let shown = KeyPair::generate().unwrap();
    let workload = root.below_with_key(
        "workload",
        &shown,
        |params| {
            params.is_ca = IsCa::NoCa;
            params.subject_alt_names = vec![uri("spiffe://one.example/evil")];
        },
        &shown,
    );
    refused(&trust, &workload.leaf(WEB), &[&workload], Refusal::BadChain);
}

#[test]
fn usage_is_for_one_side() {
    let root = Ca::new("root");
    let trust = trusting("one.example", &[&root]);
    let only = |usage| root.leaf_with(WEB, |params| params.extended_key_usages = vec![usage]);
    for (usage, good, bad) in [
        (
            ExtendedKeyUsagePurpose::ServerAuth,
            Role::Server,
            Role::Client,
        ),
        (
            ExtendedKeyUsagePurpose::ClientAuth,
            Role::Client,
            Role::Server,
        ),
    ] {
        let leaf = only(usage);
        chain(&trust, good, &leaf.der, &[], now()).unwrap();
        let why = chain(&trust, bad, &leaf.der, &[], now()).unwrap_err();
        assert_eq!(why.refusal, Refusal::BadChain);
    }
}

#[test]
fn paths_are_bounded() {
    let root = Ca::with("root", |params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    });
    let between = root.below("between", |_| {});
    // A limit in the root itself is not looked at: an anchor is a name and a key.
    judge(
        &trusting("one.example", &[&root]),
        &between.leaf(WEB),
        &[&between],
    )
    .unwrap();
    let root = Ca::new("root");
    let trust = trusting("one.example", &[&root]);
    let narrow = root.below("narrow", |params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    });
    let below = narrow.below("below", |_| {});
    refused(
        &trust,
        &below.leaf(WEB),
        &[&narrow, &below],
        Refusal::BadChain,
    );
    let many = vec![&narrow; LONGEST_CHAIN];
    refused(&trust, &narrow.leaf(WEB), &many, Refusal::BadChain);
    judge(&trust, &narrow.leaf(WEB), &many[1..]).unwrap();
}

#[test]
fn weak_keys() {
    let root = Ca::new("root");
    let trust = trusting("one.example", &[&root]);
    let spare = || KeyPair::generate().unwrap();
    let leaf = |bits| root.leaf_with_key(WEB, &Rsa::new(bits), |_| {}, spare());
    refused(&trust, &leaf(1_024), &[], Refusal::WeakKey);
    refused(&trust, &leaf(16_384), &[], Refusal::WeakKey);
    judge(&trust, &leaf(2_048), &[]).unwrap();
    let key = spare();
    let between = root.below_with_key("between", &Rsa::new(1_024), |_| {}, &key);
    refused(&trust, &between.leaf(WEB), &[&between], Refusal::WeakKey);
}

#[test]
fn what_was_taken_back() {
    let numbered = |serial: u8| {
        move |params: &mut rcgen::CertificateParams| {
            params.serial_number = Some(SerialNumber::from_slice(&[serial]));
        }
    };
    let root = Ca::new("root");
    let between = root.below("between", numbered(5));
    let with = |lists: Vec<_>| {
        let mut bundle = Bundle::new(vec![root.der.clone()]).unwrap();
        bundle.revoke(lists).unwrap();
        let mut trust = Trust::default();
        trust.add("one.example".parse().unwrap(), bundle);
        trust
    };
    let trust = with(vec![root.list(&[7], NOW + SPAN)]);
    refused(
        &trust,
        &root.leaf_with(WEB, numbered(7)),
        &[],
        Refusal::Revoked,
    );
    judge(&trust, &root.leaf_with(WEB, numbered(8)), &[]).unwrap();
    // An authority in between has no list: it took nothing back.
    judge(&trust, &between.leaf_with(WEB, numbered(7)), &[&between]).unwrap();
    let trust = with(vec![
        root.list(&[5], NOW + SPAN),
        between.list(&[9], NOW + SPAN),
    ]);
    refused(
        &trust,
        &between.leaf_with(WEB, numbered(8)),
        &[&between],
        Refusal::Revoked,
    );
    let trust = with(vec![between.list(&[9], NOW + SPAN)]);
    refused(
        &trust,
        &between.leaf_with(WEB, numbered(9)),
        &[&between],
        Refusal::Revoked,
    );
    judge(&trust, &between.leaf_with(WEB, numbered(8)), &[&between]).unwrap();
    // A list that is late still says what was taken back.
    let trust = with(vec![root.list(&[7], NOW - 1)]);
    refused(
        &trust,
        &root.leaf_with(WEB, numbered(7)),
        &[],
        Refusal::Revoked,
    );
    let bundle = trust.bundle(&"one.example".parse().unwrap()).unwrap();
    assert_eq!(
        (bundle.stale_lists(now()), bundle.stale_lists(at(NOW - 2))),
        (1, 0)
    );
}

#[test]
fn lists_of_two_roots_with_one_name_do_not_meet() {
    let (old, new) = (Ca::new("root"), Ca::new("root"));
    let mut bundle = Bundle::new(vec![old.der.clone(), new.der.clone()]).unwrap();
    let lists = vec![old.list(&[1], NOW + SPAN), new.list(&[2], NOW + SPAN)];
    bundle.revoke(lists).unwrap();
    let mut trust = Trust::default();
    trust.add("one.example".parse().unwrap(), bundle);
    for (ca, revoked) in [(&old, 1), (&new, 2)] {
        for serial in [1, 2] {
            let leaf = ca.leaf_with(WEB, |params| {
                params.serial_number = Some(SerialNumber::from_slice(&[serial]));
            });
            if serial == revoked {
                refused(&trust, &leaf, &[], Refusal::Revoked);
            } else {
                judge(&trust, &leaf, &[]).unwrap();
            }
        }
    }
}

#[test]
fn constraints_on_names() {
    let (uri_kind, dns_kind) = (6, 2);
    let root = |permitted: &[(u8, &str)], excluded: &[(u8, &str)]| {
        Ca::with("root", |params| {
            params
                .custom_extensions
                .push(constraints(permitted, excluded));
        })
    };
    let fits = root(&[(uri_kind, "one.example"), (dns_kind, "local")], &[]);
    let trust = trusting("one.example", &[&fits]);
    judge(&trust, &fits.leaf(WEB), &[]).unwrap();
    let with_name = |name| fits.leaf_with(WEB, |params| params.subject_alt_names.push(dns(name)));
    judge(&trust, &with_name("web.local"), &[]).unwrap();
    refused(&trust, &with_name("web.other"), &[], Refusal::BadChain);
    for wrong in [
        root(&[(uri_kind, "two.example")], &[]),
        root(&[], &[(uri_kind, "one.example")]),
    ] {
        let trust = trusting("one.example", &[&wrong]);
        refused(&trust, &wrong.leaf(WEB), &[], Refusal::BadChain);
    }
    // A name of an authority in between is judged, too.
    let between = fits.below("between", |params| {
        params.subject_alt_names = vec![uri("spiffe://two.example")];
    });
    refused(&trust, &between.leaf(WEB), &[&between], Refusal::BadChain);
    // Below a root they cannot be judged, so that nothing passes under them.
    let plain = Ca::new("plain");
    let between = plain.below("between", |params| {
        let extension = constraints(&[(uri_kind, "one.example")], &[]);
        params.custom_extensions.push(extension);
    });
    let trust = trusting("one.example", &[&plain]);
    refused(&trust, &between.leaf(WEB), &[&between], Refusal::BadChain);
}

#[test]
fn what_cannot_be_read() {
    let root = Ca::new("root");
    let trust = trusting("one.example", &[&root]);
    let mut leaf = root.leaf(WEB);
    for bytes in [
        &[][..],
        b"\x30",
        &leaf.der[..leaf.der.len() - 1],
        &[&leaf.der[..], &[0]].concat(),
    ] {
        let der = CertificateDer::from(bytes.to_vec());
        let why = chain(&trust, Role::Client, &der, &[], now()).unwrap_err();
        assert_eq!(why.refusal, Refusal::Malformed, "{why}");
    }
    // One bit of the signature.
    let mut bytes = leaf.der.to_vec();
    *bytes.last_mut().unwrap() ^= 1;
    leaf.der = CertificateDer::from(bytes);
    judge(&trust, &leaf, &[]).unwrap_err();
    assert_eq!(svid::peer(&[]).unwrap_err().refusal, Refusal::Missing);
}

#[test]
fn roots_are_looked_at_when_they_are_read() {
    let root = Ca::new("root");
    let text = pem("CERTIFICATE", &root.der);
    let twice = format!("A comment.\n{text}{text}");
    assert_eq!(from_pem(&twice).unwrap().roots.len(), 1);
    let leaf = pem("CERTIFICATE", &root.leaf(WEB).der);
    for (text, why) in [
        ("", Refusal::Missing),
        (&*leaf, Refusal::BadChain),
        (
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            Refusal::Malformed,
        ),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n", Refusal::Malformed),
    ] {
        assert_eq!(from_pem(text).unwrap_err().refusal, why, "{text}");
    }
    let many: String = (0..=super::super::bundle::MOST_ROOTS)
        .map(|n| pem("CERTIFICATE", &Ca::new(&n.to_string()).der))
        .collect();
    assert_eq!(from_pem(&many).unwrap_err().refusal, Refusal::BadChain);
}

/// Both ends of a connection, each with its certificate.
fn configs(
    trust: &Arc<Trust>,
    client: Option<&Leaf>,
    server: &Leaf,
    expected: &str,
) -> (Arc<ClientConfig>, Arc<ServerConfig>) {
    let provider = Arc::clone(provider());
    let key = |leaf: &Leaf| leaf.key.serialize_der().try_into().unwrap();
    let expected = Arc::new([expected.parse().unwrap()]);
    // The time is that of the tests.
    let time = Arc::new(Fixed);
    let builder = ClientConfig::builder_with_details(Arc::clone(&provider), Arc::clone(&time) as _)
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(ServerVerifier::new(
            Arc::clone(trust),
            expected,
        )));
    let client = match client {
        Some(leaf) => builder
            .with_client_auth_cert(vec![leaf.der.clone()], key(leaf))
            .unwrap(),
        None => builder.with_no_client_auth(),
    };
    let server = ServerConfig::builder_with_details(provider, time)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(Arc::new(ClientVerifier::new(Arc::clone(trust))))
        .with_single_cert(vec![server.der.clone()], key(server))
        .unwrap();
    (Arc::new(client), Arc::new(server))
}

#[derive(Debug)]
struct Fixed;

impl rustls::time_provider::TimeProvider for Fixed {
    fn current_time(&self) -> Option<UnixTime> {
        Some(now())
    }
}

/// Carries what one end has to say to the other: whether that was anything.
fn carry(from: &mut Connection, to: &mut Connection) -> Result<bool, Error> {
    let mut bytes = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut bytes).unwrap();
    }
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        to.read_tls(&mut rest).unwrap();
        to.process_new_packets()?;
    }
    Ok(!bytes.is_empty())
}

/// Carries bytes between both until nobody has any, or one gives up: its error.
fn shake(
    (client, server): &(Arc<ClientConfig>, Arc<ServerConfig>),
) -> Result<(ClientConnection, ServerConnection), (bool, Error)> {
    let name = "ignored.example".try_into().unwrap();
    let mut client = ClientConnection::new(Arc::clone(client), name).unwrap();
    let mut server = ServerConnection::new(Arc::clone(server)).unwrap();
    loop {
        let (mut a, mut b) = (Connection::Client(client), Connection::Server(server));
        let moved = carry(&mut a, &mut b).map_err(|error| (true, error))?
            | carry(&mut b, &mut a).map_err(|error| (false, error))?;
        let (Connection::Client(a), Connection::Server(b)) = (a, b) else {
            unreachable!("they are what they were made of")
        };
        (client, server) = (a, b);
        if !moved {
            return Ok((client, server));
        }
    }
}

#[test]
fn handshakes() {
    let root = Ca::new("root");
    let trust = Arc::new(trusting("one.example", &[&root]));
    let api = "spiffe://one.example/api";
    let (web_leaf, api_leaf) = (root.leaf(WEB), root.leaf(api));
    let right = configs(&trust, Some(&web_leaf), &api_leaf, api);
    for resumed in [false, true] {
        let (client, server) = shake(&right).unwrap();
        let kind = server.handshake_kind().unwrap();
        assert_eq!(kind == rustls::HandshakeKind::Resumed, resumed);
        let group = client.negotiated_key_exchange_group().unwrap();
        assert_eq!(group.name(), rustls::NamedGroup::X25519MLKEM768);
        // What was said at first is there again.
        let seen = svid::peer(server.peer_certificates().unwrap()).unwrap();
        assert_eq!(seen.id.as_str(), WEB);
        let seen = svid::peer(client.peer_certificates().unwrap()).unwrap();
        assert_eq!(seen.id.as_str(), api);
        let only_web = [WEB.parse().unwrap()];
        assert_eq!(
            seen.admit(Some(&only_web), now()).unwrap_err().refusal,
            Refusal::WrongIdentity
        );
        let later = at(NOW + SPAN + 1);
        assert_eq!(
            seen.admit(None, later).unwrap_err().refusal,
            Refusal::Expired
        );
        seen.admit(Some(std::slice::from_ref(&seen.id)), now())
            .unwrap();
    }
    let other = Ca::new("other");
    let late = root.leaf_with(WEB, |params| params.not_after = date(NOW - 1));
    let foreign = root.leaf("spiffe://two.example/x");
    let stranger = other.leaf(WEB);
    for (client, server, at_server, why) in [
        (Some(&web_leaf), &web_leaf, false, Refusal::WrongIdentity),
        (Some(&web_leaf), &other.leaf(api), false, Refusal::UnknownCa),
        (None, &api_leaf, true, Refusal::Missing),
        (Some(&late), &api_leaf, true, Refusal::Expired),
        (Some(&foreign), &api_leaf, true, Refusal::WrongTrustDomain),
        (Some(&stranger), &api_leaf, true, Refusal::UnknownCa),
    ] {
        let configs = configs(&trust, client, server, api);
        let (server_gave_up, error) = shake(&configs).unwrap_err();
        assert_eq!(server_gave_up, at_server, "{error}");
        assert_eq!(Refused::of_tls(&error).unwrap().refusal, why, "{error}");
    }
}
