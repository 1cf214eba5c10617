//! Answers with a redirect built from the request, by the rules of Gateway API's
//! `HTTPRequestRedirectFilter`.

use bytes::Bytes;
use outrigger_config::model;

use super::{
    Compiled, Filter, Flow, Reply, RequestContext, is_visible,
    path_rewrite::{PathRewrite, Rewritten},
};

struct Redirect {
    scheme: Option<&'static str>,
    host: Option<Box<[u8]>>,
    path: Option<PathRewrite>,
    port: Option<u16>,
    status: u16,
}

pub(super) fn compile(settings: &model::Redirect) -> Compiled {
    let scheme = match settings.scheme.as_ref().map(model::Text::as_str) {
        None => None,
        Some("http") => Some("http"),
        Some("https") => Some("https"),
        Some(other) => return Err(format!("{other:?} is neither http nor https")),
    };
    let host = settings.host.as_ref().map(model::Text::as_str);
    if let Some(host) = host {
        let name = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
        let has_port = name.is_none() && host.contains(':');
        let odd = host.contains(['/', '?', '#', '@', '\\']) || !is_visible(host.as_bytes());
        if host.is_empty() || has_port || odd {
            return Err(format!("{host:?} is not a host without port"));
        }
    }
    if !matches!(settings.status, 301 | 302 | 303 | 307 | 308) {
        return Err(format!("{} is not a redirect", settings.status));
    }
    Ok(Box::new(Redirect {
        scheme,
        host: host.map(|host| host.as_bytes().into()),
        path: settings
            .path
            .as_ref()
            .map(PathRewrite::compile)
            .transpose()?,
        port: settings.port,
        status: settings.status,
    }))
}

impl Filter for Redirect {
    fn on_request(&self, cx: &mut RequestContext<'_>) -> Flow {
        let location = self.location(cx);
        // The parser lets nothing else pass; should that ever change, a header is not the place
        // where it shows.
        if !is_visible(&location) {
            return Flow::Reply(Reply {
                status: 400,
                lines: Bytes::new(),
                body: Bytes::new(),
            });
        }
        let lines = [&b"location: "[..], &location, b"\r\n"].concat();
        Flow::Reply(Reply {
            status: self.status,
            lines: lines.into(),
            body: Bytes::new(),
        })
    }
}

impl Redirect {
    fn location(&self, cx: &RequestContext<'_>) -> Vec<u8> {
        let (request_host, request_port) = split(cx.authority());
        let host = self.host.as_deref().unwrap_or(request_host);
        let scheme = self.scheme.unwrap_or(cx.scheme);
        let mut out = Vec::with_capacity(64 + cx.path().len());
        if !host.is_empty() {
            out.extend_from_slice(scheme.as_bytes());
            out.extend_from_slice(b"://");
            out.extend_from_slice(host);
            // A scheme that is given brings its own port, whatever the request came by.
            let inherited = || match self.scheme {
                Some(_) => None,
                None => request_port.or(cx.listener_port),
            };
            if let Some(port) = self.port.or_else(inherited)
                && !is_default(scheme, port)
            {
                out.push(b':');
                out.extend_from_slice(itoa::Buffer::new().format(port).as_bytes());
            }
        }
        let rewritten = self
            .path
            .as_ref()
            .and_then(|rewrite| rewrite.apply(cx.path(), cx.matched_prefix));
        let mut path = match &rewritten {
            Some(Rewritten { path, .. }) => path,
            None => cx.path(),
        };
        // Without a host (HTTP/1.0 alone allows that) the location is a path, and one that began
        // with two slashes would name a host of the client's choice.
        while out.is_empty() && path.starts_with(b"//") {
            path = path.get(1..).unwrap_or_default();
        }
        if !path.starts_with(b"/") {
            path = b"/";
        }
        out.extend_from_slice(path);
        if let Some(query) = cx.request.query() {
            out.push(b'?');
            out.extend_from_slice(query);
        }
        out
    }
}

fn is_default(scheme: &str, port: u16) -> bool {
    matches!((scheme, port), ("http", 80) | ("https", 443))
}

