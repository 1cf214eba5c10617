use proptest::prelude::*;

use super::*;

fn done(length: usize, pair: Option<(&str, &str)>) -> Parsed {
    Parsed::Done {
        length,
        source: pair.map(|(source, _)| source.parse().unwrap()),
        destination: pair.map(|(_, destination)| destination.parse().unwrap()),
    }
}

/// Every shorter prefix is incomplete, the whole gives the addresses, and what follows does not matter.
fn check(header: &[u8], pair: Option<(&str, &str)>) {
    for n in 0..header.len() {
        assert_eq!(
            parse(&header[..n]),
            Parsed::Incomplete,
            "{:?}",
            &header[..n]
        );
    }
    let want = done(header.len(), pair);
    for tail in [b"".as_slice(), b"\r\n", b"GET / HTTP/1.1\r\n", &[0; 300]] {
        assert_eq!(parse(&[header, tail].concat()), want, "{header:?} {tail:?}");
    }
}

/// Invalid with the last byte at the latest, and for good.
fn refuse(bytes: &[u8], reason: &str) {
    let first = (0..=bytes.len()).find(|n| parse(&bytes[..*n]) != Parsed::Incomplete);
    for n in first.unwrap_or(bytes.len())..=bytes.len() {
        let verdict = parse(&bytes[..n]);
        assert!(
            matches!(verdict, Parsed::Invalid(text) if text == reason),
            "{verdict:?} {:?}",
            bytes[..n].escape_ascii().to_string()
        );
    }
}

#[test]
fn lines_are_read() {
    check(
        b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n",
        Some(("192.0.2.1:56324", "198.51.100.2:443")),
    );
    check(
        b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
        Some(("255.255.255.255:65535", "255.255.255.255:65535")),
    );
    check(
        b"PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n",
        Some(("0.0.0.0:0", "0.0.0.0:0")),
    );
    check(
        b"PROXY TCP6 2001:db8::1 ::1 1 2\r\n",
        Some(("[2001:db8::1]:1", "[::1]:2")),
    );
    check(
        b"PROXY TCP6 ::ffff:192.0.2.1 ::FFFF:c000:0202 1 2\r\n",
        Some(("192.0.2.1:1", "192.0.2.2:2")),
    );
    check(b"PROXY UNKNOWN\r\n", None);
    check(b"PROXY UNKNOWN whatever is written\r\n", None);
    let longest = "PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff \
                   ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n";
    assert_eq!(longest.len(), V1_MOST);
    check(longest.as_bytes(), None);
}

#[test]
fn broken_lines_are_refused() {
    for (line, reason) in [
        ("GET / HTTP/1.1\r\n", "no PROXY header"),
        ("POST ", "no PROXY header"),
        ("proxy TCP4", "no PROXY header"),
        ("PROXY\t", "no PROXY header"),
        ("PROXY\r\n", "no PROXY header"),
        ("PROXY \r\n", "unknown protocol in PROXY line"),
        (
            "PROXY tcp4 1.1.1.1 1.1.1.1 1 1\r\n",
            "unknown protocol in PROXY line",
        ),
        (
            "PROXY TCP5 1.1.1.1 1.1.1.1 1 1\r\n",
            "unknown protocol in PROXY line",
        ),
        (
            "PROXY UDP4 1.1.1.1 1.1.1.1 1 1\r\n",
            "unknown protocol in PROXY line",
        ),
        (
            "PROXY  TCP4 1.1.1.1 1.1.1.1 1 1\r\n",
            "unknown protocol in PROXY line",
        ),
        ("PROXY UNKNOWNX\r\n", "unknown protocol in PROXY line"),
        ("PROXY TCP4\r\n", "bad address in PROXY line"),
        ("PROXY TCP4 1.1.1.1\r\n", "bad address in PROXY line"),
        (
            "PROXY TCP4 1.1.1.1  1.1.1.1 1 1\r\n",
            "bad address in PROXY line",
        ),
        ("PROXY TCP4 ::1 ::1 1 1\r\n", "bad address in PROXY line"),
        (
            "PROXY TCP6 1.1.1.1 1.1.1.1 1 1\r\n",
            "bad address in PROXY line",
        ),
        (
            "PROXY TCP4 01.1.1.1 1.1.1.1 1 1\r\n",
            "bad address in PROXY line",
        ),
        (
            "PROXY TCP4 256.1.1.1 1.1.1.1 1 1\r\n",
            "bad address in PROXY line",
        ),
        (
            "PROXY TCP6 fe80::1%lo ::1 1 1\r\n",
            "bad address in PROXY line",
        ),
        ("PROXY TCP6 [::1] ::1 1 1\r\n", "bad address in PROXY line"),
    ] {
        refuse(line.as_bytes(), reason);
    }
}

