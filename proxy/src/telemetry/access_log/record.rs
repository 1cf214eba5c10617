//! What one line says, in JSON or as `key=value` pairs. Keys, their order and bounds stand once,
//! in [`Record::fields`].
//!
//! Queries are left out: they carry tokens and personal data more often than anything that
//! helps.

use std::{
    fmt::Display,
    io::Write as _,
    net::SocketAddr,
    time::{Duration, SystemTime},
};

use outrigger_config::model::LogFormat;

use super::{escape, stamp::Stamp};
use crate::error::Cause;

/// A finished request or opaque connection. What is `None` is not in the line.
#[derive(Clone, Debug)]
pub(crate) struct Record<'a> {
    /// When it began.
    pub(crate) time: SystemTime,
    pub(crate) kind: Kind,
    pub(crate) listener: &'a str,
    /// Absent on Unix sockets.
    pub(crate) client: Option<SocketAddr>,
    pub(crate) method: Option<&'a [u8]>,
    pub(crate) host: Option<&'a [u8]>,
    /// As forwarded. What follows `?` is cut off here.
    pub(crate) path: Option<&'a [u8]>,
    pub(crate) protocol: Option<&'static str>,
    /// The name that a TLS connection asks for, and the protocols that it offers.
    pub(crate) sni: Option<&'a [u8]>,
    pub(crate) alpn: Option<&'a [u8]>,
    /// Version, cipher suite and key exchange group of TLS that is ended here.
    pub(crate) tls_version: Option<&'static str>,
    pub(crate) cipher: Option<&'static str>,
    pub(crate) group: Option<&'static str>,
    /// Who the client is in the mesh.
    pub(crate) identity: Option<&'a str>,
    /// The policy that refused it, and the one that would have but for an audit.
    pub(crate) policy: Option<&'a str>,
    pub(crate) policy_audit: Option<&'a str>,
    /// Sent to the client, or that of the cause where nothing could be sent.
    pub(crate) status: Option<u16>,
    /// Of a gRPC call: what became of it, by trailers or by us.
    pub(crate) grpc_status: Option<u32>,
    /// Bytes of the body, or of the connection, from and to the client.
    pub(crate) received: u64,
    pub(crate) sent: u64,
    /// After an upgrade or CONNECT.
    pub(crate) tunnel_received: Option<u64>,
    pub(crate) tunnel_sent: Option<u64>,
    pub(crate) duration: Duration,
    /// Waiting for the head of the endpoint's response.
    pub(crate) upstream: Option<Duration>,
    /// Spent in this proxy, not waiting for a peer.
    pub(crate) overhead: Option<Duration>,
    pub(crate) route: Option<&'a str>,
    pub(crate) cluster: Option<&'a str>,
    pub(crate) endpoint: Option<&'a str>,
    /// Times it was tried upstream; 0 where it never was.
    pub(crate) attempts: u32,
    pub(crate) cause: Option<Cause>,
    /// Says more of the cause; empty where there is no more.
    pub(crate) detail: &'a str,
    pub(crate) request_id: Option<&'a [u8]>,
    pub(crate) traceparent: Option<&'a [u8]>,
    pub(crate) user_agent: Option<&'a [u8]>,
}

/// What a line is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A request.
    Http,
    /// An opaque connection.
    Tcp,
}

/// Most bytes shown of what a peer chose; [`CUT`] tells that there were more.
const PATH: usize = 2_048;
const SHORT: usize = 256;
const CUT: &str = "...";

impl<'a> Record<'a> {
    /// A record of which only this much is known.
    pub(crate) fn new(time: SystemTime, kind: Kind, listener: &'a str) -> Self {
        Self {
            time,
            kind,
            listener,
            client: None,
            method: None,
            host: None,
            path: None,
            protocol: None,
            sni: None,
            alpn: None,
            tls_version: None,
            cipher: None,
            group: None,
            identity: None,
            policy: None,
            policy_audit: None,
            status: None,
            grpc_status: None,
            received: 0,
            sent: 0,
            tunnel_received: None,
            tunnel_sent: None,
            duration: Duration::ZERO,
            upstream: None,
            overhead: None,
            route: None,
            cluster: None,
            endpoint: None,
            attempts: 0,
            cause: None,
            detail: "",
            request_id: None,
            traceparent: None,
            user_agent: None,
        }
    }

    /// Appends a line.
    pub(super) fn write(&self, format: LogFormat, stamp: &mut Stamp, out: &mut Vec<u8>) {
        match format {
            LogFormat::Json => self.json(stamp, out),
            LogFormat::Text => self.text(stamp, out),
        }
    }

