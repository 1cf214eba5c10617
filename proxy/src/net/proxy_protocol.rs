//! The PROXY protocol, versions 1 and 2 (`proxy-protocol.txt` of `HAProxy`): who really connected,
//! told in front of the first byte. Pure: bytes in, verdict out, and the other way.
//!
//! Who may send such a header is not decided here: a listener that expects it takes it from
//! everybody, so only balancers may reach that listener.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

/// What the bytes so far are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parsed {
    /// The beginning of a header.
    Incomplete,
    /// Not a header, for this reason.
    Invalid(&'static str),
    /// A whole header of `length` bytes. Addresses are absent where the sender knows none
    /// (`UNKNOWN`, `LOCAL`, Unix sockets): those of the connection hold then.
    Done {
        length: usize,
        source: Option<SocketAddr>,
        destination: Option<SocketAddr>,
    },
}

/// Which form to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// One line of text.
    V1,
    /// Binary.
    V2,
}

/// No header that is accepted is longer.
pub(crate) const MOST: usize = V2_HEAD + UNIX_ADDRESSES + MAX_TLVS;

/// The longest line, `PROXY UNKNOWN` with two full IPv6 addresses, as the specification counts it.
const V1_MOST: usize = 107;

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
const V2_HEAD: usize = 16;
const UNIX_ADDRESSES: usize = 216;
/// Our bound on what follows the addresses (type-length-value fields).
const MAX_TLVS: usize = 4096;
const TLV_CRC32C: u8 = 0x03;

/// Judges the first bytes of a connection.
pub(crate) fn parse(bytes: &[u8]) -> Parsed {
    let result = match bytes.first() {
        None => Ok(None),
        Some(b'P') => parse_v1(bytes),
        Some(_) => parse_v2(bytes),
    };
    match result {
        Ok(None) => Parsed::Incomplete,
        Err(reason) => Parsed::Invalid(reason),
        Ok(Some((length, pair))) => Parsed::Done {
            length,
            source: pair.map(|(source, _)| source),
            destination: pair.map(|(_, destination)| destination),
        },
    }
}

type Pair = (SocketAddr, SocketAddr);
type Header = Result<Option<(usize, Option<Pair>)>, &'static str>;

fn parse_v1(bytes: &[u8]) -> Header {
    const START: &[u8] = b"PROXY ";
    if !starts_alike(bytes, START) {
        return Err("no PROXY header");
    }
    let looked_at = bytes.get(..V1_MOST).unwrap_or(bytes);
    let Some(end) = looked_at
        .iter()
        .position(|byte| !(b' '..=b'~').contains(byte))
    else {
        return if bytes.len() >= V1_MOST {
            Err("PROXY line too long")
        } else {
            Ok(None)
        };
    };
    let (line, rest) = bytes.split_at(end);
    match rest {
        [b'\r', b'\n', ..] if end + 2 <= V1_MOST => {}
        [b'\r'] if end + 2 <= V1_MOST => return Ok(None),
        _ => return Err("PROXY line not ended by CRLF"),
    }
    let line = line
        .strip_prefix(START)
        .and_then(|line| str::from_utf8(line).ok())
        .ok_or("no PROXY header")?;
    let mut words = line.split(' ');
    let pair = match words.next() {
        // Whatever follows is to be ignored.
        Some("UNKNOWN") => None,
        Some("TCP4") => Some(v1_pair::<Ipv4Addr>(words)?),
        Some("TCP6") => Some(v1_pair::<Ipv6Addr>(words)?),
        _ => return Err("unknown protocol in PROXY line"),
    };
    Ok(Some((end + 2, pair)))
}

fn v1_pair<'a, A: FromStr + Into<IpAddr>>(
    mut words: impl Iterator<Item = &'a str>,
) -> Result<Pair, &'static str> {
    let mut ip = || -> Option<IpAddr> { Some(words.next()?.parse::<A>().ok()?.into()) };
    let (Some(source), Some(destination)) = (ip(), ip()) else {
        return Err("bad address in PROXY line");
    };
    let mut port = || words.next().and_then(decimal_port);
    let (Some(source_port), Some(destination_port), None) = (port(), port(), words.next()) else {
        return Err("bad port in PROXY line");
    };
    Ok((
        address(source, source_port),
        address(destination, destination_port),
    ))
}

/// Digits without a sign or leading zeros.
fn decimal_port(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let canonical = digits && (text == "0" || !text.starts_with('0'));
    canonical.then(|| text.parse().ok()).flatten()
}

