//! How far the process is on its way out.
//!
//! One value, moved forward by the app, read by every worker: each copies it into a cell of its
//! own when it is told, so that the request path reads no shared memory.

/// Phases of life, in order; there is no way back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Serving.
    #[default]
    Running,
    /// Readiness is off; listeners still accept, responses ask clients to leave.
    Grace,
    /// No listener accepts; idle connections are closed, active ones finish.
    Closing,
    /// The deadline passed: what is left is cut.
    Cut,
}

impl Phase {
    /// Whether clients are asked to leave.
    pub(crate) fn is_draining(self) -> bool {
        self >= Self::Grace
    }
}
