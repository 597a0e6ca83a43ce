//! Sinks of standing queries on a real broker.

mod bed;
#[path = "../common/mod.rs"]
mod common;
mod delivery;
mod trouble;
