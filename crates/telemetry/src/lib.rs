//! What every program shows of itself: logs, metrics, health, and how it ends.
//!
//! A program makes one [`Health`] and one [`Metrics`], hands clones to its parts, and serves
//! [`routes()`] on `--http-addr`. Nothing here knows what the program does.

mod health;
mod logs;
mod metrics;
mod routes;
mod shutdown;

pub use health::{Health, Waiting};
pub use logs::{init_logs, init_logs_at};
pub use metrics::Metrics;
pub use routes::{listen, routes, serve};
pub use shutdown::shutdown_signal;
