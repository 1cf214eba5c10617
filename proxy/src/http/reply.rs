//! Answers of our own: failures, and what filters answer.

use std::{
    cell::RefCell,
    future::poll_fn,
    pin::Pin,
    task::Poll,
    time::{SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use tokio::io::AsyncWrite;

use super::{
    Conn, Next, parting,
    patience::Patience,
    pump::{Broken, Encoding, Plan},
    record::Ledger,
    relay::Relay,
    sides::Downstream,
    watch::impatience,
};
use crate::{
    error::{Cause, Failure},
    filter::Reply,
    h2 as http2,
    message::{Known, Method, RequestHead, RequestView, Version},
    shared::State,
    timer::now,
};

/// How an answer is framed for its client.
#[derive(Clone, Copy)]
pub(super) struct Manner {
    pub(super) close: bool,
    /// The request was HEAD: no body.
    pub(super) bodiless: bool,
    /// HTTP/1.0 client that asked to keep the connection.
    pub(super) keep_alive_10: bool,
}

/// Appends a whole answer.
pub(super) fn write(out: &mut Vec<u8>, reply: &Reply, manner: Manner) {
    out.extend_from_slice(b"HTTP/1.1 ");
    let mut number = itoa::Buffer::new();
    out.extend_from_slice(number.format(reply.status).as_bytes());
    out.push(b' ');
    out.extend_from_slice(reason(reply.status).as_bytes());
    out.extend_from_slice(b"\r\n");
    date_line(out);
    out.extend_from_slice(&reply.lines);
    let may_have_body = !matches!(reply.status, 204 | 304);
    if may_have_body {
        out.extend_from_slice(b"Content-Length: ");
        out.extend_from_slice(number.format(reply.body.len()).as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    if manner.close {
        out.extend_from_slice(b"Connection: close\r\n");
    } else if manner.keep_alive_10 {
        out.extend_from_slice(b"Connection: keep-alive\r\n");
    }
    out.extend_from_slice(b"\r\n");
    if may_have_body && !manner.bodiless {
        out.extend_from_slice(&reply.body);
    }
}

/// The answer to a failure: a short body in the form the client prefers, `Proxy-Status` where
/// the listener says so. Nothing of what went on inside.
pub(super) fn for_failure(failure: &Failure, json: bool, proxy_status: bool) -> Reply {
    let cause = failure.cause;
    let status = cause.status();
    let (kind, body) = if json {
        let (reason, told) = (reason(status), told(cause));
        (
            "application/json",
            format!("{{\"status\":{status},\"error\":\"{reason}\",\"message\":\"{told}\"}}\n"),
        )
    } else {
        ("text/plain; charset=utf-8", words(cause) + "\n")
    };
    let mut lines = format!("Content-Type: {kind}\r\n");
    if proxy_status {
        lines.push_str(&self::proxy_status(cause));
    }
    if cause == Cause::ConnectRefused {
        lines.push_str("Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, TRACE\r\n");
    }
    Reply {
        status,
        lines: lines.into(),
        body: body.into(),
    }
}

/// What a client did wrong helps it; what is wrong behind us does not concern it.
fn told(cause: Cause) -> &'static str {
    match cause.status() {
        ..500 => cause.explain().trim(),
        _ => "",
    }
}

/// A failure in words for the client.
pub(super) fn words(cause: Cause) -> String {
    let status = cause.status();
    let reason = reason(status);
    match told(cause) {
        "" => format!("{status} {reason}"),
        told => format!("{status} {reason}: {told}"),
    }
}

/// The line of `Proxy-Status`.
pub(super) fn proxy_status(cause: Cause) -> String {
    format!("Proxy-Status: outrigger; error={}\r\n", cause.word())
}

/// Whether the client would rather read JSON.
pub(super) fn prefers_json(request: &RequestView<'_>) -> bool {
    let mut accept = request.values(b"accept");
    accept.any(|v| {
        memchr::memmem::find(v, b"application/json").is_some()
            || memchr::memmem::find(v, b"+json").is_some()
    })
}

/// Sends an answer of our own, enters it into the books, and says what follows. `Err`: the client
/// did not take it.
pub(super) async fn send(
    conn: &mut Conn,
    state: &mut State,
    ledger: &mut Ledger,
    reply: &Reply,
    keep: bool,
) -> Result<Next, Failure> {
    if let Downstream::Http2(_) = conn.side {
        return send_stream(conn, state, ledger, reply).await;
    }
    let head = &state.request;
    // A body that was not read would be taken for the next request.
    let unread = matches!(head.body, crate::message::Body::Length(n) if n > 0)
        || head.body == crate::message::Body::Chunked;
    // A client may send what is meant for the tunnel before it knows that there is none.
    let tunnel = head.method == Method::Connect;
    let close = !keep || !head.keep_alive || unread || tunnel || conn.is_leaving();
    let manner = Manner {
        close,
        bodiless: is_head(head),
        keep_alive_10: !close && head.version == Version::Http10,
    };
    let mut out = std::mem::take(&mut state.to_downstream);
    out.clear();
    write(&mut out, reply, manner);
    let sent = write_all(conn, &out).await;
    let written = out.len();
    out.clear();
    state.to_downstream = out;
    sent?;
    ledger.status = reply.status;
    ledger.sent += written as u64;
    Ok(if close {
        parting(state, !unread && state.request.len > 0)
    } else {
        Next::KeepAlive
    })
}

fn own(reply: &Reply, length: Option<usize>) -> Vec<u8> {
    let mut lines = Vec::with_capacity(reply.lines.len() + 64);
    date_line(&mut lines);
    lines.extend_from_slice(&reply.lines);
    let mut block = Vec::with_capacity(lines.len());
    http2::own_response(&mut block, reply.status, &lines, length);
    block
}

/// The same on a stream of an HTTP/2 connection.
async fn send_stream(
    conn: &mut Conn,
    state: &State,
    ledger: &mut Ledger,
    reply: &Reply,
) -> Result<Next, Failure> {
    let gone = || Failure::new(Cause::ClientGone, "while we answered");
    let may_have_body = !matches!(reply.status, 204 | 304);
    let length = may_have_body.then_some(reply.body.len());
    let block = own(reply, length);
    let body = if may_have_body && !is_head(&state.request) {
        Bytes::copy_from_slice(&reply.body)
    } else {
        Bytes::new()
    };
    if let Downstream::Http2(stream) = &mut conn.side {
        let sent = stream.answer(&block, body.is_empty());
        sent.map_err(|_| gone())?;
    }
    ledger.status = reply.status;
    ledger.sent += (reply.lines.len() + body.len()) as u64;
    if !body.is_empty() {
        let plan = Plan {
            body: crate::message::Body::Length(body.len() as u64),
            encoding: Encoding::Plain,
            limits: conn.listener.http.limits,
            most: u64::MAX,
            from_upstream: false,
            last: false,
            budget: conn.worker.budget.clone(),
            behind: conn.worker.behind.clone(),
        };
        let mut relay = Relay::of(body, &plan);
        let began = now();
        let mut patience = Patience::new(began, None, conn.listener.http.stream_idle_timeout);
        patience.arm(&conn.timer, began);
        poll_fn(|cx| {
            if let Poll::Ready(done) = relay.poll_flush(cx, conn.side.sink()) {
                return Poll::Ready(done.map_err(|broken| match broken {
                    Broken::NoMemory => Failure::new(Cause::BuffersFull, "for an answer of ours"),
                    _ => gone(),
                }));
            }
            let stalled = || Cause::ClientStalled;
            match impatience(conn, cx, &mut patience, &mut relay.progressed, stalled) {
                Some(failure) => Poll::Ready(Err(failure)),
                None => Poll::Pending,
            }
        })
        .await?;
    }
    Ok(Next::KeepAlive)
}

fn is_head(head: &RequestHead) -> bool {
    head.method == Method::Head
}

/// Writes everything, for as long as the client takes some of it now and then.
pub(super) async fn write_all(conn: &mut Conn, bytes: &[u8]) -> Result<(), Failure> {
    let began = now();
    let mut patience = Patience::new(began, None, conn.listener.http.stream_idle_timeout);
    patience.arm(&conn.timer, began);
    write_within(conn, bytes, &mut patience).await
}

/// Writes everything within the deadlines of an exchange that goes on.
pub(super) async fn write_within(
    conn: &mut Conn,
    bytes: &[u8],
    patience: &mut Patience,
) -> Result<(), Failure> {
    let mut written = 0;
    let mut progressed = false;
    poll_fn(|cx| {
        loop {
            let rest = bytes.get(written..).unwrap_or_default();
            if rest.is_empty() {
                return Poll::Ready(Ok(()));
            }
            let stalled = || Cause::ClientStalled;
            if let Some(failure) = impatience(conn, cx, patience, &mut progressed, stalled) {
                return Poll::Ready(Err(failure));
            }
            let Some(stream) = conn.side.stream() else {
                return Poll::Ready(Err(Failure::from(Cause::Internal)));
            };
            match Pin::new(stream).poll_write(cx, rest) {
                Poll::Ready(Ok(n)) if n > 0 => {
                    written += n;
                    progressed = true;
                }
                Poll::Ready(_) => {
                    return Poll::Ready(Err(Failure::new(Cause::ClientGone, "while we answered")));
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await
}

/// The current date in the form of `Date` (RFC 9110 section 5.6.7), made once a second.
pub(super) fn date(show: impl FnOnce(&[u8])) {
    thread_local! {
        static LAST: RefCell<(u64, String)> = const { RefCell::new((0, String::new())) };
    }
    let time = SystemTime::now();
    let second = time.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    LAST.with_borrow_mut(|(made, text)| {
        if *made != second {
            *made = second;
            *text = httpdate::fmt_http_date(time);
        }
        show(text.as_bytes());
    });
}

/// Appends the line of `Date`.
pub(super) fn date_line(out: &mut Vec<u8>) {
    out.extend_from_slice(b"Date: ");
    date(|text| out.extend_from_slice(text));
    out.extend_from_slice(b"\r\n");
}

/// Whether a head has no `Date`.
pub(super) fn lacks_date(head: &crate::message::ResponseHead) -> bool {
    head.fields.iter().all(|f| f.known != Known::Date)
}

fn reason(status: u16) -> &'static str {
    http::StatusCode::from_u16(status)
        .ok()
        .and_then(|s| s.canonical_reason())
        .unwrap_or("Unknown")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(reply: &Reply, manner: Manner) -> String {
        let mut out = Vec::new();
        write(&mut out, reply, manner);
        let text = String::from_utf8(out).expect("text");
        let start = text.find("Date: ").expect("a date");
        let end = start + text[start..].find("\r\n").expect("a line");
        format!("{}{}", &text[..start], &text[end + 2..]).replace("\r\n", "\n")
    }

    const KEEP: Manner = Manner {
        close: false,
        bodiless: false,
        keep_alive_10: false,
    };

    #[test]
    fn failures_as_text_and_json() {
        let failure = Failure::new(Cause::NoRoute, "internal words");
        let reply = for_failure(&failure, false, true);
        assert_eq!(
            text(&reply, KEEP),
            "HTTP/1.1 404 Not Found\nContent-Type: text/plain; charset=utf-8\nProxy-Status: outrigger; error=route_not_found\nContent-Length: 45\n\n404 Not Found: No route matches the request.\n"
        );
        let reply = for_failure(&Failure::from(Cause::ConnectionRefused), true, false);
        let body = text(
            &reply,
            Manner {
                close: true,
                ..KEEP
            },
        );
        assert!(
            body.ends_with("{\"status\":502,\"error\":\"Bad Gateway\",\"message\":\"\"}\n"),
            "{body}"
        );
        assert!(
            body.contains("Connection: close\n") && !body.contains("Proxy-Status"),
            "{body}"
        );
    }

    #[test]
    fn bodies_follow_only_where_they_may() {
        let reply = Reply {
            status: 204,
            lines: "".into(),
            body: "x".into(),
        };
        assert_eq!(text(&reply, KEEP), "HTTP/1.1 204 No Content\n\n");
        let reply = Reply {
            status: 200,
            lines: "".into(),
            body: "abc".into(),
        };
        assert_eq!(
            text(
                &reply,
                Manner {
                    bodiless: true,
                    ..KEEP
                }
            ),
            "HTTP/1.1 200 OK\nContent-Length: 3\n\n"
        );
    }
}
