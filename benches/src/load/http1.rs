//! HTTP/1.1: one request at a time on each connection.

use std::io;

use super::{
    Plan, Request, Share, Tally,
    exchange::{self, Script},
    live::Live,
    response::Kind,
    window::Window,
};

pub(super) fn run(
    plan: &Plan,
    share: &Share,
    request: &Request,
    ready: impl FnOnce() -> Window,
    live: &Live,
) -> io::Result<Tally> {
    exchange::run(plan, share, &script(plan, request), ready, live)
}

pub(super) fn script(plan: &Plan, request: &Request) -> Script {
    Script {
        bytes: request.http1_bytes(&plan.target.to_string()),
        kind: Kind::Http {
            head: request.method == "HEAD",
        },
        reuse: !request.close,
        expect: request.expect,
    }
}