    fn json(&self, stamp: &mut Stamp, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"time\":\"");
        stamp.write(self.time, out);
        out.push(b'"');
        self.fields(&mut Json(out));
        out.extend_from_slice(b"}\n");
    }

    fn text(&self, stamp: &mut Stamp, out: &mut Vec<u8>) {
        out.extend_from_slice(b"time=");
        stamp.write(self.time, out);
        self.fields(&mut Logfmt(out));
        out.push(b'\n');
    }

    fn fields(&self, line: &mut impl Line) {
        line.word("kind", self.kind.word());
        line.bytes("listener", self.listener.as_bytes(), SHORT);
        line.maybe("client", self.client, Line::display);
        line.maybe("method", self.method, short);
        line.maybe("host", self.host, short);
        line.maybe("path", self.path.map(without_query), |line, key, path| {
            line.bytes(key, path, PATH);
        });
        line.maybe("protocol", self.protocol, Line::word);
        line.maybe("sni", self.sni, short);
        line.maybe("alpn", self.alpn, short);
        line.maybe("tls_version", self.tls_version, Line::word);
        line.maybe("cipher", self.cipher, Line::word);
        line.maybe("group", self.group, Line::word);
        line.maybe("identity", self.identity, |line, key, id| {
            line.bytes(key, id.as_bytes(), PATH);
        });
        line.maybe("status", self.status.map(u64::from), Line::number);
        let grpc_status = self.grpc_status.map(u64::from);
        line.maybe("grpc_status", grpc_status, Line::number);
        line.number("received", self.received);
        line.number("sent", self.sent);
        line.maybe("tunnel_received", self.tunnel_received, Line::number);
        line.maybe("tunnel_sent", self.tunnel_sent, Line::number);
        line.number("duration_us", micros(self.duration));
        line.maybe("upstream_us", self.upstream.map(micros), Line::number);
        line.maybe("overhead_us", self.overhead.map(micros), Line::number);
        line.maybe("route", self.route, name);
        line.maybe("cluster", self.cluster, name);
        line.maybe("endpoint", self.endpoint, name);
        line.number("attempts", u64::from(self.attempts));
        line.maybe("cause", self.cause.map(Cause::word), Line::word);
        line.maybe(
            "detail",
            Some(self.detail).filter(|text| !text.is_empty()),
            name,
        );
        line.maybe("policy", self.policy, name);
        line.maybe("policy_audit", self.policy_audit, name);
        line.maybe("request_id", self.request_id, short);
        line.maybe("traceparent", self.traceparent, short);
        line.maybe("user_agent", self.user_agent, short);
    }
}

impl Kind {
    const fn word(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Tcp => "tcp",
        }
    }
}

fn micros(duration: Duration) -> u64 {
    duration.as_micros().try_into().unwrap_or(u64::MAX)
}

fn short<L: Line>(line: &mut L, key: &str, value: &[u8]) {
    line.bytes(key, value, SHORT);
}

fn name<L: Line>(line: &mut L, key: &str, value: &str) {
    line.bytes(key, value.as_bytes(), SHORT);
}

fn without_query(path: &[u8]) -> &[u8] {
    memchr::memchr2(b'?', b'#', path).map_or(path, |at| path.split_at(at).0)
}

/// The first `most` bytes, less if that would cut a character, and whether that is all.
fn bounded(bytes: &[u8], most: usize) -> (&[u8], &'static str) {
    let Some((head, rest)) = bytes.split_at_checked(most) else {
        return (bytes, "");
    };
    if rest.is_empty() {
        return (bytes, "");
    }
    let continues = |byte: &u8| byte & 0xc0 == 0x80;
    let mut head = head;
    if rest.first().is_some_and(continues) {
        // A character has at most three further bytes; more are no character.
        let back = head.iter().rev().take(3).take_while(|b| continues(b));
        let back = back.count() + 1;
        head = head.split_at(head.len().saturating_sub(back)).0;
    }
    (head, CUT)
}

/// A line that is being written.
trait Line: Sized {
    /// A number.
    fn number(&mut self, key: &str, value: u64);
    /// Bytes that anyone may have chosen, at most so many of them.
    fn bytes(&mut self, key: &str, value: &[u8], most: usize);
    /// Our own word, in need of no escape.
    fn word(&mut self, key: &str, value: &'static str);
    /// Something of which no spelling needs an escape.
    fn display(&mut self, key: &str, value: impl Display);

    fn maybe<V>(&mut self, key: &str, value: Option<V>, write: fn(&mut Self, &str, V)) {
        if let Some(value) = value {
            write(self, key, value);
        }
    }
}

struct Json<'a>(&'a mut Vec<u8>);

