//! What policies say of a client's connection and its requests, counted.

use std::{net::SocketAddr, sync::Arc};

use super::Conn;
use crate::{
    error::{Cause, Failure},
    message::RequestView,
    policy::{Client, Policy, Verdict},
    telemetry::access_log::Record,
};

/// The policy that refused something, or would have.
pub(crate) struct Told {
    policy: Arc<Policy>,
    denied: bool,
}

impl Told {
    /// Adds what a log line says of it.
    pub(crate) fn log<'a>(&'a self, record: &mut Record<'a>) {
        let place = if self.denied {
            &mut record.policy
        } else {
            &mut record.policy_audit
        };
        *place = Some(&self.policy.name);
    }
}

impl Conn {
    /// What policies say of a request, or, without one, of an opaque connection. Not counted.
    pub(crate) fn verdict(&self, request: Option<&RequestView<'_>>) -> Verdict<'_> {
        let Some(guard) = &self.listener.guard else {
            return Verdict::default();
        };
        let secured = self.secured.as_ref();
        let client = Client {
            identity: secured.and_then(|it| it.peer.as_ref()).map(|peer| &peer.id),
            address: self.peer.map(|peer| peer.ip().to_canonical()),
            port: self.local.as_ref().map(SocketAddr::port),
        };
        guard.judge(client, request)
    }

    /// Counts a verdict and carries it out.
    ///
    /// # Errors
    /// [`Cause::PolicyDenied`].
    pub(crate) fn heed(
        &self,
        verdict: &Verdict<'_>,
        told: &mut Option<Told>,
    ) -> Result<(), Failure> {
        let denied = verdict.denied.is_some();
        let Some(policy) = verdict.denied.or(verdict.audited) else {
            return Ok(());
        };
        policy.cells.at(self.worker.id).refused(denied);
        *told = Some(Told {
            policy: Arc::clone(policy),
            denied,
        });
        if denied {
            Err(Failure::from(Cause::PolicyDenied))
        } else {
            Ok(())
        }
    }
}
