//! Doors for viewers: STOMP, SockJS, SSE, HTTP and the page.

pub mod doors;
pub mod http;
pub mod live;
pub mod metrics;

use std::sync::Arc;

use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// What every request handler and every door works with. Cheap to clone.
#[derive(Debug, Clone)]
pub struct State {
    /// Subscriptions.
    pub live: live::Live,
    /// Which pages may connect.
    pub origins: Arc<http::origin::Origins>,
    /// Counters.
    pub metrics: metrics::Metrics,
    /// Cancelled when the handler drains: every subscription has then been sent `ended`, reason `draining`;
    /// a door takes no new connection, sends what waits and closes (WebSocket code 1012).
    pub drain: CancellationToken,
    /// Doors run each connection as a task of this tracker; draining waits for it.
    pub connections: TaskTracker,
}