impl Json<'_> {
    fn key(&mut self, key: &str) {
        self.0.extend_from_slice(b",\"");
        self.0.extend_from_slice(key.as_bytes());
        self.0.extend_from_slice(b"\":");
    }
}

impl Line for Json<'_> {
    fn number(&mut self, key: &str, value: u64) {
        self.key(key);
        self.0
            .extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    }

    fn bytes(&mut self, key: &str, value: &[u8], most: usize) {
        let (value, cut) = bounded(value, most);
        self.key(key);
        self.0.push(b'"');
        escape::json(value, self.0);
        self.0.extend_from_slice(cut.as_bytes());
        self.0.push(b'"');
    }

    fn word(&mut self, key: &str, value: &'static str) {
        self.key(key);
        self.0.push(b'"');
        self.0.extend_from_slice(value.as_bytes());
        self.0.push(b'"');
    }

    fn display(&mut self, key: &str, value: impl Display) {
        self.key(key);
        // Writing to a vector does not fail.
        let _ = write!(self.0, "\"{value}\"");
    }
}

struct Logfmt<'a>(&'a mut Vec<u8>);

impl Logfmt<'_> {
    fn key(&mut self, key: &str) {
        self.0.push(b' ');
        self.0.extend_from_slice(key.as_bytes());
        self.0.push(b'=');
    }
}

