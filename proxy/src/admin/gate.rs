//! Who is answered. Decisions over a request's head; nothing is awaited here.
//!
//! A page in a browser must not read or change anything by DNS rebinding (its `Host` is foreign)
//! or across sites (its `Origin` is). The workload shares our loopback, so a change over TCP needs
//! a token that the workload does not have; over a Unix socket it needs to be the same user or
//! root.

use std::{
    fs::File,
    hint::black_box,
    io::Read as _,
    net::IpAddr,
    path::{Path, PathBuf},
};

use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode, Version,
    header::{AUTHORIZATION, HOST, ORIGIN},
    request::Parts,
    uri::Authority,
};

use super::{Face, listen::Caller};

/// Fewer are guessed; more are no token.
const TOKEN_SIZE: std::ops::RangeInclusive<usize> = 16..=4_096;

/// A request that is not answered, and what the caller is told.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) text: &'static str,
}

const fn refuse(status: StatusCode, text: &'static str) -> Refusal {
    Refusal { status, text }
}

/// What a face demands of its callers.
#[derive(Debug)]
pub(super) struct Gate {
    pub(super) is_admin: bool,
    /// Reachable from outside this host.
    exposed: bool,
    allowed_hosts: Vec<String>,
    token_file: Option<PathBuf>,
    /// The user who may make changes over a Unix socket, beside root.
    owner: Option<u32>,
}

impl Gate {
    pub(super) fn new(face: &Face, exposed: bool, owner: Option<u32>) -> Self {
        let (is_admin, allowed_hosts, token_file) = match face {
            Face::Admin(admin) => (
                true,
                admin
                    .allowed_hosts
                    .iter()
                    .map(ToString::to_string)
                    .collect(),
                admin.token_file.as_ref().map(|file| file.as_str().into()),
            ),
            Face::Probes(_) => (false, Vec::new(), None),
        };
        Self {
            is_admin,
            exposed,
            allowed_hosts,
            token_file,
            owner,
        }
    }

    /// Refuses what a page in a browser sends across sites, and what is not for us.
    pub(super) fn admit(&self, caller: Caller, head: &Parts) -> Result<(), Refusal> {
        const BROWSER: Refusal = refuse(
            StatusCode::FORBIDDEN,
            "requests of web pages from elsewhere are not answered",
        );
        let origin = only(&head.headers, &ORIGIN)?;
        let site = only(&head.headers, &HeaderName::from_static("sec-fetch-site"))?;
        if site.is_some_and(|site| site != "same-origin" && site != "none") {
            return Err(BROWSER);
        }
        let Caller::Tcp(local) = caller else {
            // No browser speaks to a Unix socket, so whatever has an origin is no friend; and
            // clients make up a `Host`, since there is none.
            return if origin.is_some() {
                Err(BROWSER)
            } else {
                Ok(())
            };
        };
        let host = only(&head.headers, &HOST)?;
        if host.is_none() && head.version >= Version::HTTP_11 {
            return Err(refuse(StatusCode::BAD_REQUEST, "there is no Host"));
        }
        let host = host.map(HeaderValue::as_bytes);
        let named = host.into_iter().chain(
            head.uri
                .authority()
                .map(|authority| authority.as_str().as_bytes()),
        );
        for host in named {
            if !self.is_ours(host, local.ip()) {
                return Err(refuse(
                    StatusCode::MISDIRECTED_REQUEST,
                    "this Host is not served here; admin.allowed_hosts may name it",
                ));
            }
        }
        let is_same = |origin: &HeaderValue| {
            let origin = origin.as_bytes().strip_prefix(b"http://");
            origin.is_some_and(|origin| host.is_some_and(|host| origin.eq_ignore_ascii_case(host)))
        };
        match origin {
            Some(origin) if !is_same(origin) => Err(BROWSER),
            _ => Ok(()),
        }
    }

    /// Whether a `Host` names us. Exposed probes answer to any: whoever scrapes them knows them by
    /// a name of the network's making, and they were meant to be read.
    fn is_ours(&self, host: &[u8], local: IpAddr) -> bool {
        if !self.is_admin && self.exposed {
            return true;
        }
        let Ok(authority) = Authority::try_from(host) else {
            return false;
        };
        let text = authority.as_str();
        if text.contains('@') {
            return false;
        }
        let name = authority.host();
        let bare = name.trim_start_matches('[').trim_end_matches(']');
        if let Ok(ip) = bare.parse::<IpAddr>() {
            let ip = ip.to_canonical();
            if ip.is_loopback() || ip == local.to_canonical() {
                return true;
            }
        }
        let name_is = |allowed: &str| {
            name.eq_ignore_ascii_case(allowed)
                || bare.eq_ignore_ascii_case(allowed)
                || text.eq_ignore_ascii_case(allowed)
        };
        name_is("localhost") || self.allowed_hosts.iter().any(|allowed| name_is(allowed))
    }

