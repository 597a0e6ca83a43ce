//! How a refused filter is shown, whoever refused it: the engine here, or a server.

use std::fmt;
use std::process::ExitCode;

use clickstream_engine::FilterError;
use serde::Deserialize;

/// What is wrong with a filter: the message, the filter with a caret under the place, and what
/// to write instead.
///
/// A server's problem object (RFC 9457) has the same parts.
#[derive(Debug, Deserialize)]
pub(crate) struct Refusal {
    #[serde(alias = "detail")]
    message: String,
    caret: Option<String>,
    suggestion: Option<String>,
}

impl Refusal {
    /// Says it on standard error, as `error: <what>: ..`, and gives the exit code 2.
    pub(crate) fn report(&self, what: &str) -> ExitCode {
        eprintln!("error: {what}: {self}");
        ExitCode::from(2)
    }
}

impl From<FilterError> for Refusal {
    fn from(error: FilterError) -> Refusal {
        Refusal {
            caret: Some(error.caret()),
            message: error.message,
            suggestion: error.suggestion,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.message)?;
        for line in self.caret.iter().flat_map(|caret| caret.lines()) {
            write!(f, "\n  {line}")?;
        }
        if let Some(suggestion) = &self.suggestion {
            write!(f, "\n  try: {suggestion}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_object_reads_like_the_engines_error() {
        let problem = r#"{"type":"about:blank","title":"Filter refused","status":422,
            "detail":"unknown variable `evnt`","offset":0,"length":4,
            "caret":"evnt.type == 1\n^^^^","suggestion":"event"}"#;
        let refusal: Refusal = serde_json::from_str(problem).unwrap();
        assert_eq!(
            refusal.to_string(),
            "unknown variable `evnt`\n  evnt.type == 1\n  ^^^^\n  try: event"
        );
    }

    #[test]
    fn a_problem_without_a_place_is_its_message() {
        let refusal: Refusal = serde_json::from_str(r#"{"detail":"too many"}"#).unwrap();
        assert_eq!(refusal.to_string(), "too many");
    }
}
