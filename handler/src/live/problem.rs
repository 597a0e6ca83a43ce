//! Why a request was refused: a problem object of RFC 9457.

use serde::Serialize;
use utoipa::ToSchema;

/// A problem object (RFC 9457). The members after `detail` are set when a filter is at fault:
/// offsets count bytes from the start of its text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Problem {
    /// A URI that names the kind of problem.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind in words.
    pub title: String,
    /// The HTTP status that goes with it.
    pub status: u16,
    /// What is wrong, and what to do instead.
    pub detail: String,
    /// First byte at fault.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<usize>,
    /// Bytes at fault.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub length: Option<usize>,
    /// The filter's line and, under it, marks at the fault.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caret: Option<String>,
    /// What to write instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suggestion: Option<String>,
}

impl Problem {
    /// A problem that is not about a position in a filter. `slug` ends its type URI.
    #[must_use]
    pub fn new(status: u16, slug: &str, title: &str, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("urn:clickstream:problem:{slug}"),
            title: title.to_owned(),
            status,
            detail: detail.into(),
            offset: None,
            length: None,
            caret: None,
            suggestion: None,
        }
    }
}