#[test]
fn broken_ports_and_ends_of_lines_are_refused() {
    for (line, reason) in [
        ("PROXY TCP4 1.1.1.1 1.1.1.1 1\r\n", "bad port in PROXY line"),
        (
            "PROXY TCP4 1.1.1.1 1.1.1.1 1 \r\n",
            "bad port in PROXY line",
        ),
        (
            "PROXY TCP4 1.1.1.1 1.1.1.1 1 1 \r\n",
            "bad port in PROXY line",
        ),
        (
            "PROXY TCP4 1.1.1.1 1.1.1.1 1 1 1\r\n",
            "bad port in PROXY line",
        ),
        (
            "PROXY TCP4 1.1.1.1 1.1.1.1 01 1\r\n",
            "bad port in PROXY line",
        ),
        (
            "PROXY TCP4 1.1.1.1 1.1.1.1 +1 1\r\n",
            "bad port in PROXY line",
        ),
        (
            "PROXY TCP4 1.1.1.1 1.1.1.1 65536 1\r\n",
            "bad port in PROXY line",
        ),
        (
            "PROXY TCP4 1.1.1.1 1.1.1.1 1 99999999999999999999\r\n",
            "bad port in PROXY line",
        ),
        (
            "PROXY TCP4 1.1.1.1 1.1.1.1 1 1\n",
            "PROXY line not ended by CRLF",
        ),
        (
            "PROXY TCP4 1.1.1.1 1.1.1.1 1 1\rx",
            "PROXY line not ended by CRLF",
        ),
        (
            "PROXY TCP4 1.1.1.1\t1.1.1.1",
            "PROXY line not ended by CRLF",
        ),
        ("PROXY UNKNOWN \0", "PROXY line not ended by CRLF"),
        ("PROXY UNKNOWN \u{e9}", "PROXY line not ended by CRLF"),
    ] {
        refuse(line.as_bytes(), reason);
    }
    let long = format!("PROXY UNKNOWN {}", "x".repeat(200));
    refuse(long.as_bytes(), "PROXY line too long");
    // The last byte of the longest line would be the CR.
    let by_one = format!("PROXY UNKNOWN {}\r\n", "x".repeat(V1_MOST - 15));
    assert_eq!(by_one.len(), V1_MOST + 1);
    refuse(by_one.as_bytes(), "PROXY line not ended by CRLF");
}

fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let mut header = SIGNATURE.to_vec();
    header.extend([command, family]);
    header.extend((body.len() as u16).to_be_bytes());
    header.extend(body);
    header
}

const V4: [u8; 12] = [192, 0, 2, 1, 198, 51, 100, 2, 0xdc, 0x04, 0x01, 0xbb];

#[test]
fn binary_headers_are_read() {
    let pair = Some(("192.0.2.1:56324", "198.51.100.2:443"));
    check(&v2(0x21, 0x11, &V4), pair);
    let v6 = [
        &[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1][..],
        &[0; 15],
        &[1, 0, 1, 0, 2],
    ];
    check(
        &v2(0x21, 0x21, &v6.concat()),
        Some(("[2001:db8::1]:1", "[::1]:2")),
    );
    let mut mapped = [0; 36];
    mapped[10..16].copy_from_slice(&[0xff, 0xff, 1, 2, 3, 4]);
    check(&v2(0x21, 0x21, &mapped), Some(("1.2.3.4:0", "[::]:0")));
    check(&v2(0x21, 0x31, &[b'/'; UNIX_ADDRESSES]), None);
    check(&v2(0x21, 0x00, &[]), None);
    check(&v2(0x20, 0x00, &[]), None);
    // LOCAL: what follows is skipped, whole or not.
    check(&v2(0x20, 0x11, &V4), None);
    check(&v2(0x20, 0x11, &V4[..3]), None);
    check(&v2(0x20, 0x00, &[9; 5]), None);

    // Fields: NOOP, ALPN, empty, unknown.
    let fields = b"\x04\x00\x02xx\x01\x00\x02h2\x02\x00\x00\xee\x00\x01z";
    check(&v2(0x21, 0x11, &[&V4[..], fields].concat()), pair);
    check(&v2(0x21, 0x00, fields), None);
    let many = [&[0x04, 0x0f, 0xfd][..], &[0; 0xffd]].concat();
    assert_eq!(many.len(), MAX_TLVS);
    check(&v2(0x21, 0x11, &[&V4[..], &many].concat()), pair);
    let longest = v2(0x21, 0x31, &[&[0; UNIX_ADDRESSES][..], &many].concat());
    assert_eq!(longest.len(), MOST);
    check(&longest, None);
}

