//! Builders and real-service fixtures for tests: Apache Kafka, PostgreSQL, Kubernetes, our own programs, and viewers.
//!
//! Every service is the real one, on free ports, with its files in a temporary folder. Nothing is left behind: a
//! fixture ends its process when it is dropped, and the [`reaper`] does so when the test process dies in any other way.
//! What is missing on the machine fails the test with the line that installs it; nothing is skipped.
//!
//! A dev-dependency only: no program may depend on this crate.

pub mod kafka;
pub mod kubernetes;
pub mod port;
pub mod postgres;
pub mod process;
pub mod reaper;
pub mod stomp;
pub mod viewer;
