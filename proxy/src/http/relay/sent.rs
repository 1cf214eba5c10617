//! What of a request's body was handed to an HTTP/2 endpoint, kept until it answers: it may say that it
//! did not look at the request, and then another one is sent the same.

use bytes::Bytes;

use super::{super::pump::Plan, SMALL};
use crate::{
    message::Body,
    net::behind::{Behind, Hold},
};

/// A request's body up to this size can be sent again to another endpoint when the first refused
/// its stream. Calls of gRPC are mostly smaller.
const RESENDABLE: usize = 16_384;

/// What of a request was handed to an endpoint that may still say that it did not look at it.
pub(super) struct Sent {
    /// All of it, while it is `whole`. Lent by the connection's state.
    bytes: Vec<u8>,
    whole: bool,
    hold: Hold,
}

impl Sent {
    /// Of nothing so far. `lent` belongs to the connection's state.
    pub(super) fn new(lent: Vec<u8>, plan: &Plan) -> Self {
        let fits = match plan.body {
            Body::Length(n) => n <= RESENDABLE as u64,
            _ => true,
        };
        Self {
            bytes: lent,
            whole: fits && !plan.from_upstream,
            hold: Hold::new(&plan.behind),
        }
    }

    /// Remembers a piece, unless memory is scarce. A copy: a piece keeps all alive that came with it.
    pub(super) fn keep(&mut self, piece: &[u8], behind: &Behind) {
        if !self.whole {
            return;
        }
        let fits = self.bytes.len() + piece.len() <= RESENDABLE;
        if fits && !behind.is_tight() && self.hold.add(piece.len()) {
            self.bytes.extend_from_slice(piece);
        } else {
            self.forget();
        }
    }

    /// It will not be sent again.
    pub(super) fn forget(&mut self) {
        self.whole = false;
        self.hold.sub(self.bytes.len());
        self.bytes.clear();
        self.bytes.shrink_to(SMALL);
    }

    /// All that was sent, and `rest` behind it, if all is still there.
    pub(super) fn again(&mut self, rest: &Bytes) -> Option<Bytes> {
        if !self.whole {
            return None;
        }
        if self.bytes.is_empty() {
            return Some(rest.clone());
        }
        self.hold.sub(self.bytes.len());
        let mut all = std::mem::take(&mut self.bytes);
        all.extend_from_slice(rest);
        Some(Bytes::from(all))
    }

    /// What was lent goes back.
    pub(super) fn into_lent(self) -> Vec<u8> {
        self.bytes
    }
}
