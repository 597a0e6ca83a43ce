//! How much of a frame is held before it is refused.

/// Bounds of one frame, in octets where nothing else is said.
///
/// The protocol leaves them to the server: over one, it answers ERROR and
/// closes. Together they bound what a [`super::Decoder`] holds to
/// `frame` plus the chunk last pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Of the command line. The longest command, `UNSUBSCRIBE`, has 11.
    pub command: usize,
    /// Number of header lines.
    pub headers: usize,
    /// Of one header line, escapes counted as written.
    pub header_line: usize,
    /// Of the whole frame: command, headers and body.
    pub frame: usize,
}

impl Limits {
    /// For frames that clients send: a filter of 4,096 bytes fits a header
    /// line even when every byte of it needs an escape.
    pub const SERVER: Limits = Limits {
        command: 32,
        headers: 64,
        header_line: 10 * 1024,
        frame: 64 * 1024,
    };

    /// For frames that servers send: bodies are whole events.
    pub const CLIENT: Limits = Limits {
        command: 32,
        headers: 64,
        header_line: 10 * 1024,
        frame: 16 * 1024 * 1024,
    };
}
