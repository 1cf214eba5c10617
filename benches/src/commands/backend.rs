//! `outrigger-bench backend`.

use std::{net::IpAddr, process::ExitCode};

use super::print;
use crate::backend::{Settings, announce, run as serve};

#[derive(clap::Args)]
pub(super) struct Args {
    /// Address to listen on.
    #[arg(long, default_value = "127.0.0.1")]
    host: IpAddr,
    /// Port of HTTP/1; HTTP/2, source, sink, answer and echo follow it. 0: any free ports.
    #[arg(long, default_value_t = 9000)]
    port: u16,
    /// Threads for each protocol.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: u16,
    /// Print the addresses as JSON and nothing else.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Result<ExitCode, String> {
    let settings = Settings {
        host: args.host,
        port: args.port,
        threads: args.threads.into(),
    };
    let json = args.json;
    let told = serve(settings, |a| {
        // Whoever reads this may have left; that is no reason not to serve.
        let _ = if json {
            announce(&a).map_err(|error| error.to_string())
        } else {
            print(&format!(
                "HTTP/1  http://{}   /bytes/N  /sink  /echo  /inspect  /field/NAME\n\
                 HTTP/2  http://{}   the same with prior knowledge, and gRPC (any unary method: echo)\n\
                 TCP     source {}  sink {}  answer {}  echo {}\n",
                a.http, a.http2, a.source, a.sink, a.answer, a.echo
            ))
        };
    });
    told.map(|()| ExitCode::SUCCESS)
        .map_err(|error| error.to_string())
}
