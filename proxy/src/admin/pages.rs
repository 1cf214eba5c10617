//! What there is to ask, and the answers.

use std::{
    borrow::Cow,
    fmt::Write as _,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use bytes::Bytes;
use http::{
    HeaderValue, Method, Request, Response, StatusCode,
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS},
};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use serde_json::{Value, json};

use super::{
    View,
    gate::{Gate, Refusal},
    listen::Caller,
};

pub(super) type Answer = Response<Full<Bytes>>;

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
/// What `prometheus-client` writes.
const METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// One path.
struct Page {
    path: &'static str,
    kind: Kind,
    /// For the index.
    help: &'static str,
}

#[derive(Clone, Copy)]
enum Kind {
    /// Shown on both faces, to anyone.
    Probe(fn(&dyn View) -> Answer),
    /// Shown on both faces.
    Metrics,
    /// Shown on the admin face.
    Show(fn(&dyn View) -> Answer),
    /// Done on the admin face, by POST.
    Do(Command),
}

#[derive(Clone, Copy)]
enum Command {
    LogLevel,
    Drain,
    Reload,
}

static PAGES: &[Page] = &[
    Page {
        path: "/",
        kind: Kind::Show(|_| text(StatusCode::OK, index(true))),
        help: "this page",
    },
    Page {
        path: "/live",
        kind: Kind::Probe(|view| {
            if view.live() {
                text(StatusCode::OK, "live")
            } else {
                text(StatusCode::SERVICE_UNAVAILABLE, "not live")
            }
        }),
        help: "200 while the process works; otherwise restart it",
    },
    Page {
        path: "/ready",
        kind: Kind::Probe(|view| match view.ready() {
            Ok(()) => text(StatusCode::OK, "ready"),
            Err(why) => text(StatusCode::SERVICE_UNAVAILABLE, why),
        }),
        help: "200 while traffic may come; otherwise 503 and why not",
    },
    Page {
        path: "/metrics",
        kind: Kind::Metrics,
        help: "numbers, as OpenMetrics text",
    },
    Page {
        path: "/config",
        kind: Kind::Show(|view| object(&view.config())),
        help: "the table that serves, with its version, hash, age and source; no secrets",
    },
    Page {
        path: "/clusters",
        kind: Kind::Show(|view| object(&view.clusters())),
        help: "clusters and their endpoints: health, load, latency, failures",
    },
    Page {
        path: "/listeners",
        kind: Kind::Show(|view| object(&view.listeners())),
        help: "listeners: addresses and connections",
    },
    Page {
        path: "/identity",
        kind: Kind::Show(|view| object(&view.identity())),
        help: "who we are in the mesh, and the roots of whom we believe",
    },
    Page {
        path: "/version",
        kind: Kind::Show(|_| {
            let version = env!("CARGO_PKG_VERSION");
            object(&json!({ "name": "outrigger", "version": version }))
        }),
        help: "what is running",
    },
    Page {
        path: "/log-level",
        kind: Kind::Do(Command::LogLevel),
        help: "set the level of the proxy's log: the body, or ?level=info,outrigger_proxy::upstream=debug",
    },
    Page {
        path: "/drain",
        kind: Kind::Do(Command::Drain),
        help: "finish what is open, take nothing new, then exit",
    },
    Page {
        path: "/reload",
        kind: Kind::Do(Command::Reload),
        help: "read the configuration anew; 422 and what is wrong with it if it is refused",
    },
];

impl Page {
    fn is_on(&self, is_admin: bool) -> bool {
        is_admin || matches!(self.kind, Kind::Probe(_) | Kind::Metrics)
    }
}

/// Answers one request.
pub(super) async fn answer(
    gate: &Gate,
    view: &Arc<dyn View>,
    body_limit: usize,
    caller: Caller,
    request: Request<Incoming>,
) -> Answer {
    match try_answer(gate, view, body_limit, caller, request).await {
        Ok(answer) => answer,
        Err(refusal) => refused(&refusal),
    }
}