#[test]
fn broken_binary_headers_are_refused() {
    refuse(b"\r\n\r\n\0\r\nQUIX", "no PROXY header");
    refuse(b"\r\n\r\nGET", "no PROXY header");
    refuse(b"\x16\x03", "no PROXY header");
    for (command, family, body, reason) in [
        (0x11, 0x11, &V4[..], "unknown version of PROXY header"),
        (0x31, 0x11, &V4, "unknown version of PROXY header"),
        (0x22, 0x11, &V4, "unknown command in PROXY header"),
        (0x21, 0x12, &V4, "PROXY header of a datagram"),
        (0x21, 0x13, &V4, "unknown protocol in PROXY header"),
        (0x21, 0x41, &V4, "unknown protocol in PROXY header"),
        (0x21, 0x01, &V4, "unknown protocol in PROXY header"),
        (0x21, 0x10, &V4, "unknown protocol in PROXY header"),
        (
            0x21,
            0x11,
            &V4[..11],
            "PROXY header shorter than its addresses",
        ),
        (0x21, 0x21, &V4, "PROXY header shorter than its addresses"),
        (0x21, 0x31, &V4, "PROXY header shorter than its addresses"),
        (0x21, 0x00, b"\x04", "field of PROXY header cut short"),
        (0x21, 0x00, b"\x04\x00", "field of PROXY header cut short"),
        (
            0x21,
            0x00,
            b"\x04\x00\x01",
            "field of PROXY header cut short",
        ),
        (
            0x21,
            0x00,
            b"\x04\x00\x00\x04",
            "field of PROXY header cut short",
        ),
        (
            0x21,
            0x00,
            b"\x03\x00\x01x",
            "bad checksum field in PROXY header",
        ),
        (
            0x21,
            0x00,
            b"\x03\x00\x04\0\0\0\0",
            "wrong checksum in PROXY header",
        ),
        (0x20, 0x00, &[0; MAX_TLVS + 1], "PROXY header too long"),
    ] {
        refuse(&v2(command, family, body), reason);
    }
    refuse(&v2(0x21, 0x00, &vec![0; 65_535]), "PROXY header too long");
}

#[test]
fn a_checksum_is_verified() {
    assert_eq!(crc32c(0, b"123456789"), 0xe306_9283);
    let mut header = v2(
        0x21,
        0x11,
        &[&V4[..], b"\x04\x00\x01x\x03\x00\x04\0\0\0\0\x04\x00\x01y"].concat(),
    );
    let sum = crc32c(0, &header);
    let at = header.len() - 8;
    header[at..at + 4].copy_from_slice(&sum.to_be_bytes());
    check(&header, Some(("192.0.2.1:56324", "198.51.100.2:443")));
    // Without its kind, the field is no checksum.
    let kind = at - 3;
    for bit in (0..header.len() * 8).filter(|bit| bit / 8 != kind) {
        let mut broken = header.clone();
        broken[bit / 8] ^= 1 << (bit % 8);
        assert!(
            !matches!(
                parse(&broken),
                Parsed::Done {
                    source: Some(_),
                    ..
                }
            ),
            "bit {bit}"
        );
    }
}

#[test]
fn unknown_addresses_are_written_as_such() {
    let v4: Option<SocketAddr> = Some("192.0.2.1:1".parse().unwrap());
    let v6: Option<SocketAddr> = Some("[2001:db8::1]:1".parse().unwrap());
    for (source, destination) in [(None, None), (v4, None), (None, v6), (v4, v6), (v6, v4)] {
        let mut out = Vec::new();
        write(Version::V1, source, destination, &mut out);
        assert_eq!(out, b"PROXY UNKNOWN\r\n");
        out.clear();
        write(Version::V2, source, destination, &mut out);
        assert_eq!(out, v2(0x20, 0, &[]));
    }
}

fn ip_pair() -> impl Strategy<Value = (IpAddr, IpAddr)> {
    let v6 =
        any::<Ipv6Addr>().prop_filter("is an IPv4 address", |ip| ip.to_ipv4_mapped().is_none());
    prop_oneof![
        any::<(Ipv4Addr, Ipv4Addr)>().prop_map(|(a, b)| (a.into(), b.into())),
        (v6.clone(), v6).prop_map(|(a, b)| (a.into(), b.into())),
    ]
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        (source, destination) in ip_pair(),
        ports in any::<(u16, u16)>(),
        v1 in any::<bool>(),
    ) {
        let source = SocketAddr::new(source, ports.0);
        let destination = SocketAddr::new(destination, ports.1);
        let version = if v1 { Version::V1 } else { Version::V2 };
        let mut out = b"kept".to_vec();
        write(version, Some(source), Some(destination), &mut out);
        let header = out.strip_prefix(b"kept").unwrap();
        check(header, Some((&source.to_string(), &destination.to_string())));
    }

    #[test]
    fn nothing_panics_and_verdicts_stay(
        start in prop::sample::select(vec![
            &b""[..], b"PROXY ", b"PROXY TCP4 ", b"PROXY TCP6 ::1 ", SIGNATURE,
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00",
            b"\r\n\r\n\0\r\nQUIT\n\x21\x00\x00\x10\x03",
        ]),
        tail in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let bytes = [start, &tail].concat();
        let mut verdict = Parsed::Incomplete;
        for n in 0..=bytes.len() {
            let now = parse(&bytes[..n]);
            if verdict != Parsed::Incomplete {
                prop_assert_eq!(now, verdict);
            }
            prop_assert!(now != Parsed::Incomplete || n < MOST);
            if let Parsed::Done { length, .. } = now {
                prop_assert!(length <= n);
            }
            verdict = now;
        }
    }
}