impl Line for Logfmt<'_> {
    fn number(&mut self, key: &str, value: u64) {
        self.key(key);
        self.0
            .extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    }

    fn bytes(&mut self, key: &str, value: &[u8], most: usize) {
        let (value, cut) = bounded(value, most);
        self.key(key);
        if escape::is_bare(value) {
            self.0.extend_from_slice(value);
            self.0.extend_from_slice(cut.as_bytes());
        } else {
            self.0.push(b'"');
            escape::quoted(value, self.0);
            self.0.extend_from_slice(cut.as_bytes());
            self.0.push(b'"');
        }
    }

    fn word(&mut self, key: &str, value: &'static str) {
        self.key(key);
        self.0.extend_from_slice(value.as_bytes());
    }

    fn display(&mut self, key: &str, value: impl Display) {
        self.key(key);
        // Writing to a vector does not fail.
        let _ = write!(self.0, "{value}");
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use proptest::prelude::*;

    use super::*;

    fn line(record: &Record<'_>, format: LogFormat) -> String {
        let mut out = Vec::new();
        record.write(format, &mut Stamp::default(), &mut out);
        String::from_utf8(out).unwrap()
    }

    fn request() -> Record<'static> {
        Record {
            client: Some("127.0.0.1:5555".parse().unwrap()),
            method: Some(b"GET"),
            host: Some(b"shop.example"),
            path: Some(b"/api/items?token=secret"),
            protocol: Some("HTTP/1.1"),
            status: Some(200),
            sent: 512,
            duration: Duration::from_micros(1_234),
            upstream: Some(Duration::from_micros(1_200)),
            overhead: Some(Duration::from_micros(21)),
            route: Some("shop"),
            cluster: Some("api-v1"),
            endpoint: Some("127.0.0.1:9001"),
            attempts: 1,
            request_id: Some(b"0b5e"),
            user_agent: Some(b"curl/8.0 \"x\""),
            ..Record::new(UNIX_EPOCH, Kind::Http, "web")
        }
    }

    #[test]
    fn a_request_in_json() {
        assert_eq!(
            line(&request(), LogFormat::Json),
            concat!(
                r#"{"time":"1970-01-01T00:00:00.000Z","kind":"http","listener":"web","#,
                r#""client":"127.0.0.1:5555","method":"GET","host":"shop.example","path":"/api/items","#,
                r#""protocol":"HTTP/1.1","status":200,"received":0,"sent":512,"duration_us":1234,"#,
                r#""upstream_us":1200,"overhead_us":21,"route":"shop","cluster":"api-v1","#,
                r#""endpoint":"127.0.0.1:9001","attempts":1,"request_id":"0b5e","user_agent":"curl/8.0 \"x\""}"#,
                "\n"
            )
        );
    }

    #[test]
    fn a_request_in_text() {
        assert_eq!(
            line(&request(), LogFormat::Text),
            concat!(
                "time=1970-01-01T00:00:00.000Z kind=http listener=web client=127.0.0.1:5555 ",
                "method=GET host=shop.example path=/api/items protocol=HTTP/1.1 status=200 ",
                "received=0 sent=512 duration_us=1234 upstream_us=1200 overhead_us=21 route=shop ",
                "cluster=api-v1 endpoint=127.0.0.1:9001 attempts=1 request_id=0b5e ",
                r#"user_agent="curl/8.0 \"x\"""#,
                "\n"
            )
        );
    }

    #[test]
    fn a_failed_connection() {
        let record = Record {
            client: Some("[2001:db8::1]:1".parse().unwrap()),
            received: 3,
            cluster: Some("postgres"),
            attempts: 2,
            cause: Some(Cause::ConnectTimeout),
            detail: "no answer to SYN",
            ..Record::new(UNIX_EPOCH, Kind::Tcp, "db")
        };
        assert_eq!(
            line(&record, LogFormat::Json),
            concat!(
                r#"{"time":"1970-01-01T00:00:00.000Z","kind":"tcp","listener":"db","#,
                r#""client":"[2001:db8::1]:1","received":3,"sent":0,"duration_us":0,"#,
                r#""cluster":"postgres","attempts":2,"cause":"connection_timeout","#,
                r#""detail":"no answer to SYN"}"#,
                "\n"
            )
        );
        assert_eq!(
            line(&record, LogFormat::Text),
            concat!(
                "time=1970-01-01T00:00:00.000Z kind=tcp listener=db client=[2001:db8::1]:1 ",
                "received=3 sent=0 duration_us=0 cluster=postgres attempts=2 ",
                "cause=connection_timeout detail=\"no answer to SYN\"\n"
            )
        );
    }

    #[test]
    fn long_values_are_cut_between_characters_and_marked() {
        let check = |bytes: &[u8], most, kept: usize| {
            let (head, cut) = bounded(bytes, most);
            assert_eq!((head.len(), cut.is_empty()), (kept, kept == bytes.len()));
        };
        check(b"abc", 3, 3);
        check(b"abcd", 3, 3);
        check("ab\u{fc}".as_bytes(), 3, 2);
        check("\u{65e5}\u{672c}".as_bytes(), 5, 3);
        check("a\u{1f980}".as_bytes(), 4, 1);
        check(&[0x80; 10], 5, 1);

        let path = vec![b'a'; 5_000];
        let record = Record {
            path: Some(&path),
            ..request()
        };
        let text = line(&record, LogFormat::Json);
        assert!(text.contains(&format!("\"{}...\"", "a".repeat(2_048))));
    }

    #[test]
    fn the_longest_line_is_bounded() {
        let hostile = vec![0u8; 1 << 20];
        let bytes = Some(&hostile[..]);
        let record = Record {
            method: bytes,
            host: bytes,
            path: bytes,
            sni: bytes,
            alpn: bytes,
            request_id: bytes,
            traceparent: bytes,
            user_agent: bytes,
            ..request()
        };
        assert!(line(&record, LogFormat::Json).len() < 24 * 1024);
    }

    proptest! {
        #[test]
        fn hostile_bytes_stay_one_line(
            a in proptest::collection::vec(any::<u8>(), 0..400),
            b in "[ -~\\r\\n\\t\"\\\\=?]{0,300}",
        ) {
            let record = Record {
                method: Some(&a),
                path: Some(b.as_bytes()),
                host: Some(&a),
                sni: Some(&a),
                alpn: Some(&a),
                user_agent: Some(b.as_bytes()),
                request_id: Some(&a),
                traceparent: Some(&a),
                ..request()
            };
            let json = line(&record, LogFormat::Json);
            prop_assert_eq!(json.matches('\n').count(), 1);
            let value: serde_json::Value = serde_json::from_str(&json).unwrap();
            prop_assert_eq!(value["status"].as_u64(), Some(200));
            if b.len() <= SHORT {
                prop_assert_eq!(value["user_agent"].as_str(), Some(b.as_str()));
            }
            prop_assert!(!value["path"].as_str().unwrap().contains('?'));

            let text = line(&record, LogFormat::Text);
            prop_assert_eq!(text.matches(|c: char| c.is_control()).count(), 1);
            prop_assert!(text.ends_with('\n'));
            // Outside of quotes there are pairs and nothing else.
            let mut quoted = false;
            let mut escaped = false;
            let mut bare = String::new();
            for c in text.trim_end().chars() {
                match c {
                    _ if escaped => escaped = false,
                    '\\' if quoted => escaped = true,
                    '"' => quoted = !quoted,
                    c if !quoted => bare.push(c),
                    _ => {}
                }
            }
            prop_assert!(!quoted);
            prop_assert!(bare.split(' ').all(|pair| pair.matches('=').count() == 1), "{bare}");
        }
    }
}