fn parse_v2(bytes: &[u8]) -> Header {
    if !starts_alike(bytes, SIGNATURE) {
        return Err("no PROXY header");
    }
    // What is known to be wrong is said before the rest has come.
    match bytes.get(12) {
        None | Some(0x20 | 0x21) => {}
        Some(byte) if byte >> 4 != 2 => return Err("unknown version of PROXY header"),
        Some(_) => return Err("unknown command in PROXY header"),
    }
    let (family, addresses_length) = match bytes.get(13) {
        None => return Ok(None),
        Some(0x00) => (Family::None, 0),
        Some(0x11) => (Family::V4, 12),
        Some(0x21) => (Family::V6, 36),
        Some(0x31) => (Family::None, UNIX_ADDRESSES),
        Some(0x12 | 0x22 | 0x32) => return Err("PROXY header of a datagram"),
        Some(_) => return Err("unknown protocol in PROXY header"),
    };
    let Some(length) = bytes.get(14..V2_HEAD) else {
        return Ok(None);
    };
    let length = length.iter().fold(0, |n, byte| n << 8 | usize::from(*byte));
    let local = bytes.get(12) == Some(&0x20);
    // The sender of LOCAL may leave the addresses out; they are not looked at.
    let skipped = if local {
        length.min(addresses_length)
    } else {
        addresses_length
    };
    let Some(tlvs_length) = length.checked_sub(skipped) else {
        return Err("PROXY header shorter than its addresses");
    };
    if tlvs_length > MAX_TLVS {
        return Err("PROXY header too long");
    }
    let Some(header) = bytes.get(..V2_HEAD + length) else {
        return Ok(None);
    };
    let body = header.get(V2_HEAD..).unwrap_or_default();
    let (addresses, tlvs) = body.split_at_checked(skipped).unwrap_or_default();
    if !local {
        check_tlvs(header, tlvs)?;
    }
    let pair = match family {
        _ if local => None,
        Family::None => None,
        Family::V4 => v2_pair::<4>(addresses),
        Family::V6 => v2_pair::<16>(addresses),
    };
    Ok(Some((header.len(), pair)))
}

enum Family {
    None,
    V4,
    V6,
}

/// Source, destination, source port, destination port.
fn v2_pair<const N: usize>(bytes: &[u8]) -> Option<Pair>
where
    IpAddr: From<[u8; N]>,
{
    let (source, rest) = bytes.split_first_chunk::<N>()?;
    let (destination, rest) = rest.split_first_chunk::<N>()?;
    let (source_port, rest) = rest.split_first_chunk()?;
    let (destination_port, _) = rest.split_first_chunk()?;
    Some((
        address((*source).into(), u16::from_be_bytes(*source_port)),
        address((*destination).into(), u16::from_be_bytes(*destination_port)),
    ))
}

/// An IPv4 address in IPv6 clothes is one and the same peer: policies must see it as one.
fn address(ip: IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(ip.to_canonical(), port)
}

/// Each field lies inside the header, and the checksum, where there is one, is right.
fn check_tlvs(header: &[u8], mut tlvs: &[u8]) -> Result<(), &'static str> {
    while let [kind, high, low, rest @ ..] = tlvs {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let (value, after) = rest
            .split_at_checked(length)
            .ok_or("field of PROXY header cut short")?;
        if *kind == TLV_CRC32C {
            let claimed: [u8; 4] = value
                .try_into()
                .map_err(|_| "bad checksum field in PROXY header")?;
            // The sum is taken with its own four bytes as zeros.
            let at = header.len() - after.len() - value.len();
            let (before, _) = header.split_at_checked(at).unwrap_or_default();
            let sum = crc32c(crc32c(crc32c(0, before), &[0; 4]), after);
            if sum != u32::from_be_bytes(claimed) {
                return Err("wrong checksum in PROXY header");
            }
        }
        tlvs = after;
    }
    if tlvs.is_empty() {
        Ok(())
    } else {
        Err("field of PROXY header cut short")
    }
}

/// CRC-32C (RFC 3720 appendix B.4), continued from `crc`. Bit by bit: headers are short and rare.
fn crc32c(crc: u32, bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!crc, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg())
        })
    })
}

/// Whether one begins with the other.
fn starts_alike(bytes: &[u8], start: &[u8]) -> bool {
    bytes.starts_with(start) || start.starts_with(bytes)
}

/// Appends a header. Without both addresses, or with addresses of two families, it says that
/// they are unknown (`UNKNOWN`, or `LOCAL` in version 2).
pub(crate) fn write(
    version: Version,
    source: Option<SocketAddr>,
    destination: Option<SocketAddr>,
    out: &mut Vec<u8>,
) {
    let pair = source
        .zip(destination)
        .filter(|(source, destination)| source.is_ipv4() == destination.is_ipv4());
    match version {
        Version::V1 => write_v1(pair, out),
        Version::V2 => write_v2(pair, out),
    }
}

fn write_v1(pair: Option<Pair>, out: &mut Vec<u8>) {
    let line = match pair {
        Some((source, destination)) => format!(
            "PROXY TCP{} {} {} {} {}\r\n",
            if source.is_ipv4() { 4 } else { 6 },
            source.ip(),
            destination.ip(),
            source.port(),
            destination.port(),
        ),
        None => "PROXY UNKNOWN\r\n".to_owned(),
    };
    out.extend_from_slice(line.as_bytes());
}

fn write_v2(pair: Option<Pair>, out: &mut Vec<u8>) {
    out.extend_from_slice(SIGNATURE);
    let (command, family, length) = match pair {
        None => (0x20, 0x00, 0),
        Some((SocketAddr::V4(_), _)) => (0x21, 0x11, 12),
        Some((SocketAddr::V6(_), _)) => (0x21, 0x21, 36),
    };
    out.extend_from_slice(&[command, family, 0, length]);
    let Some((source, destination)) = pair else {
        return;
    };
    for ip in [source.ip(), destination.ip()] {
        match ip {
            IpAddr::V4(ip) => out.extend_from_slice(&ip.octets()),
            IpAddr::V6(ip) => out.extend_from_slice(&ip.octets()),
        }
    }
    for port in [source.port(), destination.port()] {
        out.extend_from_slice(&port.to_be_bytes());
    }
}

#[cfg(test)]
mod tests;
