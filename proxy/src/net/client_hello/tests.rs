//! Messages of real clients at every split, in records of every size; made ones with every fault;
//! and rustls as a second reader of whatever comes out of changing them.

use std::{
    io::Read as _,
    net::TcpListener,
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use proptest::prelude::*;
use rustls::{ClientConfig, ClientConnection, RootCertStore, crypto::aws_lc_rs, server::Acceptor};

use super::*;

/// Bytes that come at once.
fn parse(bytes: &[u8]) -> Parsed {
    Scan::default().advance(bytes)
}

/// The first message of rustls for a name, with some protocols.
fn of_rustls(name: &str, protocols: &[&str]) -> Vec<u8> {
    let versions = rustls::ALL_VERSIONS;
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|p| p.as_bytes().to_vec()).collect();
    let name = name.to_owned().try_into().unwrap();
    let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    bytes
}

/// What `openssl s_client` sends first.
fn of_openssl(arguments: &[&str]) -> Option<Vec<u8>> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let mut client = Command::new("openssl")
        .args(["s_client", "-connect", &address])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let (mut stream, _) = listener.accept().unwrap();
    let limit = Some(Duration::from_secs(15));
    stream.set_read_timeout(limit).unwrap();
    let mut bytes = vec![0; RECORD];
    stream.read_exact(&mut bytes).unwrap();
    let length = usize::from(bytes[3]) << 8 | usize::from(bytes[4]);
    bytes.resize(RECORD + length, 0);
    stream.read_exact(&mut bytes[RECORD..]).unwrap();
    drop(stream);
    let _ = client.kill();
    client.wait().unwrap();
    Some(bytes)
}

/// One record.
fn record(payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
    [&[HANDSHAKE, 3, 1], &length[..], payload].concat()
}

/// The same message in records of this size.
fn in_records_of(size: usize, bytes: &[u8]) -> Vec<u8> {
    bytes[RECORD..].chunks(size).flat_map(record).collect()
}

/// A length in so many bytes, and what it is of.
fn counted(width: usize, bytes: &[u8]) -> Vec<u8> {
    let length = bytes.len().to_be_bytes();
    [&length[length.len() - width..], bytes].concat()
}

fn extension(kind: u16, content: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes(), &counted(2, content)[..]].concat()
}

fn sni(name: &[u8]) -> Vec<u8> {
    extension(0, &counted(2, &[&[0], &counted(2, name)[..]].concat()))
}

fn alpn(names: &[&[u8]]) -> Vec<u8> {
    let names: Vec<_> = names.iter().flat_map(|name| counted(1, name)).collect();
    extension(16, &counted(2, &names))
}

fn made_of(session: &[u8], suites: &[u8], compressions: &[u8], extensions: &[u8]) -> Vec<u8> {
    let fixed = [&[3, 3], &[7; 32][..]].concat();
    let parts = [
        counted(1, session),
        counted(2, suites),
        counted(1, compressions),
    ];
    let body = [fixed, parts.concat(), extensions.to_vec()].concat();
    let message = [vec![CLIENT_HELLO], counted(3, &body)].concat();
    record(&message)
}

/// A message with these extensions.
fn made(extensions: &[Vec<u8>]) -> Vec<u8> {
    let extensions = counted(2, &extensions.concat());
    made_of(&[1; 32], &[0x13, 1], &[0], &extensions)
}

/// What a whole message says: name and protocols.
#[track_caller]
fn said(bytes: &[u8]) -> (Option<String>, Option<String>) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    match parse(bytes) {
        Parsed::Done(hello) => (hello.server_name().map(text), hello.protocols().map(text)),
        other => panic!("{other:?}: {}", bytes.escape_ascii()),
    }
}

/// A message says the same however it comes, and nothing before it is whole.
#[track_caller]
fn says(bytes: &[u8], name: Option<&str>, protocols: Option<&str>) {
    for size in [1, 2, 3, 7, 64, 255, bytes.len()] {
        let bytes = in_records_of(size, bytes);
        let mut scan = Scan::default();
        for at in 0..bytes.len() {
            let early = scan.advance(&bytes[..at]);
            assert_eq!(early, Parsed::Incomplete, "{at} bytes");
        }
        assert_eq!(scan.advance(&bytes), parse(&bytes));
        let found = said(&bytes);
        assert_eq!((found.0.as_deref(), found.1.as_deref()), (name, protocols));
        // What follows is not looked at.
        assert_eq!(said(&[&bytes[..], &[20, 3, 3]].concat()), found);
    }
}

