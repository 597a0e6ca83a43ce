//! Bytes to frames, however the bytes are cut.

use std::borrow::Cow;

use bytes::{Buf, Bytes, BytesMut};

use super::{Frame, Headers, Limits, Version};

/// Why bytes are not frames. Every one ends the connection: there is no way to
/// find the start of the next frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Over [`Limits::command`].
    #[error("the command is longer than {0} octets")]
    CommandTooLong(usize),
    /// Over [`Limits::headers`].
    #[error("the frame has more than {0} headers")]
    TooManyHeaders(usize),
    /// Over [`Limits::header_line`].
    #[error("a header is longer than {0} octets")]
    HeaderTooLong(usize),
    /// Over [`Limits::frame`].
    #[error("the frame is longer than {0} octets")]
    FrameTooLarge(usize),
    /// NUL before the empty line that ends the headers.
    #[error("the frame ends before the empty line that must follow its headers")]
    EndsInHeaders,
    /// A header line without `:`, or with nothing before it.
    #[error("a header line must be a name, a colon and a value")]
    NotAHeader,
    /// `\` followed by something the version does not define.
    #[error("a header has an escape that STOMP {0} does not define")]
    Escape(Version),
    /// CR elsewhere than before LF.
    #[error("a carriage return stands inside a line")]
    CarriageReturn,
    /// Command or header.
    #[error("command and headers must be UTF-8")]
    NotUtf8,
    /// Not a decimal number of octets.
    #[error("`content-length` must be a number of octets")]
    ContentLength,
    /// `content-length` octets are not followed by NUL.
    #[error("the body does not end where `content-length` says")]
    BodyLength,
}

/// An incremental decoder: [`push`](Decoder::push) bytes, then take frames with
/// [`next`](Decoder::next) until it has none.
///
/// Frames are handed out one at a time because a frame may change how the next
/// one is read: call [`set_version`](Decoder::set_version) after the CONNECT
/// (or CONNECTED) that settles it. Until then CR LF ends a line as LF does and
/// nothing is unescaped.
///
/// NUL cannot stand in a command or header, though the grammar of 1.1 and 1.2
/// would allow it: a frame whose empty line is missing is told at once and
/// does not wait for bytes that never come.
#[derive(Debug)]
pub struct Decoder {
    limits: Limits,
    version: Option<Version>,
    buffer: BytesMut,
    /// Octets at the front of `buffer` known to hold no end of the current part.
    scanned: usize,
    /// Octets of the current frame that have left `buffer`.
    used: usize,
    part: Part,
    command: String,
    headers: Headers,
    failed: Option<DecodeError>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Between,
    Command,
    Headers,
    Body { length: Option<usize> },
}

impl Decoder {
    /// A decoder at the start of a connection.
    #[must_use]
    pub fn new(limits: Limits) -> Decoder {
        Decoder {
            limits,
            version: None,
            buffer: BytesMut::new(),
            scanned: 0,
            used: 0,
            part: Part::Between,
            command: String::new(),
            headers: Headers::default(),
            failed: None,
        }
    }

    /// From the next frame on, read as `version` says.
    pub fn set_version(&mut self, version: Version) {
        self.version = Some(version);
    }

