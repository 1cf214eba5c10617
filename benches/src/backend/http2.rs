//! HTTP/2 of the back end, with prior knowledge, on the h2 crate; and what a unary call of gRPC
//! needs: a message back, and its status in the trailers.

use std::{
    collections::HashMap,
    io,
    net::TcpListener,
    pin::pin,
    rc::Rc,
    {cell::RefCell, future::Future},
};

use bytes::{Bytes, BytesMut};
use h2::{RecvStream, server::SendResponse};
use http::{HeaderMap, HeaderValue, Request, Response};
use tokio::{net::TcpStream, runtime::Builder, task::LocalSet};

use super::routes::{MOST, Reply, route};
use crate::{gather::Gather, load::request::pattern};

type Fixed = Rc<RefCell<HashMap<usize, Bytes>>>;

pub(super) fn serve(listener: TcpListener) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let fixed = Fixed::default();
        loop {
            let (socket, _) = listener.accept().await?;
            let fixed = Rc::clone(&fixed);
            tokio::task::spawn_local(async move {
                // A connection that fails is its client's to report.
                let _ = connection(socket, fixed).await;
            });
        }
    })
}

async fn connection(socket: TcpStream, fixed: Fixed) -> Result<(), h2::Error> {
    let socket = Gather::new(socket);
    let mut builder = h2::server::Builder::new();
    builder
        .initial_window_size(1 << 20)
        .initial_connection_window_size(16 << 20)
        .max_concurrent_streams(10_000);
    let mut handshake = pin!(builder.handshake::<_, Bytes>(socket.clone()));
    let mut connection = socket
        .drive(|context| handshake.as_mut().poll(context))
        .await?;
    while let Some(stream) = socket
        .drive(|context| connection.poll_accept(context))
        .await
    {
        let (request, respond) = stream?;
        let fixed = Rc::clone(&fixed);
        tokio::task::spawn_local(async move {
            let _ = exchange(request, respond, fixed).await;
        });
    }
    Ok(())
}

async fn exchange(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    fixed: Fixed,
) -> Result<(), h2::Error> {
    let (head, body) = request.into_parts();
    let field = |name: &str| head.headers.get(name).map(HeaderValue::as_bytes);
    let grpc = field("content-type").is_some_and(|t| t.starts_with(b"application/grpc"));
    let reply = if grpc {
        Reply::Echo
    } else {
        route(head.uri.path())
    };
    let (length, kept) = take(body, reply == Reply::Echo).await?;
    let mut response = Response::new(());
    let answer = match reply {
        Reply::Bytes(size) => fixed
            .borrow_mut()
            .entry(size)
            .or_insert_with(|| pattern(size).into())
            .clone(),
        Reply::Count => length.to_string().into(),
        Reply::Echo => kept,
        Reply::Inspect => inspect(&head).into(),
        Reply::Field(name) => field(&name).unwrap_or_default().to_vec().into(),
        Reply::Unknown => {
            *response.status_mut() = http::StatusCode::NOT_FOUND;
            Bytes::from_static(b"no such path\n")
        }
    };
    let fields = response.headers_mut();
    if grpc {
        fields.insert("content-type", HeaderValue::from_static("application/grpc"));
        let mut stream = respond.send_response(response, false)?;
        stream.send_data(answer, false)?;
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        return stream.send_trailers(trailers);
    }
    fields.insert("content-type", HeaderValue::from_static("text/plain"));
    fields.insert("content-length", HeaderValue::from(answer.len()));
    let mut stream = respond.send_response(response, answer.is_empty())?;
    if !answer.is_empty() {
        stream.send_data(answer, true)?;
    }
    Ok(())
}

/// Takes a body: how long it was, and its bytes if they are wanted.
async fn take(mut body: RecvStream, keep: bool) -> Result<(u64, Bytes), h2::Error> {
    let mut length = 0;
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    while let Some(piece) = body.data().await {
        let piece = piece?;
        body.flow_control().release_capacity(piece.len())?;
        length += piece.len() as u64;
        if keep && length <= MOST as u64 {
            if first.is_empty() && rest.is_empty() {
                first = piece;
            } else {
                rest.extend_from_slice(&std::mem::take(&mut first));
                rest.extend_from_slice(&piece);
            }
        }
    }
    Ok((
        length,
        if rest.is_empty() {
            first
        } else {
            rest.freeze()
        },
    ))
}

/// The head as HTTP/1 would have written it.
fn inspect(head: &http::request::Parts) -> String {
    let mut out = format!("{} {} HTTP/2\r\n", head.method, head.uri);
    for (name, value) in &head.headers {
        let value = String::from_utf8_lossy(value.as_bytes());
        out.extend([name.as_str(), ": ", &value, "\r\n"]);
    }
    out + "\r\n"
}