#[test]
fn real_clients_are_understood_at_every_split() {
    let rustls = of_rustls("Shop.Example", &["h2", "http/1.1"]);
    says(&rustls, Some("shop.example"), Some("h2,http/1.1"));
    says(
        &of_rustls("a-b_c.d.example", &[]),
        Some("a-b_c.d.example"),
        None,
    );
    // An address is no name: a client that connects to one asks for none.
    says(&of_rustls("127.0.0.1", &["x"]), None, Some("x"));
    let asked = ["-servername", "db.Example", "-alpn", "postgresql"];
    if let Some(bytes) = of_openssl(&asked) {
        says(&bytes, Some("db.example"), Some("postgresql"));
        let old = of_openssl(&["-tls1_2", "-servername", "old.example"]).unwrap();
        says(&old, Some("old.example"), None);
        says(&of_openssl(&["-noservername"]).unwrap(), None, None);
    }
}

#[test]
fn what_is_unknown_is_passed_over() {
    let grease = || extension(0x3a3a, b"\0");
    says(
        &made(&[
            grease(),
            sni(b"a.b"),
            extension(0xfe0d, &[0; 300]),
            alpn(&[b"\x0a\x0a", b"h2"]),
            grease(),
        ]),
        Some("a.b"),
        Some("\x0a\x0a,h2"),
    );
    says(&made(&[]), None, None);
    // From before there were extensions.
    says(&made_of(b"", &[0, 5], &[0, 1], b""), None, None);
    says(&made(&[sni(b"dot.example.")]), Some("dot.example"), None);
    says(&made(&[sni(&[b'x'; 255])]), Some(&"x".repeat(255)), None);
    let long = [b'y'; 40];
    let kept = [&[b'y'; 40][..], b",h2"].concat();
    let kept = std::str::from_utf8(&kept).unwrap();
    says(
        &made(&[alpn(&[&long, b"h2", &long, b"z"])]),
        None,
        Some(kept),
    );
}

#[track_caller]
fn is_refused(bytes: &[u8], expected: &str) {
    let Parsed::Invalid(what) = parse(bytes) else {
        panic!("taken: {}", bytes.escape_ascii());
    };
    assert_eq!(what, expected, "{}", bytes.escape_ascii());
}

#[test]
fn records_that_do_not_hold_one_hello_are_refused() {
    let (no_record, no_length) = (
        "no TLS handshake record",
        "a TLS record of a length that none has",
    );
    is_refused(b"GET / HTTP/1.1\r\n\r\n", no_record);
    is_refused(b"\x16\x02\0", no_record);
    is_refused(b"\x15\x03\x01\0\x02\x02\x28", no_record);
    is_refused(&record(b""), no_length);
    is_refused(b"\x16\x03\x01\x40\x01", no_length);
    is_refused(&record(&[2, 0, 0, 1, 0]), "not a ClientHello");
    let more = "more than a ClientHello in its records";
    is_refused(&record(&[1, 0, 0, 1, 0, 0]), more);
    // Nothing else may come between the records of a message.
    let mut split = in_records_of(20, &made(&[sni(b"a.example")]));
    split.splice(25..25, *b"\x14\x03\x03\0\x01\x01");
    is_refused(&split, no_record);
}

#[test]
fn lengths_that_do_not_add_up_are_refused() {
    let suites: &[u8] = &[0x13, 1];
    let end = b"\0\0";
    let wrong = "a session id or cipher suites of a wrong length";
    is_refused(&record(&[1, 0, 0, 0]), SHORT);
    let version = "a ClientHello of no version of TLS";
    is_refused(&record(&[1, 0, 0, 2, 2, 0]), version);
    is_refused(&made_of(&[0; 33], suites, &[0], end), wrong);
    is_refused(&made_of(b"", b"", &[0], end), wrong);
    is_refused(&made_of(b"", &[0x13], &[0], end), wrong);
    let compression = "a ClientHello without a compression method";
    is_refused(&made_of(b"", suites, b"", end), compression);
    let extensions = |bytes: &[u8]| made_of(b"", suites, &[0], bytes);
    is_refused(&extensions(b"\0"), SHORT);
    is_refused(&extensions(b"\0\x01"), "extensions of a wrong length");
    is_refused(&extensions(&counted(2, &[0, 0, 0])), SHORT);
    is_refused(&extensions(&counted(2, &[0, 9, 0, 1])), SHORT);
}

