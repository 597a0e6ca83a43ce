//! What the handler answers over HTTP beside the live doors.

pub mod origin;
