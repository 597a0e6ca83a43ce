//! Identities: of a query, of a process.

use std::fmt;
use std::str::FromStr;

pub use clickstream_wire::QueryId;
use sha2::{Digest, Sha256};

/// The id of a query: the first 16 bytes of SHA-256 over the lines `v1`, pipeline, tenant, canonical filter, joined by
/// line feeds.
///
/// `tenant` may be empty. Equal inputs give equal ids on every handler, which is what makes viewers share a query.
/// Neither pipeline nor tenant may contain a line feed; registries refuse them.
#[must_use]
pub fn query_id(pipeline: &str, tenant: &str, canonical: &str) -> QueryId {
    let mut hash = Sha256::new();
    hash.update("v1\n");
    for line in [pipeline, tenant] {
        hash.update(line);
        hash.update("\n");
    }
    hash.update(canonical);
    let mut id = [0; 16];
    id.copy_from_slice(&hash.finalize()[..16]);
    QueryId::from_bytes(id)
}

/// One run of a worker or handler: random, new at each start. Display: 32 lowercase hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProcessId([u8; 16]);

impl ProcessId {
    /// A new one.
    #[must_use]
    pub fn random() -> ProcessId {
        ProcessId(rand::random())
    }

    /// From its bytes, as in a progress record.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> ProcessId {
        ProcessId(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 16] {
        self.0
    }
}

impl fmt::Display for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProcessId({self})")
    }
}

/// The text is not 32 lowercase hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a process id is 32 lowercase hex digits")]
pub struct BadProcessId;

impl FromStr for ProcessId {
    type Err = BadProcessId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() != 32 || !text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(BadProcessId);
        }
        u128::from_str_radix(text, 16)
            .map(|id| ProcessId(id.to_be_bytes()))
            .map_err(|_| BadProcessId)
    }
}

#[cfg(test)]
mod tests {
    use super::{ProcessId, query_id};

    #[test]
    fn query_id_is_that_of_the_specification() {
        // printf 'v1\nshop\n\nevent.type == "purchase"' | sha256sum | cut -c1-32
        let id = query_id("shop", "", r#"event.type == "purchase""#);
        assert_eq!(id.to_string(), "fb654e0d81436aae2fd41a19129bb554");
        assert_ne!(query_id("a", "b", "c"), query_id("a", "", "b\nc"));
    }

    #[test]
    fn process_id_survives_text() {
        for id in [ProcessId::random(), ProcessId::from_bytes([0; 16])] {
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        for bad in [
            "",
            "0",
            "+0000000000000000000000000000000",
            "0000000000000000000000000000000G",
        ] {
            assert!(bad.parse::<ProcessId>().is_err(), "{bad}");
        }
    }
}
