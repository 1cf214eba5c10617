//! `outrigger healthcheck` and `outrigger drain`: one small request to a running proxy, so that
//! a container image needs no other tool.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    os::unix::net::UnixStream,
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use super::print;

/// A proxy on the same host that does not answer within this is not well.
const TIMEOUT: Duration = Duration::from_secs(5);
/// As much of an answer as is shown.
const MOST: u64 = 65_536;

#[derive(clap::Args)]
pub(super) struct Drain {
    /// `unix:/path` (needs no token) or `ip:port`.
    address: String,
    /// File with the token of an admin that listens on TCP.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

pub(super) fn healthcheck(address: &str) -> Result<ExitCode, String> {
    let (status, body) = ask(address, "GET", "/ready", None)?;
    if status == 200 {
        return Ok(ExitCode::SUCCESS);
    }
    Err(format!("{address}: not ready ({status}): {}", body.trim()))
}

pub(super) fn drain(args: &Drain) -> Result<ExitCode, String> {
    let token = match &args.token_file {
        Some(path) => Some(
            std::fs::read_to_string(path)
                .map_err(|error| format!("{}: {error}", path.display()))?,
        ),
        None => None,
    };
    let (status, body) = ask(
        &args.address,
        "POST",
        "/drain",
        token.as_deref().map(str::trim),
    )?;
    if !(200..300).contains(&status) {
        return Err(format!(
            "{}: refused ({status}): {}",
            args.address,
            body.trim()
        ));
    }
    print("draining\n").map(|()| ExitCode::SUCCESS)
}

/// One request; the status and the body.
pub(super) fn ask(
    address: &str,
    method: &str,
    path: &str,
    token: Option<&str>,
) -> Result<(u16, String), String> {
    let authorization = token
        .map(|t| format!("Authorization: Bearer {t}\r\n"))
        .unwrap_or_default();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\n{authorization}Content-Length: 0\r\nConnection: close\r\n\r\n"
    );
    let answer = match address.strip_prefix("unix:") {
        Some(path) => UnixStream::connect(path).and_then(|stream| {
            stream.set_read_timeout(Some(TIMEOUT))?;
            exchange(stream, &request)
        }),
        None => address
            .parse()
            .map_err(|_| io::Error::other("not `ip:port` or `unix:/path`"))
            .and_then(|at| {
                let stream = TcpStream::connect_timeout(&at, TIMEOUT)?;
                stream.set_read_timeout(Some(TIMEOUT))?;
                exchange(stream, &request)
            }),
    };
    let answer = answer.map_err(|error| format!("{address}: {error}"))?;
    let status = answer
        .get(9..12)
        .and_then(|digits| digits.parse().ok())
        .ok_or(format!("{address}: this is not an HTTP answer"))?;
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    Ok((status, body.to_owned()))
}

fn exchange(mut stream: impl Read + Write, request: &str) -> io::Result<String> {
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.take(MOST).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