    /// Whether the caller may make changes.
    pub(super) fn may_change(&self, caller: Caller, headers: &HeaderMap) -> Result<(), Refusal> {
        match caller {
            Caller::Unix(Some(uid)) if uid == 0 || Some(uid) == self.owner => Ok(()),
            Caller::Unix(_) => Err(refuse(
                StatusCode::FORBIDDEN,
                "changes are taken from root and from the proxy's own user",
            )),
            Caller::Tcp(_) => self.check_token(headers),
        }
    }

    /// Whether the caller may read what is not for orchestrators.
    pub(super) fn may_read(&self, caller: Caller, headers: &HeaderMap) -> Result<(), Refusal> {
        match caller {
            Caller::Tcp(_) if self.is_admin && self.exposed => self.check_token(headers),
            _ => Ok(()),
        }
    }

    /// The file is read each time: changes are rare, and a replaced token counts at once.
    fn check_token(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let Some(file) = &self.token_file else {
            return Err(refuse(
                StatusCode::FORBIDDEN,
                "over TCP this needs a bearer token, and no admin.token_file is configured; \
                 or use a Unix socket",
            ));
        };
        let given = only(headers, &AUTHORIZATION)?.map(HeaderValue::as_bytes);
        let given = given.and_then(|value| value.split_at_checked(7));
        let Some((_, given)) = given.filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"bearer "))
        else {
            return Err(refuse(
                StatusCode::UNAUTHORIZED,
                "this needs `Authorization: Bearer` with the token in admin.token_file",
            ));
        };
        match read_token(file) {
            Ok(token) if is_same(given, &token) => Ok(()),
            Ok(_) => Err(refuse(StatusCode::UNAUTHORIZED, "this is not the token")),
            Err(error) => {
                tracing::warn!(%error, "admin token cannot be used");
                Err(refuse(
                    StatusCode::FORBIDDEN,
                    "admin.token_file cannot be used; the log says why",
                ))
            }
        }
    }
}

/// The value of a field that may be there once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a HeaderValue>, Refusal> {
    let mut values = headers.get_all(name).iter();
    let value = values.next();
    if values.next().is_some() {
        return Err(refuse(
            StatusCode::BAD_REQUEST,
            "a field that may be there once is there twice",
        ));
    }
    Ok(value)
}

/// Reads a token: the file's text without blanks around it.
pub(super) fn read_token(path: &Path) -> Result<Vec<u8>, String> {
    let wrong = |what: &str| format!("token file {}: {what}", path.display());
    let is_file = std::fs::metadata(path).map(|found| found.is_file());
    if !is_file.map_err(|error| wrong(&error.to_string()))? {
        return Err(wrong("is not a file"));
    }
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(8_192).read_to_end(&mut bytes))
        .map_err(|error| wrong(&error.to_string()))?;
    let token = bytes.trim_ascii();
    if !TOKEN_SIZE.contains(&token.len()) || !token.iter().all(u8::is_ascii_graphic) {
        return Err(wrong("must hold 16 to 4096 visible ASCII characters"));
    }
    Ok(token.to_vec())
}

/// Compares in a time that does not tell how much of the token was right.
fn is_same(given: &[u8], token: &[u8]) -> bool {
    let mut difference = given.len() ^ token.len();
    for (a, b) in given.iter().zip(token.iter().cycle()) {
        difference |= usize::from(black_box(a ^ b));
    }
    black_box(difference) == 0
}

#[cfg(test)]
mod tests {
    use http::Request;
    use outrigger_config::model::{Admin, BindAddress, Probes, Text};

    use super::*;

    fn gate(exposed: bool) -> Gate {
        let admin = Admin {
            bind: BindAddress::LOOPBACK_9901,
            token_file: None,
            allowed_hosts: vec![Text::from("admin.example"), Text::from("other.example:81")],
        };
        Gate::new(&Face::Admin(admin), exposed, Some(1_000))
    }

    fn probes(exposed: bool) -> Gate {
        let bind = BindAddress::LOOPBACK_9901;
        Gate::new(&Face::Probes(Probes { bind }), exposed, None)
    }

