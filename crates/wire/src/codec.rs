//! The few primitives that both encodings are made of.

use crate::QueryId;

/// Why bytes are not a record of the filtered topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Neither a progress record nor one with our header: somebody else wrote to the topic.
    #[error("record has no `clickstream` header")]
    NoHeader,
    /// Written by a program newer than this one.
    #[error("record is of the unknown version `{0}`")]
    UnknownVersion(u8),
    /// The bytes end in the middle.
    #[error("record is cut short")]
    Truncated,
    /// The bytes go on after the end.
    #[error("record has bytes after its end")]
    Trailing,
    /// A value that no worker writes.
    #[error("record holds an impossible {0}")]
    Malformed(&'static str),
}

pub(crate) fn put_uint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(crate) fn put_int(out: &mut Vec<u8>, value: i64) {
    put_uint(out, ((value << 1) ^ (value >> 63)) as u64);
}

pub(crate) fn put_text(out: &mut Vec<u8>, text: &str) {
    put_uint(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

/// The most bytes that a varint takes.
pub(crate) const MAX_VARINT_BYTES: usize = 10;

/// What is left to read.
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Begins after the version byte.
    pub(crate) fn new(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        match bytes {
            [] => Err(DecodeError::Truncated),
            [crate::VERSION, rest @ ..] => Ok(Self(rest)),
            [version, ..] => Err(DecodeError::UnknownVersion(*version)),
        }
    }

    pub(crate) fn byte(&mut self) -> Result<u8, DecodeError> {
        let (&byte, rest) = self.0.split_first().ok_or(DecodeError::Truncated)?;
        self.0 = rest;
        Ok(byte)
    }

    pub(crate) fn uint(&mut self) -> Result<u64, DecodeError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(DecodeError::Malformed("number"))
    }

    pub(crate) fn int(&mut self) -> Result<i64, DecodeError> {
        let value = self.uint()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    pub(crate) fn uint32(&mut self) -> Result<u32, DecodeError> {
        u32::try_from(self.uint()?).map_err(|_| DecodeError::Malformed("number"))
    }

    pub(crate) fn int32(&mut self) -> Result<i32, DecodeError> {
        i32::try_from(self.int()?).map_err(|_| DecodeError::Malformed("number"))
    }

    pub(crate) fn array(&mut self) -> Result<[u8; 16], DecodeError> {
        let (array, rest) = self.0.split_first_chunk().ok_or(DecodeError::Truncated)?;
        self.0 = rest;
        Ok(*array)
    }

    pub(crate) fn query_id(&mut self) -> Result<QueryId, DecodeError> {
        self.array().map(QueryId::from_bytes)
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, DecodeError> {
        let length = self.count(1)?;
        let (text, rest) = self.0.split_at(length);
        self.0 = rest;
        std::str::from_utf8(text).map_err(|_| DecodeError::Malformed("text"))
    }

    /// Length of a list whose items take at least `item_bytes` each.
    ///
    /// What is returned fits the bytes that are left, so reserving that much is safe.
    pub(crate) fn count(&mut self, item_bytes: usize) -> Result<usize, DecodeError> {
        let count = usize::try_from(self.uint()?).map_err(|_| DecodeError::Truncated)?;
        if count > self.0.len() / item_bytes {
            return Err(DecodeError::Truncated);
        }
        Ok(count)
    }

    /// A list of `item`s that take at least `item_bytes` each.
    pub(crate) fn list<T>(
        &mut self,
        item_bytes: usize,
        mut item: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        let count = self.count(item_bytes)?;
        let mut list = Vec::with_capacity(count);
        for _ in 0..count {
            list.push(item(self)?);
        }
        Ok(list)
    }

    pub(crate) fn end(self) -> Result<(), DecodeError> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(DecodeError::Trailing)
        }
    }
}