#[test]
fn extensions_that_say_nothing_clear_are_refused() {
    let twice = "an extension that is there twice";
    is_refused(&made(&[sni(b"a"), sni(b"a")]), twice);
    is_refused(&made(&[alpn(&[b"a"]), alpn(&[b"a"])]), twice);
    let name = |list: &[u8]| made(&[extension(0, &counted(2, list))]);
    is_refused(&made(&[extension(0, b"")]), SHORT);
    is_refused(&name(b""), SHORT);
    let kind = "a server name that is none of a host";
    is_refused(&name(&[1, 0, 1, b'a']), kind);
    let several = "more than one server name";
    let two = [&[0], &counted(2, b"a")[..], &[0], &counted(2, b"b")].concat();
    is_refused(&name(&two), several);
    is_refused(&name(&[0, 0, 2, b'a']), several);
    let long = [b'x'; 256];
    for bytes in [
        &b""[..],
        b".",
        b"a\0b",
        b"a/b",
        "\u{e4}.b".as_bytes(),
        &long,
    ] {
        is_refused(&made(&[sni(bytes)]), "a server name that no host has");
    }
    let list = "a list of protocols of a wrong length";
    is_refused(&made(&[alpn(&[])]), list);
    is_refused(&made(&[alpn(&[b""])]), list);
    is_refused(&made(&[extension(16, b"\0\x03\x01a")]), list);
    is_refused(&made(&[extension(16, &counted(2, &[2, b'a']))]), SHORT);
}

#[test]
fn the_size_is_bounded_on_the_wire() {
    let filled = |padding: usize| made(&[extension(21, &vec![0; padding]), sni(b"a.example")]);
    let overhead = filled(0).len();
    let largest = filled(MOST - overhead);
    assert_eq!(largest.len(), MOST);
    assert_eq!(said(&largest).0.as_deref(), Some("a.example"));
    is_refused(&record(&[1, 0, 0x40, 0]), TOO_LARGE);
    is_refused(&record(&[1, 1, 0, 0]), TOO_LARGE);
    assert_eq!(
        parse(&filled(MOST - overhead + 1)),
        Parsed::Invalid(TOO_LARGE)
    );
    // Known by its head, before the rest has come.
    assert_eq!(
        parse(&filled(MOST - overhead + 1)[..9]),
        Parsed::Invalid(TOO_LARGE)
    );
    // The heads of its records count, too.
    let small = in_records_of(1, &filled(MOST / 4));
    assert_eq!(parse(&small), Parsed::Invalid(TOO_LARGE));
    assert_eq!(parse(&small[..MOST / 2]), Parsed::Incomplete);
    assert_eq!(parse(&small[..MOST]), Parsed::Invalid(TOO_LARGE));
}

/// The name that rustls reads, if it takes the message. It takes an address in its place for none.
fn name_read_by_rustls(mut bytes: &[u8]) -> Option<String> {
    let mut acceptor = Acceptor::default();
    while !bytes.is_empty() {
        acceptor.read_tls(&mut bytes).ok()?;
        if let Some(accepted) = acceptor.accept().ok()? {
            return accepted.client_hello().server_name().map(str::to_owned);
        }
    }
    None
}

proptest! {
    #[test]
    fn any_bytes_are_judged_once_and_as_rustls_reads_them(
        from_rustls in any::<bool>(),
        size in 1_usize..600,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        end in any::<prop::sample::Index>(),
    ) {
        let whole = if from_rustls {
            of_rustls("shop.example", &["h2"])
        } else {
            // rustls insists on algorithms for signatures.
            let algorithms = extension(13, b"\0\x02\x04\x03");
            made(&[sni(b"a.example"), algorithms, alpn(&[b"h2", b"http/1.1"])])
        };
        let mut bytes = in_records_of(size, &whole);
        for (at, byte) in &changes {
            let at = at.index(bytes.len());
            bytes[at] = *byte;
        }
        let verdict = parse(&bytes);
        let mut scan = Scan::default();
        let early = scan.advance(&bytes[..end.index(bytes.len())]);
        prop_assert!(early == Parsed::Incomplete || early == verdict, "{early:?}, then {verdict:?}");
        if early == Parsed::Incomplete {
            prop_assert_eq!(&scan.advance(&bytes), &verdict);
        }
        if let (Parsed::Done(hello), Some(name)) = (&verdict, name_read_by_rustls(&bytes)) {
            let ours = hello.server_name().unwrap_or_default();
            prop_assert_eq!(ours.escape_ascii().to_string(), name.to_ascii_lowercase());
        } else {
            prop_assert!(!changes.is_empty(), "not read: {verdict:?}");
        }
    }
}