    /// Takes over bytes as they came. Ignored after an error.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.failed.is_none() {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// The next whole frame; `None` when it has not all arrived.
    ///
    /// # Errors
    /// [`DecodeError`], then and at every later call.
    #[expect(
        clippy::should_implement_trait,
        reason = "`None` may be followed by frames"
    )]
    pub fn next(&mut self) -> Result<Option<Frame>, DecodeError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let result = self.advance();
        if let Err(error) = &result {
            self.failed = Some(error.clone());
            self.buffer = BytesMut::new();
        }
        result
    }

    /// Headers read so far of the frame that is not complete, or that failed:
    /// an ERROR frame names the receipt that the culprit asked for.
    #[must_use]
    pub fn partial(&self) -> &Headers {
        &self.headers
    }

    /// Octets of an unfinished frame, read headers included.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        if self.part == Part::Between || self.failed.is_some() {
            return self.buffer.len();
        }
        self.used + self.buffer.len()
    }

    fn advance(&mut self) -> Result<Option<Frame>, DecodeError> {
        loop {
            match self.part {
                Part::Between => {
                    self.skip_line_ends();
                    if self.buffer.is_empty() {
                        // Most connections are idle most of the time.
                        self.buffer = BytesMut::new();
                        return Ok(None);
                    }
                    if self.takes_cr_lf() && *self.buffer == *b"\r" {
                        return Ok(None);
                    }
                    self.headers = Headers::default();
                    self.used = 0;
                    self.part = Part::Command;
                }
                Part::Command => {
                    let limit = self.limits.command;
                    let Some(line) = self.line(limit, DecodeError::CommandTooLong(limit))? else {
                        return Ok(None);
                    };
                    self.command = text(&line)?.to_owned();
                    self.part = Part::Headers;
                }
                Part::Headers => {
                    let limit = self.limits.header_line;
                    let Some(line) = self.line(limit, DecodeError::HeaderTooLong(limit))? else {
                        return Ok(None);
                    };
                    if line.is_empty() {
                        self.part = Part::Body {
                            length: self.content_length()?,
                        };
                    } else if self.headers.len() == self.limits.headers {
                        return Err(DecodeError::TooManyHeaders(self.limits.headers));
                    } else {
                        let (name, value) = self.header(text(&line)?)?;
                        self.headers.push(name, value);
                    }
                }
                Part::Body { length } => {
                    let Some(body) = self.body(length)? else {
                        return Ok(None);
                    };
                    self.part = Part::Between;
                    return Ok(Some(Frame {
                        command: std::mem::take(&mut self.command),
                        headers: std::mem::take(&mut self.headers),
                        body,
                    }));
                }
            }
        }
    }

    /// CR LF is a line end in 1.2, and while the version is not known.
    fn takes_cr_lf(&self) -> bool {
        !matches!(self.version, Some(Version::V1_0 | Version::V1_1))
    }

    /// Heart-beats, and the line ends that may follow any frame.
    fn skip_line_ends(&mut self) {
        let mut rest = &self.buffer[..];
        loop {
            rest = match rest {
                [b'\n', after @ ..] => after,
                [b'\r', b'\n', after @ ..] if self.takes_cr_lf() => after,
                _ => break,
            };
        }
        let skipped = self.buffer.len() - rest.len();
        self.buffer.advance(skipped);
    }

    /// The next line without its end, at most `limit` octets.
    fn line(&mut self, limit: usize, error: DecodeError) -> Result<Option<Bytes>, DecodeError> {
        let unread = &self.buffer[self.scanned..];
        let found = unread.iter().position(|b| matches!(b, b'\n' | 0));
        let end = found.map(|found| self.scanned + found);
        self.scanned = self.buffer.len();
        // One more may be the CR of the line end. Length comes first, so that
        // the same bytes have the same fault however they are cut.
        if end.unwrap_or(self.buffer.len()) > limit + 1 {
            return Err(error);
        }
        let Some(end) = end else {
            return Ok(None);
        };
        if self.buffer[end] == 0 {
            return Err(DecodeError::EndsInHeaders);
        }
        self.scanned = 0;
        self.used += end + 1;
        if self.used > self.limits.frame {
            return Err(DecodeError::FrameTooLarge(self.limits.frame));
        }
        let mut line = self.buffer.split_to(end + 1).freeze();
        line.truncate(end);
        if self.takes_cr_lf() && line.last() == Some(&b'\r') {
            line.truncate(end - 1);
        }
        if line.len() > limit {
            return Err(error);
        }
        if self.takes_cr_lf() && line.contains(&b'\r') {
            return Err(DecodeError::CarriageReturn);
        }
        Ok(Some(line))
    }

    fn header<'a>(&self, line: &'a str) -> Result<(Cow<'a, str>, Cow<'a, str>), DecodeError> {
        let (name, value) = line.split_once(':').ok_or(DecodeError::NotAHeader)?;
        let version = self.version.filter(|_| !is_connect(&self.command));
        let (name, value) = match version {
            // The examples of 1.0 pad their headers; later versions forbid to trim.
            Some(Version::V1_0) => (name.trim().into(), value.trim().into()),
            Some(version) => (unescape(version, name)?, unescape(version, value)?),
            None => (name.into(), value.into()),
        };
        if name.is_empty() {
            return Err(DecodeError::NotAHeader);
        }
        Ok((name, value))
    }

    fn content_length(&self) -> Result<Option<usize>, DecodeError> {
        let Some(text) = self.headers.get("content-length") else {
            return Ok(None);
        };
        // `usize::from_str` would take a sign.
        if !text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(DecodeError::ContentLength);
        }
        let length = text.parse().map_err(|_| DecodeError::ContentLength)?;
        if length > self.limits.frame.saturating_sub(self.used) {
            return Err(DecodeError::FrameTooLarge(self.limits.frame));
        }
        Ok(Some(length))
    }

    fn body(&mut self, length: Option<usize>) -> Result<Option<Bytes>, DecodeError> {
        let end = match length {
            Some(length) => match self.buffer.get(length) {
                Some(0) => Some(length),
                Some(_) => return Err(DecodeError::BodyLength),
                None => None,
            },
            None => {
                let unread = &self.buffer[self.scanned..];
                let found = unread.iter().position(|b| *b == 0);
                let end = found.map(|found| self.scanned + found);
                self.scanned = self.buffer.len();
                if self.used + end.unwrap_or(self.buffer.len()) > self.limits.frame {
                    return Err(DecodeError::FrameTooLarge(self.limits.frame));
                }
                end
            }
        };
        Ok(end.map(|end| {
            self.scanned = 0;
            let body = self.buffer.split_to(end).freeze();
            self.buffer.advance(1);
            body
        }))
    }
}

/// The commands whose headers are never escaped, for the sake of 1.0. STOMP is
/// 1.1's other name of CONNECT.
pub(super) fn is_connect(command: &str) -> bool {
    matches!(command, "CONNECT" | "STOMP" | "CONNECTED")
}

fn text(bytes: &[u8]) -> Result<&str, DecodeError> {
    std::str::from_utf8(bytes).map_err(|_| DecodeError::NotUtf8)
}

fn unescape(version: Version, text: &str) -> Result<Cow<'_, str>, DecodeError> {
    let mut parts = text.split('\\');
    let Some(first) = parts.next().filter(|first| first.len() < text.len()) else {
        return Ok(text.into());
    };
    let mut out = String::with_capacity(text.len());
    out.push_str(first);
    while let Some(part) = parts.next() {
        let mut chars = part.chars();
        match chars.next() {
            Some('n') => out.push('\n'),
            Some('c') => out.push(':'),
            Some('r') if version == Version::V1_2 => out.push('\r'),
            Some(_) => return Err(DecodeError::Escape(version)),
            // Nothing between two backslashes: they are one, and what follows
            // the second is plain text.
            None => {
                out.push('\\');
                let plain = parts.next().ok_or(DecodeError::Escape(version))?;
                out.push_str(plain);
                continue;
            }
        }
        out.push_str(chars.as_str());
    }
    Ok(out.into())
}
