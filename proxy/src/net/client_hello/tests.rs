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
use rustls::{ClientConfig, ClientConnection, RootCertStore, crypto::ring, server::Acceptor};

use super::*;

/// The first message of rustls for a name, with some protocols.
fn of_rustls(name: &str, protocols: &[&str]) -> Vec<u8> {
    let versions = rustls::ALL_VERSIONS;
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
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
        for at in 0..bytes.len() {
            assert_eq!(parse(&bytes[..at]), Parsed::Incomplete, "{at} bytes");
        }
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

#[test]
fn what_is_not_well_formed_is_refused() {
    let suites: &[u8] = &[0x13, 1];
    let wrong_name = "a server name that no host has";
    let wrong_kind = "a server name that is none of a host";
    let wrong_list = "a list of protocols of a wrong length";
    let wrong_lengths = "a session id or cipher suites of a wrong length";
    let two_names = [&[0], &counted(2, b"a")[..], &[0], &counted(2, b"b")].concat();
    for (bytes, expected) in [
        (
            b"GET / HTTP/1.1\r\n\r\n".to_vec(),
            "no TLS handshake record",
        ),
        (b"\x16\x02\0".to_vec(), "no TLS handshake record"),
        (
            b"\x15\x03\x01\0\x02\x02\x28".to_vec(),
            "no TLS handshake record",
        ),
        (record(b""), "a TLS record of a length that none has"),
        (
            b"\x16\x03\x01\x40\x01".to_vec(),
            "a TLS record of a length that none has",
        ),
        (record(&[2, 0, 0, 1, 0]), "not a ClientHello"),
        (record(&[1, 0, 0x40, 0]), TOO_LARGE),
        (record(&[1, 1, 0, 0]), TOO_LARGE),
        (
            record(&[1, 0, 0, 1, 0, 0]),
            "more than a ClientHello in its records",
        ),
        (record(&[1, 0, 0, 0]), SHORT),
        (
            record(&[1, 0, 0, 2, 2, 0]),
            "a ClientHello of no version of TLS",
        ),
        (made_of(&[0; 33], suites, &[0], b"\0\0"), wrong_lengths),
        (made_of(b"", b"", &[0], b"\0\0"), wrong_lengths),
        (made_of(b"", &[0x13], &[0], b"\0\0"), wrong_lengths),
        (
            made_of(b"", suites, b"", b"\0\0"),
            "a ClientHello without a compression method",
        ),
        (made_of(b"", suites, &[0], b"\0"), SHORT),
        (
            made_of(b"", suites, &[0], b"\0\x01"),
            "extensions of a wrong length",
        ),
        (made_of(b"", suites, &[0], &counted(2, &[0, 0, 0])), SHORT),
        (
            made_of(b"", suites, &[0], &counted(2, &[0, 9, 0, 1])),
            SHORT,
        ),
        (
            made(&[sni(b"a"), sni(b"a")]),
            "an extension that is there twice",
        ),
        (
            made(&[alpn(&[b"a"]), alpn(&[b"a"])]),
            "an extension that is there twice",
        ),
        (made(&[extension(0, b"")]), SHORT),
        (made(&[extension(0, &counted(2, b""))]), SHORT),
        (
            made(&[extension(0, &counted(2, &[1, 0, 1, b'a']))]),
            wrong_kind,
        ),
        (
            made(&[extension(0, &counted(2, &two_names))]),
            "more than one server name",
        ),
        (
            made(&[extension(0, &counted(2, &[0, 0, 2, b'a']))]),
            "more than one server name",
        ),
        (made(&[sni(b"")]), wrong_name),
        (made(&[sni(b".")]), wrong_name),
        (made(&[sni(b"a\0b")]), wrong_name),
        (made(&[sni(b"a/b")]), wrong_name),
        (made(&[sni("ä.example".as_bytes())]), wrong_name),
        (made(&[sni(&[b'x'; 256])]), wrong_name),
        (made(&[alpn(&[])]), wrong_list),
        (made(&[alpn(&[b""])]), wrong_list),
        (made(&[extension(16, &counted(2, &[2, b'a']))]), SHORT),
        (made(&[extension(16, b"\0\x03\x01a")]), wrong_list),
    ] {
        assert_eq!(
            parse(&bytes),
            Parsed::Invalid(expected),
            "{}",
            bytes.escape_ascii()
        );
    }
    // Nothing else may come between the records of a message.
    let whole = made(&[sni(b"a.example")]);
    let mut split = in_records_of(20, &whole);
    split.splice(25..25, *b"\x14\x03\x03\0\x01\x01");
    assert_eq!(parse(&split), Parsed::Invalid("no TLS handshake record"));
}

#[test]
fn the_size_is_bounded_on_the_wire() {
    let filled = |padding: usize| made(&[extension(21, &vec![0; padding]), sni(b"a.example")]);
    let overhead = filled(0).len();
    let largest = filled(MOST - overhead);
    assert_eq!(largest.len(), MOST);
    assert_eq!(said(&largest).0.as_deref(), Some("a.example"));
    assert_eq!(
        parse(&filled(MOST - overhead + 1)),
        Parsed::Invalid(TOO_LARGE)
    );
    // Known by its head, before the rest has come.
    assert_eq!(
        parse(&filled(MOST - overhead + 1)[..9]),
        Parsed::Invalid(TOO_LARGE)
    );
    // The heads of its records count, too: six times the message, and then no end of it.
    let small = in_records_of(1, &filled(MOST / 4));
    assert_eq!(parse(&small), Parsed::Invalid(TOO_LARGE));
    let first = (0..small.len()).find(|at| parse(&small[..*at]) != Parsed::Incomplete);
    assert!(first.is_some_and(|at| at <= MOST), "{first:?}");
}

/// The name that rustls reads, if it takes the message.
fn read_by_rustls(bytes: &[u8]) -> Option<Option<String>> {
    let mut acceptor = Acceptor::default();
    acceptor.read_tls(&mut &bytes[..]).ok()?;
    let accepted = acceptor.accept().ok()??;
    Some(accepted.client_hello().server_name().map(str::to_owned))
}

proptest! {
    #[test]
    fn any_bytes_are_judged_once_and_as_rustls_reads_them(
        from_rustls in any::<bool>(),
        size in 1_usize..600,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        end in any::<prop::sample::Index>(),
    ) {
        let whole = match from_rustls {
            true => of_rustls("shop.example", &["h2"]),
            false => made(&[sni(b"a.example"), alpn(&[b"h2", b"http/1.1"])]),
        };
        let mut bytes = in_records_of(size, &whole);
        for (at, byte) in &changes {
            let at = at.index(bytes.len());
            bytes[at] = *byte;
        }
        let verdict = parse(&bytes);
        let early = parse(&bytes[..end.index(bytes.len())]);
        prop_assert!(early == Parsed::Incomplete || early == verdict, "{early:?}, then {verdict:?}");
        if let (Parsed::Done(hello), Some(name)) = (&verdict, read_by_rustls(&bytes)) {
            let ours = hello.server_name().map(|name| String::from_utf8(name.to_vec()).unwrap());
            // It takes an address in that place for no name.
            if name.is_some() {
                prop_assert_eq!(ours, name.map(|name| name.to_ascii_lowercase()));
            }
        }
    }
}