/// Host and port of an authority. What is not a number is not a port.
fn split(authority: &[u8]) -> (&[u8], Option<u16>) {
    let colon = memchr::memrchr(b':', authority)
        .and_then(|at| authority.split_at_checked(at))
        .filter(|(_, port)| !port.contains(&b']'));
    match colon {
        Some((host, port)) => {
            let digits = port.get(1..).and_then(|digits| str::from_utf8(digits).ok());
            (host, digits.and_then(|digits| digits.parse().ok()))
        }
        None => (authority, None),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::testing::run, *};
    use crate::message::{Edits, testing::TestRequest};

    fn redirect() -> model::Redirect {
        model::Redirect {
            scheme: None,
            host: None,
            path: None,
            port: None,
            status: 302,
        }
    }

    fn check(settings: &model::Redirect, host: &str, target: &str, location: &str) {
        let request = TestRequest::get(host, target);
        let filter = model::Filter::Redirect(settings.clone());
        let outcome = run(&[filter], &request, Some("/foo".len()));
        let reply = outcome.reply();
        assert_eq!((reply.status, &reply.body[..]), (settings.status, &b""[..]));
        assert_eq!(
            str::from_utf8(&reply.lines).unwrap(),
            format!("location: {location}\r\n")
        );
    }

    #[test]
    fn what_is_not_given_is_that_of_the_request() {
        for (host, target, location) in [
            ("a.example", "/foo?x=/y%20", "http://a.example/foo?x=/y%20"),
            ("a.example", "/foo?", "http://a.example/foo?"),
            ("a.example:8080", "/foo", "http://a.example:8080/foo"),
            ("a.example:80", "/foo", "http://a.example/foo"),
            ("a.example:", "/foo", "http://a.example/foo"),
            ("[::1]:8080", "/foo", "http://[::1]:8080/foo"),
            ("[::1]", "/foo", "http://[::1]/foo"),
            ("a.example", "/foo/../b", "http://a.example/b"),
            ("a.example", "//foo", "http://a.example//foo"),
            ("a.example", "*", "http://a.example/"),
            ("a.example:8443", "", "http://a.example:8443/"),
        ] {
            check(&redirect(), host, target, location);
        }
    }

    #[test]
    fn scheme_host_port_and_status() {
        let https = model::Redirect {
            scheme: Some("https".into()),
            status: 301,
            ..redirect()
        };
        check(&https, "a:8080", "/foo", "https://a/foo");
        let https_port = model::Redirect {
            port: Some(8443),
            ..https.clone()
        };
        check(&https_port, "a:8080", "/foo", "https://a:8443/foo");
        let default_port = model::Redirect {
            port: Some(443),
            ..https
        };
        check(&default_port, "a:8080", "/foo", "https://a/foo");
        let odd_port = model::Redirect {
            port: Some(443),
            ..redirect()
        };
        check(&odd_port, "a", "/foo", "http://a:443/foo");
        let port_80 = model::Redirect {
            port: Some(80),
            ..redirect()
        };
        check(&port_80, "a:8080", "/foo", "http://a/foo");
        let host = model::Redirect {
            host: Some("b.example".into()),
            status: 308,
            ..redirect()
        };
        check(&host, "a:8080", "/foo", "http://b.example:8080/foo");
    }

    #[test]
    fn paths_are_rewritten_and_the_query_kept() {
        let path = |path| model::Redirect {
            path: Some(path),
            ..redirect()
        };
        let full = path(model::PathRewrite::ReplaceFull("/x".into()));
        check(&full, "a", "/foo/b?q=1", "http://a/x?q=1");
        let prefix = path(model::PathRewrite::ReplacePrefix("/x".into()));
        check(&prefix, "a", "/foo/b?q=1", "http://a/x/b?q=1");
        let root = path(model::PathRewrite::ReplacePrefix("/".into()));
        check(&root, "a", "/foo//b.example/", "http://a/b.example/");
        check(&root, "a", "/foo", "http://a/");
    }

    #[test]
    fn without_a_host_the_location_is_a_path() {
        check(&redirect(), "", "/foo?q", "/foo?q");
        check(&redirect(), "", "//evil.example/", "/evil.example/");
        let host = model::Redirect {
            host: Some("b".into()),
            ..redirect()
        };
        check(&host, "", "/foo", "http://b/foo");
    }

    #[test]
    fn the_port_clients_address_stands_in_for_one_not_named() {
        let filter = compile(&redirect()).unwrap();
        for (host, scheme, location) in [
            ("a", "http", "http://a:8080/"),
            ("a:81", "http", "http://a:81/"),
            ("a:443", "https", "https://a/"),
        ] {
            let request = TestRequest::get(host, "/");
            let flow = filter.on_request(&mut RequestContext {
                request: request.view(),
                edits: &mut Edits::default(),
                scheme,
                matched_prefix: None,
                listener_port: Some(8080),
            });
            let Flow::Reply(reply) = flow else {
                panic!("no reply")
            };
            assert_eq!(reply.lines, format!("location: {location}\r\n"));
        }
    }

    #[test]
    fn nothing_unprintable_gets_into_a_location() {
        for (host, target) in [("a\r\nx: y", "/"), ("a", "/?\x01"), ("h\u{e9}", "/")] {
            let request = TestRequest::get(host, target);
            let filter = model::Filter::Redirect(redirect());
            let outcome = run(&[filter], &request, None);
            assert_eq!(outcome.reply().status, 400);
            assert!(outcome.reply().lines.is_empty());
        }
    }

    #[test]
    fn odd_settings_are_refused() {
        let with_host = |host: &str| model::Redirect {
            host: Some(host.into()),
            ..redirect()
        };
        for host in ["", "a:80", "a/b", "a b", "a\nb", "u@h"] {
            assert!(compile(&with_host(host)).is_err(), "{host:?}");
        }
        assert!(compile(&with_host("[::1]")).is_ok());
        let scheme = model::Redirect {
            scheme: Some("ftp".into()),
            ..redirect()
        };
        assert!(compile(&scheme).is_err());
        let status = model::Redirect {
            status: 304,
            ..redirect()
        };
        assert!(compile(&status).is_err());
    }
}
