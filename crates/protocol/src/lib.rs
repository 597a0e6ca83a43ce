//! STOMP and SockJS: bytes in, values out.
//!
//! Nothing here opens a socket, starts a task or reads a clock. Whoever holds
//! the connection passes in what arrived and what time it is, and carries out
//! the actions that come back; every limit of a connection's memory that
//! depends on the peer is kept here.

pub mod sockjs;
pub mod stomp;
