//! Before a proxy is measured: does it answer, and what does it do to a request on the way?

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use super::entrant::Entrant;
use crate::{
    framing::{BodyReader, Framing},
    load::{self, Request, request::pattern},
    scenario::{Kind, Scenario},
};

const LIMIT: Duration = Duration::from_secs(10);

/// Looks whether the answer to the scenario's request is the right one, byte by byte.
pub(super) fn answers(entrant: &Entrant, scenario: &Scenario) -> io::Result<()> {
    let address = entrant.address;
    let request = scenario.request();
    let (status, body) = match scenario.load.kind {
        Kind::Http1 | Kind::Idle => http1(address, &request)?,
        Kind::Http2 => load::once(address, &request, LIMIT)?,
        Kind::TcpBulk => (200, bytes(address, &[], 1 << 20)?),
        Kind::TcpShort => (200, bytes(address, &pattern(100), 1024)?),
    };
    let expected = match scenario.load.kind {
        Kind::TcpBulk => vec![b's'; 1 << 20],
        Kind::TcpShort => pattern(1024),
        _ if request.grpc => request.body_bytes(),
        _ if request.path.ends_with("/sink") => scenario.load.body.to_string().into_bytes(),
        _ => match request.path.rsplit_once("/bytes/") {
            Some((_, size)) => pattern(size.parse().map_err(io::Error::other)?),
            None => return Err(io::Error::other("no check knows this path")),
        },
    };
    if status != 200 {
        return Err(io::Error::other(format!("answers {status}")));
    }
    if body != expected {
        let (got, want) = (body.len(), expected.len());
        return Err(io::Error::other(format!(
            "a wrong answer: {got} bytes, {want} expected"
        )));
    }
    Ok(())
}

/// Names of fields that a request has behind the proxy and had not before it.
pub(super) fn added_fields(address: SocketAddr, host: &str) -> io::Result<Vec<String>> {
    let request = Request {
        path: "/inspect".to_owned(),
        host: host.to_owned(),
        ..Request::default()
    };
    let (_, head) = http1(address, &request)?;
    let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
    let names = head.lines().skip(1).filter_map(|line| line.split_once(':'));
    let mut names: Vec<_> = names
        .map(|(name, _)| name.to_owned())
        .filter(|name| !matches!(name.as_str(), "host" | "connection"))
        .collect();
    names.sort();
    names.dedup();
    Ok(names)
}

/// The value that a field of a request has behind the proxy.
pub(super) fn field(address: SocketAddr, host: &str, name: &str) -> io::Result<String> {
    let request = Request {
        path: format!("/field/{name}"),
        host: host.to_owned(),
        ..Request::default()
    };
    let (_, value) = http1(address, &request)?;
    Ok(String::from_utf8_lossy(&value).into_owned())
}

/// One request on a connection of its own: status and body.
fn http1(address: SocketAddr, request: &Request) -> io::Result<(u16, Vec<u8>)> {
    let mut request = request.clone();
    request.close = true;
    let mut socket = connect(address)?;
    let bytes = request.http1_bytes(&address.to_string());
    // An answer may come before all was sent, so an error is met by what is read.
    let sent = socket.write_all(&bytes);
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer)?;
    if answer.is_empty() {
        sent?;
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    parse(&answer).ok_or_else(|| io::Error::other("no answer of HTTP/1"))
}

/// Status and body of a whole answer.
fn parse(answer: &[u8]) -> Option<(u16, Vec<u8>)> {
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut head = httparse::Response::new(&mut fields);
    let httparse::Status::Complete(used) = head.parse(answer).ok()? else {
        return None;
    };
    let is_chunked =
        |field: &httparse::Header<'_>| field.name.eq_ignore_ascii_case("transfer-encoding");
    let framing = if head.headers.iter().any(is_chunked) {
        Framing::Chunked
    } else {
        Framing::UntilClose
    };
    let mut body = Vec::new();
    let rest = answer.get(used..)?;
    let mut reader = BodyReader::new(framing);
    reader
        .feed(rest, |piece| body.extend_from_slice(piece))
        .ok()?;
    Some((head.code?, body))
}

/// Sends bytes and takes so many.
fn bytes(address: SocketAddr, send: &[u8], take: usize) -> io::Result<Vec<u8>> {
    let mut socket = connect(address)?;
    socket.write_all(send)?;
    let mut answer = vec![0; take];
    socket.read_exact(&mut answer)?;
    Ok(answer)
}

fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpStream::connect_timeout(&address, LIMIT)?;
    socket.set_read_timeout(Some(LIMIT))?;
    socket.set_write_timeout(Some(LIMIT))?;
    Ok(socket)
}

/// What a request through this entrant is changed by, as a note.
pub(super) fn note(entrant: &Entrant, scenario: &Scenario) -> Option<String> {
    let plain = matches!(scenario.load.kind, Kind::Http1 | Kind::Idle);
    if !plain || entrant.is_direct() {
        return None;
    }
    let added = added_fields(entrant.address, &scenario.load.host).ok()?;
    Some(format!("adds {}", added.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_answers_are_read() {
        let plain = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab";
        assert_eq!(parse(plain), Some((200, b"ab".to_vec())));
        let chunked = b"HTTP/1.1 404 No\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n";
        assert_eq!(parse(chunked), Some((404, b"ab".to_vec())));
        assert_eq!(parse(b"garbage"), None);
    }
}
