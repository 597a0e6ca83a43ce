//! The name of a query.

use std::fmt;
use std::str::FromStr;

/// Identity of a query: 16 bytes, written as 32 lowercase hex digits.
///
/// How it comes from pipeline, tenant and canonical filter is the registry's matter.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct QueryId([u8; 16]);

impl QueryId {
    /// The id with these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its bytes, in the order of the hex digits.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The 32 digits that [`Display`](fmt::Display) writes, without an allocation.
    #[must_use]
    pub fn to_hex(self) -> [u8; 32] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut hex = [0; 32];
        for (pair, byte) in hex.chunks_exact_mut(2).zip(self.0) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        hex
    }
}

impl fmt::Display for QueryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0 {
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for QueryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not 32 lowercase hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a query id is 32 lowercase hex digits")]
pub struct ParseQueryIdError;

impl FromStr for QueryId {
    type Err = ParseQueryIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Ok(byte - b'0'),
            b'a'..=b'f' => Ok(byte - b'a' + 10),
            _ => Err(ParseQueryIdError),
        };
        let digits: &[u8; 32] = text.as_bytes().try_into().map_err(|_| ParseQueryIdError)?;
        let mut bytes = [0; 16];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_is_32_lowercase_hex_digits() {
        let id = QueryId::from_bytes(*b"\x00\x01\x0a\x7f\x80\xff0123456789");
        let text = id.to_string();
        assert_eq!(text, "00010a7f80ff30313233343536373839");
        assert_eq!(id.to_hex(), text.as_bytes());
        assert_eq!(text.parse(), Ok(id));
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "00",
            &"0".repeat(31),
            &"0".repeat(33),
            &"A".repeat(32),
            &"é".repeat(16),
        ] {
            assert_eq!(text.parse::<QueryId>(), Err(ParseQueryIdError), "{text}");
        }
    }
}
