//! Why the registry did not do what it was asked.

use sqlx::postgres::PgDatabaseError;

/// Why a call failed.
///
/// The messages can be shown to users: they name no host and no SQL. The cause, which may, is the `source`
/// and belongs into the log.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The database is away, too slow, or closed the connection. Whether a change was made is unknown:
    /// after it a handler states its whole set with [`renew`](crate::Registry::renew).
    #[error("the query registry cannot be reached")]
    Unavailable(#[source] Cause),
    /// The database answered and refused the login or lacks the right. It may be granted while programs wait.
    #[error("the query registry refuses this program's login or lacks a right for it")]
    AccessDenied(#[source] Cause),
    /// The tables are missing or older than this program.
    #[error(
        "the query registry's schema is missing or older than this program; start it with `--migrate`"
    )]
    SchemaMissing(#[source] Cause),
    /// The handler has no lease: it never renewed, or it was away for so long that others removed what it served.
    /// It states its whole set with [`renew`](crate::Registry::renew).
    #[error("the handler has no lease in the query registry")]
    NoLease,
    /// A newer generation of the same ClickstreamQuery is registered already.
    #[error("generation {known} of this query is registered already")]
    Stale {
        /// The generation that is registered.
        known: i64,
    },
    /// The caller passed what no registry can take.
    #[error("{0}")]
    Invalid(String),
    /// The program is wrong. Retrying will not help.
    #[error("the query registry failed in a way it should not")]
    Bug(#[source] Cause),
}

/// What stood behind a [`RegistryError`].
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// What a failure means for the one who sees it; [`RegistryError::category`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Category {
    /// Retry with back-off.
    Unavailable,
    /// Wait until the migrations have been applied.
    SchemaMissing,
    /// Tell the caller; the same call fails again.
    Invalid,
    /// Fail loudly.
    Bug,
}

impl Category {
    /// As a label value.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Category::Unavailable => "unavailable",
            Category::SchemaMissing => "schema-missing",
            Category::Invalid => "invalid",
            Category::Bug => "bug",
        }
    }
}

impl RegistryError {
    /// What to do about it.
    #[must_use]
    pub fn category(&self) -> Category {
        match self {
            RegistryError::Unavailable(_) | RegistryError::AccessDenied(_) => Category::Unavailable,
            RegistryError::SchemaMissing(_) => Category::SchemaMissing,
            RegistryError::NoLease | RegistryError::Stale { .. } | RegistryError::Invalid(_) => {
                Category::Invalid
            }
            RegistryError::Bug(_) => Category::Bug,
        }
    }

    pub(crate) fn unavailable(reason: &'static str) -> RegistryError {
        RegistryError::Unavailable(reason.into())
    }

    pub(crate) fn bug(cause: impl Into<Cause>) -> RegistryError {
        RegistryError::Bug(cause.into())
    }
}

impl From<sqlx::Error> for RegistryError {
    fn from(err: sqlx::Error) -> Self {
        use sqlx::Error::{
            BeginFailed, Database, Io, PoolClosed, PoolTimedOut, Protocol, RowNotFound, Tls,
            WorkerCrashed,
        };
        let class = match &err {
            Io(_) | Tls(_) | PoolTimedOut | PoolClosed | WorkerCrashed | BeginFailed
            | Protocol(_) => Self::Unavailable,
            // Only statements that must give a row are asked that way: the pipeline's row was removed by hand.
            RowNotFound => Self::Unavailable,
            Database(database) => match database
                .try_downcast_ref::<PgDatabaseError>()
                .map(PgDatabaseError::code)
            {
                Some(code) => by_sqlstate(code),
                None => Self::Bug,
            },
            _ => Self::Bug,
        };
        class(Box::new(err))
    }
}

/// By the code's class (PostgreSQL manual, appendix A).
fn by_sqlstate(code: &str) -> fn(Cause) -> RegistryError {
    match code {
        // undefined table, column, function, schema
        "42P01" | "42703" | "42883" | "3F000" => RegistryError::SchemaMissing,
        // insufficient privilege; database does not exist
        "42501" | "3D000" => RegistryError::AccessDenied,
        _ => match code.get(..2) {
            Some("28") => RegistryError::AccessDenied,
            // connection; transaction state (read-only on a standby, idle for too long), roll-back; resources, object
            // state, operator, system
            Some("08" | "25" | "40" | "53" | "55" | "57" | "58") => RegistryError::Unavailable,
            _ => RegistryError::Bug,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::{Category, RegistryError, by_sqlstate};

    #[test]
    fn sqlstates_tell_what_to_do_next() {
        for (code, category) in [
            ("42P01", Category::SchemaMissing),
            ("28P01", Category::Unavailable),
            ("57P01", Category::Unavailable),
            ("57014", Category::Unavailable),
            ("40P01", Category::Unavailable),
            ("53300", Category::Unavailable),
            ("25P03", Category::Unavailable),
            ("25006", Category::Unavailable),
            ("42601", Category::Bug),
            ("23505", Category::Bug),
        ] {
            assert_eq!(by_sqlstate(code)("x".into()).category(), category, "{code}");
        }
    }

    #[test]
    fn message_names_no_host() {
        let io = std::io::Error::other("connect to db.internal:5432 failed");
        let shown = RegistryError::from(sqlx::Error::Io(io)).to_string();
        assert_eq!(shown, "the query registry cannot be reached");
    }
}
