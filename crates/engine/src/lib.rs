//! The filter language and the matching of events against many filters.
//!
//! A [`Filter`] is a CEL expression over the variables `event`, a JSON object, and `record`, what Kafka knows
//! about it; `docs/QUERY.md` describes the language. A [`FilterSet`] holds many of them against one [`Record`],
//! [`explain()`] says of one filter why it holds or not, [`Projection`] and [`Mask`] cut fields out of an event
//! and off it.
//!
//! # From text to result
//!
//! 1. [`mod@lexer`] and [`mod@parser`] make the tree ([`mod@tree`]); [`mod@names`] and
//!    [`mod@check`] refuse what is unknown or can never hold.
//! 2. [`mod@canonical`] brings equal filters to one tree and one text; [`mod@class`] tells what it will cost.
//! 3. [`mod@compile`] makes the tree tests of single fields, [`mod@index`] finds, of many filters, those whose
//!    tests an event can pass, and [`mod@set`] keeps filters in indices that change without anybody waiting.
//! 4. For an event, [`mod@extract`] cuts the tested fields out of its bytes, and the index tests what it finds.
//! 5. What tests cannot say, [`mod@json`], [`mod@eval`] and [`mod@operation`] evaluate from the tree, as they do
//!    for [`explain()`]; both ways give the same results, those of [`mod@reference`].
//!
//! # What is validated
//!
//! [`FilterSet::matching`] and [`explain()`] validate a record's value whole: UTF-8, the grammar of RFC 8259,
//! [`limits::MAX_RECORD_BYTES`], [`limits::MAX_EVENT_DEPTH`]; or, if the [`Scratch`] is for it, only what leads to
//! the fields of the filters, see [`Validation`]. [`Projection::apply`] and [`Mask::apply`] are for
//! values that passed there, and validate only what they look at.
//!
//! # Invariants
//!
//! No I/O, no clock, no async, no `unsafe` outside of [`mod@extract`]'s `simd`; no thread but one while a set's
//! deltas are merged. Nothing panics, whatever the text or the bytes. Every loop is bounded by the input and
//! [`limits`].

#![allow(rustdoc::private_intra_doc_links)]

mod canonical;
mod check;
mod class;
mod compile;
mod convert;
mod error;
mod eval;
mod explain;
mod extract;
mod fault;
mod fields;
mod filter;
mod function;
mod index;
mod json;
mod kind;
mod lexer;
pub mod limits;
mod literal;
mod merge;
mod names;
mod operation;
mod order;
mod parser;
mod path;
mod projection;
mod record;
pub mod reference;
mod regular;
mod set;
mod tree;
mod value;

pub use class::Class;
pub use error::{FilterError, FilterErrorKind};
pub use explain::{Decided, Explained, ExplainedResult, Explanation, explain};
pub use extract::Validation;
pub use fields::{Field, FieldReader};
pub use filter::Filter;
pub use path::FieldPath;
pub use projection::{Mask, Projection};
pub use record::{Record, Unreadable};
pub use reference::Outcome;
pub use set::{FilterSet, Scratch};
