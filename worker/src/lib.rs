//! Source topic in, matches out.
#![allow(dead_code)]

mod epoch;
mod limit;
mod offsets;
mod owner;
mod progress;
mod queries;
mod start;
