//! One connection after the other, until told to stop.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::door::{Failure, Incoming, Request, Status, ending};
use super::stomp::Framing;
use super::{Transport, sse, stomp};
use crate::refusal::Refusal;

/// How long a server that was never reached is tried.
const PATIENCE: Duration = Duration::from_secs(10);
/// First pause between two tries; the next is twice as long, and so on.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// A connection that held this long makes pauses short again.
const STEADY: Duration = Duration::from_secs(10);

/// How following ended.
pub(super) enum Outcome {
    /// It was told to, or nobody listens any more.
    Stopped {
        /// Whether the server ever answered.
        reached: bool,
    },
    /// See [`Failure::Expired`].
    Expired,
    /// See [`Failure::Refused`].
    Refused(Refusal),
    /// The server cannot be reached, or rejects the request for good: why.
    Failed(String),
}

/// Keeps a subscription running and hands on what arrives.
///
/// Every lost connection and every new one is told as a status message. Events between the two
/// are not made up for.
pub(super) async fn follow(
    request: Request,
    incoming: mpsc::Sender<Incoming>,
    stop: CancellationToken,
) -> Outcome {
    let start = Instant::now();
    let mut reached = false;
    let mut lost = None;
    let mut pause = FIRST_PAUSE;
    loop {
        let mut door = Door {
            incoming: &incoming,
            stop: &stop,
            lost,
            opened: None,
        };
        let Err(failure) = match request.transport {
            Transport::Stomp => stomp::session(&request, Framing::Plain, &mut door).await,
            Transport::Sockjs => stomp::session(&request, Framing::SockJs, &mut door).await,
            Transport::Sse => sse::session(&request, &mut door).await,
        };
        if let Some(opened) = door.opened {
            reached = true;
            lost = Some(Instant::now());
            if opened.elapsed() >= STEADY {
                pause = FIRST_PAUSE;
            }
        }
        let error = match failure {
            Failure::Stopped => return Outcome::Stopped { reached },
            Failure::Expired => return Outcome::Expired,
            Failure::Refused(refusal) => return Outcome::Refused(refusal),
            Failure::Rejected(reason) => return Outcome::Failed(reason),
            Failure::Unreachable(reason) if !reached && start.elapsed() >= PATIENCE => {
                return Outcome::Failed(format!("cannot reach `{}`: {reason}", request.url));
            }
            Failure::Unreachable(reason) => reason,
            Failure::Lost(reason) => {
                reached = true;
                reason
            }
        };
        // Many viewers that lose a server together must not come back together.
        let jittered = pause.mul_f64(rand::random_range(0.5..1.0));
        pause = (pause * 2).min(LONGEST_PAUSE);
        let status = Status::Reconnecting {
            error: &error,
            retry_in_seconds: round(jittered),
        };
        let waited = stop.run_until_cancelled(async {
            tell(&incoming, status).await;
            tokio::time::sleep(jittered).await;
        });
        if waited.await.is_none() {
            return Outcome::Stopped { reached };
        }
    }
}

/// Where a session hands on what arrives.
pub(super) struct Door<'a> {
    incoming: &'a mpsc::Sender<Incoming>,
    stop: &'a CancellationToken,
    /// When an earlier connection was lost.
    lost: Option<Instant>,
    /// When this one came to be.
    opened: Option<Instant>,
}

/// Room for one thing that arrived.
pub(super) struct Room<'a>(mpsc::Permit<'a, Incoming>);

impl Door<'_> {
    /// The server accepted the connection.
    pub(super) async fn opened(&mut self) {
        self.opened = Some(Instant::now());
        if let Some(lost) = self.lost {
            let status = Status::Reconnected {
                after_seconds: round(lost.elapsed()),
                message: "events of the time between are not shown",
            };
            tell(self.incoming, status).await;
        }
    }

    /// Waits while what arrived earlier is not taken. May be dropped and called again.
    ///
    /// # Errors
    /// [`Failure::Stopped`].
    pub(super) async fn room(&self) -> Result<Room<'_>, Failure> {
        tokio::select! {
            biased;
            () = self.stopped() => Err(Failure::Stopped),
            permit = self.incoming.reserve() => permit.map(Room).map_err(|_| Failure::Stopped),
        }
    }

    /// Completes when the session is to end, politely.
    pub(super) async fn stopped(&self) {
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = self.incoming.closed() => {}
        }
    }
}

impl Room<'_> {
    /// Hands on.
    ///
    /// # Errors
    /// When `incoming` is the status message that ends the subscription: see [`ending`].
    pub(super) fn hand_on(self, incoming: Incoming) -> Result<(), Failure> {
        let end = match &incoming {
            Incoming::Status(status) => ending(status),
            Incoming::Event(_) => None,
        };
        // A refusal is printed at the end, in a form for people.
        if !matches!(end, Some(Failure::Refused(_))) {
            self.0.send(incoming);
        }
        end.map_or(Ok(()), Err)
    }
}

async fn tell(incoming: &mpsc::Sender<Incoming>, status: Status<'_>) {
    // Fails only if nobody listens any more, which `stopped` tells, too.
    let _ = incoming.send(status.into()).await;
}

/// In seconds, for people.
fn round(time: Duration) -> f64 {
    (time.as_secs_f64() * 100.0).round() / 100.0
}
