//! The doors of a whole handler, over real sockets. Kafka is librdkafka's own broker, the registry is in memory, and
//! the test stands in for the workers.
#![allow(clippy::unwrap_used, reason = "a test")]

mod drain;
mod sockjs;
mod sse;
mod stomp;
mod support;
