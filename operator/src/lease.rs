//! Who works: the holder of a Lease, and nobody else.
//!
//! # Expected flow
//! 1. [`Candidate::acquire`] returns once the Lease is ours: it was free, or it did not change for [`DURATION`] of *our* clock.
//! 2. [`Candidate::hold`] renews it every [`RENEW_EVERY`] and returns when it was lost, or could not be renewed for
//!    [`GIVE_UP_AFTER`]: the program then ends, before anybody else may take over.
//! 3. [`Candidate::release`] frees it at once, at a graceful end.
//!
//! # Guarantees
//! Clocks of different machines are never compared. A holder that is frozen and wakes up may make the calls it was in
//! the middle of: what the operator does is idempotent, and a Lease does not fence.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use tokio::time::{Instant, sleep, timeout};
use tracing::{info, warn};

/// Name of the Lease.
pub const NAME: &str = "clickstream-operator";
/// A Lease that its holder does not renew for so long is free.
pub const DURATION: Duration = Duration::from_secs(15);
/// Between two renewals.
const RENEW_EVERY: Duration = Duration::from_secs(2);
/// A holder that could not renew for so long is none any more.
const GIVE_UP_AFTER: Duration = Duration::from_secs(10);
/// For one call.
const CALL_LIMIT: Duration = Duration::from_secs(3);

/// The Lease, as one candidate sees it.
pub struct Candidate {
    api: Api<Lease>,
    identity: String,
    /// The version last seen, and since when.
    seen: Option<(String, Instant)>,
}

impl Candidate {
    /// One that calls itself `identity`.
    #[must_use]
    pub fn new(client: Client, namespace: &str, identity: String) -> Candidate {
        Candidate {
            api: Api::namespaced(client, namespace),
            identity,
            seen: None,
        }
    }

    /// Waits until the Lease is ours.
    pub async fn acquire(&mut self) {
        loop {
            match timeout(CALL_LIMIT, self.attempt()).await {
                Ok(Ok(true)) => return info!(identity = self.identity, "leading"),
                Ok(Ok(false)) => {}
                Ok(Err(err)) if is_conflict(&err) => {}
                Ok(Err(err)) => warn!(error = %err, "cannot take the lease"),
                Err(_) => warn!("cannot take the lease: no answer"),
            }
            sleep(RENEW_EVERY.mul_f64(rand::random_range(0.8..=1.2))).await;
        }
    }

    /// Renews until that fails for good.
    pub async fn hold(&mut self) {
        let mut renewed = Instant::now();
        while renewed.elapsed() < GIVE_UP_AFTER {
            sleep(RENEW_EVERY).await;
            match timeout(CALL_LIMIT, self.attempt()).await {
                Ok(Ok(true)) => renewed = Instant::now(),
                Ok(Ok(false)) => return warn!("another operator has the lease"),
                Ok(Err(err)) => warn!(error = %err, "cannot renew the lease"),
                Err(_) => warn!("cannot renew the lease: no answer"),
            }
        }
    }

    /// Frees it, if it is ours.
    pub async fn release(&self) {
        let released = timeout(CALL_LIMIT, async {
            let Some(mut lease) = self.api.get_opt(NAME).await? else {
                return Ok(());
            };
            let spec = lease.spec.get_or_insert_default();
            if spec.holder_identity.as_deref() == Some(&self.identity) {
                spec.holder_identity = None;
                self.api
                    .replace(NAME, &PostParams::default(), &lease)
                    .await?;
            }
            Ok::<_, kube::Error>(())
        });
        match released.await {
            Ok(Ok(())) => info!("released the lease"),
            _ => warn!("cannot release the lease; it runs out by itself"),
        }
    }

    /// Takes or renews it if that may be done now. `replace` with the version read refuses whoever comes second.
    async fn attempt(&mut self) -> Result<bool, kube::Error> {
        let Some(mut lease) = self.api.get_opt(NAME).await? else {
            let lease = Lease {
                metadata: ObjectMeta {
                    name: Some(NAME.to_owned()),
                    ..ObjectMeta::default()
                },
                spec: Some(self.spec(0)),
            };
            self.api.create(&PostParams::default(), &lease).await?;
            return Ok(true);
        };
        let former = lease.spec.take().unwrap_or_default();
        let holder = former.holder_identity.as_deref().unwrap_or_default();
        let ours = holder == self.identity;
        if !ours && !holder.is_empty() && !self.expired(&lease) {
            return Ok(false);
        }
        let changes = former.lease_transitions.unwrap_or(0) + i32::from(!ours);
        lease.spec = Some(LeaseSpec {
            acquire_time: if ours {
                former.acquire_time
            } else {
                Some(MicroTime(Timestamp::now()))
            },
            ..self.spec(changes)
        });
        self.api
            .replace(NAME, &PostParams::default(), &lease)
            .await?;
        Ok(true)
    }

    /// Whether the Lease has not changed for its duration while we looked.
    fn expired(&mut self, lease: &Lease) -> bool {
        let version = lease.metadata.resource_version.clone().unwrap_or_default();
        match &self.seen {
            Some((seen, since)) if *seen == version => since.elapsed() > DURATION,
            _ => {
                self.seen = Some((version, Instant::now()));
                false
            }
        }
    }

    fn spec(&self, lease_transitions: i32) -> LeaseSpec {
        let now = MicroTime(Timestamp::now());
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: Some(DURATION.as_secs() as i32),
            acquire_time: Some(now.clone()),
            renew_time: Some(now),
            lease_transitions: Some(lease_transitions),
            ..LeaseSpec::default()
        }
    }
}

fn is_conflict(err: &kube::Error) -> bool {
    matches!(err, kube::Error::Api(status) if status.code == 409)
}
