//! From what a viewer asks for to a checked filter and terms: no I/O.

use std::{sync::Arc, time::Duration};

use clickstream_engine::{FieldPath, Filter, FilterError};
use clickstream_registry::{Standing, StandingName};

use super::{Problem, Request, projection::View};

/// Matches per second of a viewer who asks for no rate.
pub const DEFAULT_RATE: u32 = 100;
/// Event types in one request.
pub const MAX_EVENT_TYPES: usize = 100;
/// Shortest time to live.
pub const MIN_TTL: Duration = Duration::from_secs(5);

/// A request, checked.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) filter: Filter,
    pub(crate) tenant: String,
    pub(crate) view: Arc<View>,
    pub(crate) rate: Option<u32>,
    pub(crate) ttl: Duration,
    pub(crate) standing: Option<StandingName>,
}

impl Plan {
    /// Checks a request. `standing`: the standing query it names, as the registry has it.
    pub(crate) fn new(
        request: &Request,
        standing: Option<&Standing>,
        event_type_field: &FieldPath,
        max_ttl: Duration,
    ) -> Result<Self, Problem> {
        let filter = match standing {
            Some(_) if request.filter.is_some() || !request.event_types.is_empty() => {
                return Err(invalid(
                    "a standing query brings its own filter: leave out `filter` and `event-types`",
                ));
            }
            // It was checked when it was made; a later version of this program may know better.
            Some(standing) => {
                Filter::parse(&standing.filter).map_err(|err| filter_problem(&err))?
            }
            None => filter(request, event_type_field)?,
        };
        let fields = match (&request.fields, standing) {
            (Some(fields), _) => Some(fields.clone()),
            (None, Some(standing)) if !standing.fields.is_empty() => {
                Some(standing.fields.join(","))
            }
            (None, _) => None,
        };
        let view = View::parse(fields.as_deref()).map_err(|err| fields_problem(&err))?;
        let rate = match (request.rate, standing) {
            (Some(0), _) => None,
            (Some(rate), _) => Some(rate),
            (None, Some(standing)) => standing.rate,
            (None, None) => Some(DEFAULT_RATE),
        };
        Ok(Self {
            filter,
            tenant: standing.map_or_else(String::new, |standing| standing.tenant.clone()),
            view: Arc::new(view),
            rate,
            ttl: ttl(request.ttl, max_ttl)?,
            standing: standing.map(|standing| standing.name.clone()),
        })
    }
}

fn filter(request: &Request, event_type_field: &FieldPath) -> Result<Filter, Problem> {
    if request.event_types.len() > MAX_EVENT_TYPES {
        return Err(invalid(format!(
            "`event-types` names {} types, and {MAX_EVENT_TYPES} are allowed: write a filter instead",
            request.event_types.len()
        )));
    }
    let written = request
        .filter
        .as_deref()
        .map(Filter::parse)
        .transpose()
        .map_err(|err| filter_problem(&err))?;
    if request.event_types.is_empty() {
        return match written {
            Some(filter) => Ok(filter),
            None => Filter::parse("true").map_err(|err| filter_problem(&err)),
        };
    }
    let types: Vec<&str> = request.event_types.iter().map(String::as_str).collect();
    let of_types = Filter::event_types(event_type_field, &types)
        .map_err(|err| invalid(format!("`event-types`: {}", err.message)))?;
    match written {
        Some(filter) => of_types.and(filter).map_err(|err| filter_problem(&err)),
        None => Ok(of_types),
    }
}

fn ttl(asked: Option<Duration>, max: Duration) -> Result<Duration, Problem> {
    match asked {
        Some(ttl) if ttl < MIN_TTL => Err(invalid(format!(
            "`ttl` is {} s, and the shortest is {} s",
            ttl.as_secs(),
            MIN_TTL.as_secs()
        ))),
        // The viewer is told when it expires, so a longer wish needs no refusal.
        Some(ttl) => Ok(ttl.min(max)),
        None => Ok(max),
    }
}

/// A value of a request that cannot be used.
pub(crate) fn invalid(detail: impl Into<String>) -> Problem {
    Problem::new(422, "invalid-request", "Invalid request", detail)
}

/// A filter that was refused.
pub(crate) fn filter_problem(err: &FilterError) -> Problem {
    positioned(
        Problem::new(
            422,
            &format!("filter-{}", err.category()),
            "Filter refused",
            err.message.clone(),
        ),
        err,
    )
}

fn fields_problem(err: &FilterError) -> Problem {
    positioned(
        Problem::new(
            422,
            "fields",
            "Fields refused",
            format!("`fields`: {}", err.message),
        ),
        err,
    )
}

fn positioned(problem: Problem, err: &FilterError) -> Problem {
    Problem {
        offset: Some(err.offset),
        length: Some(err.length),
        caret: Some(err.caret()),
        suggestion: err.suggestion.clone(),
        ..problem
    }
}
