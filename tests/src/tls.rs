//! Ends of TLS connections that are not ours: the programs of OpenSSL, each as a process.

use std::{
    io::Write as _,
    net::SocketAddr,
    path::Path,
    process::{Command, Stdio},
};

use crate::{
    process::{Output, Process, output},
    tools, wait,
    wire::Address,
};

/// A server that sends each line back reversed, with a certificate for its own name.
#[derive(Debug)]
pub struct Server {
    /// Where it listens.
    pub address: Address,
    _process: Process,
}

impl Server {
    /// Starts a server with its files in `dir`; none, said loudly, where OpenSSL is not installed.
    #[track_caller]
    pub fn start(test: &str, dir: &Path, name: &str) -> Option<Self> {
        let openssl = tools::need(test, "openssl")?;
        let file = |end: &str| dir.join(format!("{name}.{end}"));
        let (key, certificate) = (file("key"), file("pem"));
        let mut make = Command::new(&openssl);
        make.args(["req", "-x509", "-newkey", "ec", "-nodes", "-days", "2"]);
        make.args(["-pkeyopt", "ec_paramgen_curve:prime256v1"]);
        make.args(["-subj", &format!("/CN={name}")]);
        make.arg("-keyout").arg(&key).arg("-out").arg(&certificate);
        let _ = output(&mut make).success();
        let mut serve = Command::new(&openssl);
        serve.args(["s_server", "-accept", "127.0.0.1:0", "-rev"]);
        serve.args(["-alpn", "h2,echo"]);
        serve.arg("-key").arg(&key).arg("-cert").arg(&certificate);
        let process = Process::start(&mut serve, name, dir);
        let address = wait::until("the TLS server to listen", || {
            let said = process.stdout();
            let (_, rest) = said.split_once("ACCEPT ")?;
            rest.split_once('\n').map(|(text, _)| Address::parse(text))
        });
        Some(Self {
            address,
            _process: process,
        })
    }
}

/// Connects with `openssl s_client` and these arguments, sends a line and waits for its echo.
#[track_caller]
pub fn connect(to: SocketAddr, arguments: &[&str]) -> Output {
    // What it sends comes from a file: its end ends nothing, since the server closes.
    let dir = crate::files::TempDir::new();
    let lines = dir.file("lines");
    let mut file = std::fs::File::create(&lines).unwrap();
    file.write_all(b"hello\nCLOSE\n").unwrap();
    let mut client = Command::new("sh");
    client.args([
        "-c",
        "lines=$1; shift; exec openssl s_client \"$@\" <\"$lines\"",
        "sh",
    ]);
    client.arg(&lines);
    client.args(["-brief", "-ign_eof", "-connect", &to.to_string()]);
    output(client.args(arguments).stdin(Stdio::null()))
}

/// Asserts that this server was reached, and that bytes went both ways.
#[track_caller]
pub fn reached(seen: &Output, name: &str) {
    let whose = format!("Peer certificate: CN = {name}\n");
    let said = format!("{}{}", seen.stdout, seen.stderr);
    assert!(
        said.contains(&whose) && said.contains("olleh"),
        "{name} was not reached: {said}"
    );
}
