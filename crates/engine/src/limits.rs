//! Every limit of the engine: its unit, its value, and why this number.
//!
//! A filter beyond a limit is refused when it is parsed, with
//! [`FilterErrorKind::Limit`](crate::FilterErrorKind::Limit); a record beyond one is
//! [`Unreadable`](crate::Unreadable); an evaluation beyond one ends in an error, which does not match.

/// Bytes of a filter, as written and in canonical form.
///
/// Long enough for a list of some two hundred user ids; short enough that a registry of a hundred
/// thousand filters stays small. The canonical form counts too, because that is what is stored and
/// parsed again by every worker.
pub const MAX_FILTER_BYTES: usize = 4_096;

/// Levels of nesting of a filter: brackets, operators that are not `&&` or `||`, and path segments.
///
/// Parsing, checking and evaluation recurse once per level; 64 levels stay far inside a thread's
/// 2 MiB stack, and no filter written by a person comes near.
pub const MAX_FILTER_DEPTH: usize = 64;

/// Operands of all `&&` and `||` of one filter together.
pub const MAX_CLAUSES: usize = 256;

/// Regular expressions of one filter.
pub const MAX_REGEXES: usize = 16;

/// Bytes of one compiled regular expression, for its program and again for its lazily built automaton.
///
/// Allows `\pL{10}` and the usual patterns for addresses and paths; refuses counted repetitions such as
/// `(a{100}){100}`, which are small as text only.
pub const MAX_REGEX_BYTES: usize = 256 * 1024;

/// Bytes of one record's value.
///
/// Kafka's brokers allow 1 MiB unless told otherwise; topics that carry more exist.
pub const MAX_RECORD_BYTES: usize = 16 * 1024 * 1024;

/// Levels of nesting of an event, the event itself being the first.
///
/// Parsing recurses once per level. Below the 128 of `serde_json`, so that whatever is matched here can be
/// read by the programs behind it.
pub const MAX_EVENT_DEPTH: usize = 100;

/// Steps that the evaluation of one filter on one event may take: this many, and
/// [`STEPS_PER_BYTE`] more for each byte of the event.
///
/// A step is one node of the filter evaluated, or [`BYTES_PER_STEP`] bytes of text looked at; making a value
/// takes more, so that memory is bounded too. A filter
/// without macros takes fewer steps than it has bytes, so only macros within macros come near; without
/// the limit three of them over one list of 1,000 would stop a worker for seconds.
pub const STEPS: u64 = 10_000;

/// See [`STEPS`]. Lets one pass of a macro over any list of the event always finish.
pub const STEPS_PER_BYTE: u64 = 8;

/// See [`STEPS`].
pub const BYTES_PER_STEP: usize = 64;

/// Steps counted for each element of a list, or eight bytes of a text, that an evaluation makes.
pub const STEPS_PER_MADE: u64 = 4;

/// Steps counted for compiling a regular expression that is not a constant of the filter.
pub const REGEX_STEPS: u64 = 4_000;

/// Paths of one projection or mask.
pub const MAX_PATHS: usize = 128;

/// Segments of one path.
pub const MAX_PATH_SEGMENTS: usize = 32;

/// Bytes of all paths of one projection or mask.
pub const MAX_PATHS_BYTES: usize = 8_192;

/// Characters of a value that an explanation shows.
pub const EXPLAINED_VALUE_CHARS: usize = 120;
