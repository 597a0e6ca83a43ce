//! What a viewer asks for, in the words that all doors share.

use std::time::Duration;

use crate::live::{Problem, Request};

/// A subscription asked for, and how its refusal is to be told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) request: Request,
    /// `on-error:message`: a refusal is told as a status message.
    pub(super) soft: bool,
}

/// A name was given that means nothing here.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unknown;

impl Asked {
    /// Takes over one value, by its header's or parameter's name.
    pub(super) fn set(&mut self, name: &str, value: &str) -> Result<Result<(), Problem>, Unknown> {
        let request = &mut self.request;
        match name {
            "filter" => request.filter = some(value),
            "event-types" => {
                let types = value.split(',').map(str::trim).filter(|t| !t.is_empty());
                request.event_types.extend(types.map(str::to_owned));
            }
            "fields" => request.fields = some(value),
            "rate" => match value.trim().parse() {
                Ok(rate) => request.rate = Some(rate),
                Err(_) => {
                    let detail = format!(
                        "`rate` is a number of matches per second, 0 for no limit, not `{value}`"
                    );
                    return Ok(Err(invalid("invalid-rate", "Invalid rate", detail)));
                }
            },
            "ttl" => match value.trim().parse() {
                Ok(seconds) => request.ttl = Some(Duration::from_secs(seconds)),
                Err(_) => {
                    let detail = format!("`ttl` is a number of seconds, not `{value}`");
                    return Ok(Err(invalid("invalid-ttl", "Invalid time to live", detail)));
                }
            },
            "from" if value.trim() == "now" => {}
            "from" => {
                let detail = "`from` can only be `now`: earlier events are not supported";
                return Ok(Err(invalid("unsupported", "Not supported", detail)));
            }
            "resume" => {
                let detail = "`resume` is not supported: subscribe without it";
                return Ok(Err(invalid("unsupported", "Not supported", detail)));
            }
            "on-error" => match value.trim() {
                "message" => self.soft = true,
                _ => {
                    let detail = format!("`on-error` can only be `message`, not `{value}`");
                    return Ok(Err(invalid("invalid-on-error", "Invalid on-error", detail)));
                }
            },
            _ => return Err(Unknown),
        }
        Ok(Ok(()))
    }

    /// Joins the standing query `<namespace>/<name>`.
    pub(super) fn set_standing(&mut self, query: &str) -> Result<(), Problem> {
        let parts = query
            .split_once('/')
            .filter(|(namespace, name)| !namespace.is_empty() && !name.is_empty());
        let Some((namespace, name)) = parts.filter(|(_, name)| !name.contains('/')) else {
            let detail = format!("a standing query is named `<namespace>/<name>`, not `{query}`");
            return Err(invalid("invalid-query", "Invalid query name", detail));
        };
        self.request.standing = Some((namespace.to_owned(), name.to_owned()));
        Ok(())
    }
}

/// What a SUBSCRIBE frame asks for. Headers of other names are the client's own business.
///
/// `soft` is known even when the rest is refused: it says how.
pub(super) fn from_headers<'a>(
    destination: &str,
    headers: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> (bool, Result<Request, Problem>) {
    let mut asked = Asked::default();
    let mut outcome = match destination.strip_prefix("/queries/") {
        Some(query) => asked.set_standing(query),
        None if destination == "/live" => Ok(()),
        None => Err(Problem::new(
            404,
            "unknown-destination",
            "Unknown destination",
            format!(
                "`{destination}` is no destination: use `/live`, or `/queries/<namespace>/<name>`"
            ),
        )),
    };
    let mut seen: Vec<&str> = Vec::new();
    for (name, value) in headers {
        // Of repeated headers the first counts.
        if seen.contains(&name) {
            continue;
        }
        seen.push(name);
        if let Ok(Err(problem)) = asked.set(name, value) {
            outcome = outcome.and(Err(problem));
        }
    }
    (asked.soft, outcome.map(|()| asked.request))
}

fn some(value: &str) -> Option<String> {
    (!value.trim().is_empty()).then(|| value.to_owned())
}

fn invalid(slug: &str, title: &str, detail: impl Into<String>) -> Problem {
    Problem::new(422, slug, title, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(destination: &str, headers: &[(&str, &str)]) -> String {
        let (_, outcome) = from_headers(destination, headers.iter().copied());
        outcome.unwrap_err().detail
    }

    #[test]
    fn every_header_is_read() {
        let headers = [
            ("id", "0"),
            ("filter", "event.price > 1"),
            ("filter", "event.price > 2"),
            ("event-types", "a, b,,c "),
            ("fields", "a,b.c"),
            ("rate", "0"),
            ("ttl", "60"),
            ("from", "now"),
            ("on-error", "message"),
            ("x-mine", "1"),
        ];
        let expected = Request {
            filter: Some("event.price > 1".to_owned()),
            event_types: ["a", "b", "c"].map(str::to_owned).to_vec(),
            fields: Some("a,b.c".to_owned()),
            rate: Some(0),
            ttl: Some(Duration::from_secs(60)),
            standing: None,
        };
        assert_eq!(from_headers("/live", headers), (true, Ok(expected)));
        assert_eq!(from_headers("/live", []), (false, Ok(Request::default())));
        let (_, standing) = from_headers("/queries/shop/top", []);
        let standing = standing.unwrap().standing.unwrap();
        assert_eq!(standing, ("shop".to_owned(), "top".to_owned()));
    }

    #[test]
    fn what_is_wrong_or_not_built_is_refused() {
        for destination in ["", "live", "/live/", "/queue/a", "/queries"] {
            assert!(
                refused(destination, &[]).contains("is no destination"),
                "{destination}"
            );
        }
        for query in ["", "a", "a/", "/b", "a/b/c"] {
            let detail = refused(&format!("/queries/{query}"), &[]);
            assert!(detail.contains("is named"), "{query}: {detail}");
        }
        for (name, value) in [
            ("rate", "-1"),
            ("rate", "fast"),
            ("ttl", "1h"),
            ("from", "earliest"),
            ("resume", "t/0/1"),
            ("on-error", "ignore"),
        ] {
            let detail = refused("/live", &[(name, value)]);
            assert!(detail.contains(&format!("`{name}`")), "{detail}");
        }
    }

    #[test]
    fn how_to_refuse_is_known_before_what() {
        let headers = [("rate", "x"), ("on-error", "message")];
        let (soft, outcome) = from_headers("/nowhere", headers);
        assert!(soft);
        assert_eq!(outcome.unwrap_err().status, 404);
    }
}