    fn head(uri: &str, fields: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().uri(uri);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    const TCP: Caller = Caller::Tcp(std::net::SocketAddr::new(
        IpAddr::V4(std::net::Ipv4Addr::new(10, 1, 2, 3)),
        9_901,
    ));

    fn check(gate: &Gate, caller: Caller, uri: &str, fields: &[(&str, &str)], expected: u16) {
        let status = match gate.admit(caller, &head(uri, fields)) {
            Ok(()) => 200,
            Err(refusal) => refusal.status.as_u16(),
        };
        assert_eq!(status, expected, "{uri} {fields:?}");
    }

    #[test]
    fn hosts() {
        for (host, expected) in [
            ("127.0.0.1:9901", 200),
            ("127.8.9.1", 200),
            ("[::1]:9901", 200),
            ("[::ffff:127.0.0.1]", 200),
            ("localhost:1", 200),
            ("LocalHost", 200),
            ("10.1.2.3:9901", 200),
            ("10.1.2.4:9901", 421),
            ("admin.example", 200),
            ("ADMIN.example:9901", 200),
            ("other.example:81", 200),
            ("other.example:82", 421),
            ("other.example", 421),
            ("evil.example", 421),
            ("localhost.evil.example", 421),
            ("127.0.0.1.evil.example", 421),
            ("evil@localhost", 421),
            ("", 421),
            ("a b", 421),
        ] {
            check(&gate(false), TCP, "/", &[("host", host)], expected);
        }
        check(&gate(false), TCP, "/", &[], 400);
        check(
            &gate(false),
            TCP,
            "/",
            &[("host", "localhost"), ("host", "localhost")],
            400,
        );
        check(
            &gate(false),
            TCP,
            "http://evil.example/",
            &[("host", "localhost")],
            421,
        );
        check(
            &gate(false),
            TCP,
            "http://localhost/",
            &[("host", "localhost")],
            200,
        );
        check(
            &gate(false),
            Caller::Unix(None),
            "/",
            &[("host", "whatever")],
            200,
        );
        let mut old = head("/", &[]);
        old.version = Version::HTTP_10;
        assert_eq!(gate(false).admit(TCP, &old), Ok(()));
        // Probes are known by many names where they are exposed, and by ours where not.
        check(
            &probes(true),
            TCP,
            "/",
            &[("host", "outrigger.svc:9902")],
            200,
        );
        check(
            &probes(false),
            TCP,
            "/",
            &[("host", "outrigger.svc:9902")],
            421,
        );
    }

    #[test]
    fn origins() {
        for (fields, expected) in [
            (&[("origin", "http://localhost:9901")][..], 200),
            (&[("origin", "http://LOCALHOST:9901")], 200),
            (&[("origin", "https://localhost:9901")], 403),
            (&[("origin", "http://localhost:3000")], 403),
            (&[("origin", "http://localhost")], 403),
            (&[("origin", "null")], 403),
            (&[("origin", "")], 403),
            (&[("origin", "http://evil.example")], 403),
            (
                &[
                    ("origin", "http://localhost:9901"),
                    ("origin", "http://evil.example"),
                ],
                400,
            ),
            (&[("sec-fetch-site", "none")], 200),
            (&[("sec-fetch-site", "same-origin")], 200),
            (&[("sec-fetch-site", "same-site")], 403),
            (&[("sec-fetch-site", "cross-site")], 403),
        ] {
            let mut with_host = vec![("host", "localhost:9901")];
            with_host.extend(fields);
            check(&gate(false), TCP, "/", &with_host, expected);
        }
        let fields = [("host", "x"), ("origin", "http://x")];
        check(&gate(false), Caller::Unix(Some(0)), "/", &fields, 403);
        check(
            &probes(true),
            TCP,
            "/",
            &[("host", "x"), ("origin", "http://y")],
            403,
        );
    }

    #[test]
    fn users_of_a_unix_socket() {
        for (uid, expected) in [
            (Some(0), true),
            (Some(1_000), true),
            (Some(1_001), false),
            (None, false),
        ] {
            let answer = gate(false).may_change(Caller::Unix(uid), &HeaderMap::new());
            assert_eq!(answer.is_ok(), expected, "{uid:?}");
            assert!(
                gate(true)
                    .may_read(Caller::Unix(uid), &HeaderMap::new())
                    .is_ok()
            );
        }
        let mut gate = gate(false);
        gate.owner = None;
        assert!(
            gate.may_change(Caller::Unix(None), &HeaderMap::new())
                .is_err()
        );
    }

    #[test]
    fn reading_an_exposed_admin_needs_the_token() {
        let headers = HeaderMap::new();
        assert!(gate(false).may_read(TCP, &headers).is_ok());
        assert!(gate(true).may_read(TCP, &headers).is_err());
        assert!(probes(true).may_read(TCP, &headers).is_ok());
    }

    #[test]
    fn comparison() {
        let token = b"0123456789abcdef";
        assert!(is_same(token, token));
        for other in [
            &b""[..],
            b"0123456789abcdeF",
            b"0123456789abcde",
            b"0123456789abcdef0",
        ] {
            assert!(!is_same(other, token));
        }
        assert!(!is_same(&token.repeat(2), token));
        assert!(!is_same(token, &token.repeat(2)));
    }
}
