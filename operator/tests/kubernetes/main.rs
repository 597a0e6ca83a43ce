//! The operator as a program, on a real API server with real Kafka and PostgreSQL. There is no node: the tests play the
//! kubelet, and the workers and handlers as far as the registry sees them.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod availability;
mod bed;
mod crowd;
mod exposure;
mod faults;
mod kills;
mod pipeline;
mod proxy;
mod query;
mod reasons;
mod refusals;
mod scaling;
mod sink;