async fn try_answer(
    gate: &Gate,
    view: &Arc<dyn View>,
    body_limit: usize,
    caller: Caller,
    request: Request<Incoming>,
) -> Result<Answer, Refusal> {
    let (head, body) = request.into_parts();
    gate.admit(caller, &head)?;
    let page = PAGES
        .iter()
        .find(|page| page.path == head.uri.path() && page.is_on(gate.is_admin));
    let Some(page) = page else {
        return Ok(text(StatusCode::NOT_FOUND, index(gate.is_admin)));
    };
    let allowed = match page.kind {
        Kind::Do(_) => &[Method::POST][..],
        _ => &[Method::GET, Method::HEAD],
    };
    if !allowed.contains(&head.method) {
        let allow = if allowed.len() == 1 {
            "POST"
        } else {
            "GET, HEAD"
        };
        let mut answer = text(
            StatusCode::METHOD_NOT_ALLOWED,
            format!("{} takes {allow}", page.path),
        );
        answer
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static(allow));
        return Ok(answer);
    }
    let command = match page.kind {
        Kind::Probe(show) => return Ok(guarded(|| show(&**view))),
        Kind::Metrics => {
            gate.may_read(caller, &head.headers)?;
            return Ok(guarded(|| {
                let mut out = String::new();
                view.metrics(&mut out);
                reply(StatusCode::OK, METRICS, out.into())
            }));
        }
        Kind::Show(show) => {
            gate.may_read(caller, &head.headers)?;
            return Ok(guarded(|| show(&**view)));
        }
        Kind::Do(command) => command,
    };
    // Before the body: a stranger's is not even read.
    gate.may_change(caller, &head.headers)?;
    let body = read(body, body_limit).await?;
    Ok(match command {
        Command::LogLevel => {
            let query = head.uri.query().and_then(|query| parameter(query, "level"));
            let level = query.unwrap_or_else(|| String::from_utf8_lossy(&body).into_owned());
            guarded(|| match view.set_log_level(level.trim()) {
                Ok(()) => text(StatusCode::OK, "the log level is set"),
                Err(why) => text(StatusCode::BAD_REQUEST, why),
            })
        }
        Command::Drain => guarded(|| {
            view.drain();
            text(StatusCode::ACCEPTED, "draining")
        }),
        Command::Reload => reload(view).await,
    })
}

async fn reload(view: &Arc<dyn View>) -> Answer {
    let view = Arc::clone(view);
    // A task of its own, for a reload must not stop half-way because a client left.
    match tokio::spawn(async move { view.reload().await }).await {
        Ok(Ok(())) => text(StatusCode::OK, "reloaded"),
        Ok(Err(why)) => text(
            StatusCode::UNPROCESSABLE_ENTITY,
            format!("what was there before goes on serving\n{why}"),
        ),
        Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, PANICKED),
    }
}

const PANICKED: &str = "something inside the proxy failed; the log says what";

/// A panic in one answer is the end of that answer alone.
fn guarded(make: impl FnOnce() -> Answer) -> Answer {
    catch_unwind(AssertUnwindSafe(make))
        .unwrap_or_else(|_| text(StatusCode::INTERNAL_SERVER_ERROR, PANICKED))
}

async fn read(body: Incoming, limit: usize) -> Result<Bytes, Refusal> {
    match Limited::new(body, limit).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Refusal {
            status: StatusCode::PAYLOAD_TOO_LARGE,
            text: "the body is too large",
        }),
        Err(_) => Err(Refusal {
            status: StatusCode::BAD_REQUEST,
            text: "the body ended early",
        }),
    }
}

/// The first value of a query parameter.
fn parameter(query: &str, name: &str) -> Option<String> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.into_iter().find(|(key, _)| *key == name)?;
    let mut decoded = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        let hex = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        let code = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (first, code) {
            (b'%', Some(code)) => {
                decoded.push(code);
                rest = after.split_at(2).1;
            }
            (b'+', _) => decoded.push(b' '),
            (other, _) => decoded.push(*other),
        }
    }
    Some(String::from_utf8_lossy(&decoded).into_owned())
}

fn index(is_admin: bool) -> String {
    let mut out = format!("outrigger {}\n\n", env!("CARGO_PKG_VERSION"));
    for page in PAGES.iter().filter(|page| page.is_on(is_admin)) {
        let method = match page.kind {
            Kind::Do(_) => "POST",
            _ => "GET ",
        };
        // Writing to a string does not fail.
        let _ = writeln!(out, "{method} {:<11} {}", page.path, page.help);
    }
    if is_admin {
        out.push_str(
            "\nPOST over TCP needs `Authorization: Bearer` with the token in admin.token_file;\n\
             on a Unix socket it needs to be the proxy's user or root.\n",
        );
    }
    out
}

pub(super) fn refused(refusal: &Refusal) -> Answer {
    let mut answer = text(refusal.status, refusal.text);
    if refusal.status == StatusCode::UNAUTHORIZED {
        let scheme = HeaderValue::from_static("Bearer");
        answer.headers_mut().insert(WWW_AUTHENTICATE, scheme);
    }
    answer
}

pub(super) fn text(status: StatusCode, text: impl Into<Cow<'static, str>>) -> Answer {
    let mut text = text.into().into_owned();
    if !text.ends_with('\n') {
        text.push('\n');
    }
    reply(status, TEXT, text.into())
}

fn object(value: &Value) -> Answer {
    let mut out = format!("{value:#}");
    out.push('\n');
    reply(StatusCode::OK, JSON, out.into())
}

fn reply(status: StatusCode, content_type: &'static str, body: Bytes) -> Answer {
    let mut answer = Response::new(Full::new(body));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters() {
        for (query, expected) in [
            ("level=info", Some("info")),
            ("a=b&level=info%2Cx%3Ddebug", Some("info,x=debug")),
            ("level=info,x=debug", Some("info,x=debug")),
            ("level=a+b%", Some("a b%")),
            ("level=%zz%f", Some("%zz%f")),
            ("level=%ff", Some("\u{fffd}")),
            ("level=%é", Some("%é")),
            ("level=", Some("")),
            ("levels=x", None),
            ("", None),
        ] {
            assert_eq!(parameter(query, "level").as_deref(), expected, "{query}");
        }
    }
}
