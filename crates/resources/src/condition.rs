//! Types and reasons of conditions. The names are part of the API: they are added, never changed.

/// Declares an enum of names, with their documentation to be shown.
macro_rules! names {
    ($(#[$meta:meta])* $name:ident { $($(#[doc = $doc:literal])+ $variant:ident,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl $name {
            /// Every one, in the order of the reference.
            pub const ALL: &'static [$name] = &[$($name::$variant,)+];

            /// As it stands in a condition.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $($name::$variant => stringify!($variant),)+
                }
            }

            /// What it means, for people.
            #[must_use]
            pub fn meaning(self) -> &'static str {
                match self {
                    $($name::$variant => concat!($($doc),+),)+
                }
            }
        }
    };
}

names! {
    /// The type of a condition.
    Type {
        /// The object does what its spec says. Unknown until the first look is complete.
        Ready,
        /// The spec makes sense. Query: the filter and the fields can be used.
        Accepted,
        /// Query: the pipeline exists and allows this query. Pipeline: the Secrets are there.
        ResolvedRefs,
        /// Query: every worker matches this generation.
        Programmed,
        /// Query with a sink: its topic is there and takes every match.
        SinkReady,
        /// Pipeline: the brokers answer.
        KafkaReady,
        /// Pipeline: the topics are as the spec says.
        TopicsReady,
        /// Pipeline: the database answers and its tables suit this version.
        SchemaReady,
        /// Pipeline: as many workers are ready as there should be.
        WorkersReady,
        /// Pipeline: as many handlers are ready as there should be.
        HandlersReady,
        /// Pipeline with `handler.exposure`: the Ingress or HTTPRoute is there. Absent when none is asked for.
        ExposureReady,
        /// Pipeline: the operator decides how many workers or handlers there are, or gives advice. Absent when nobody asks.
        ScalingActive,
        /// Pipeline: `spec.paused`. Nothing is changed.
        Paused,
        /// Something is under way (kstatus). Absent otherwise.
        Reconciling,
        /// Only a change by somebody will help (kstatus). Absent otherwise.
        Stalled,
    }
}

names! {
    /// The reason of a condition.
    Reason {
        /// All is well.
        Ready,
        /// A condition that is not met yet; the message names it.
        Progressing,
        /// Not looked at yet.
        Pending,
        /// The spec can be used.
        Accepted,
        /// The filter is refused; the message has the place and what to write instead.
        InvalidFilter,
        /// A path in `fields` is refused; the message has the place.
        InvalidFields,
        /// What the spec names is there and can be used.
        Resolved,
        /// There is no such pipeline.
        PipelineNotFound,
        /// The pipeline does not allow queries of this namespace; its `allowedQueries` says which it does.
        NotPermitted,
        /// The pipeline cannot take queries yet: its database or its filtered topic is not known.
        PipelineNotReady,
        /// Every worker runs it.
        Programmed,
        /// Some worker does not run it yet.
        WaitingForWorkers,
        /// No worker is there.
        NoWorkers,
        /// `spec.suspend`.
        Suspended,
        /// The database does not answer.
        DatabaseUnavailable,
        /// The brokers answer.
        Connected,
        /// The brokers do not answer.
        KafkaUnavailable,
        /// A Secret, or a key in it, is missing or holds nothing usable.
        InvalidSecret,
        /// The spec cannot work; the message says why and what to change.
        InvalidSpec,
        /// Another pipeline, the older one, has the same filtered topic or consumer group.
        Conflict,
        /// The sink takes every match.
        Delivering,
        /// The sink refused matches within the last minute; the message says how many and why.
        MatchesRefused,
        /// The topics are as the spec says.
        TopicsMatch,
        /// A topic that must be there is not.
        TopicNotFound,
        /// Kafka refused a change, or the topic cannot be changed to what the spec says.
        NotSupported,
        /// The tables suit this version.
        UpToDate,
        /// Tables are missing or older than this version.
        SchemaOutdated,
        /// The tables are newer than this operator; it changes nothing about them.
        NewerSchema,
        /// `spec.postgres.migrations` is Off: nobody looked.
        NotChecked,
        /// As many are ready as there should be.
        Available,
        /// Fewer are ready than there should be.
        Unavailable,
        /// Kubernetes refused an object; the message has its words.
        ApplyFailed,
        /// The Ingress or HTTPRoute is there; no Gateway refuses it.
        Applied,
        /// A Gateway does not take the route; the message has its words.
        NotAccepted,
        /// The cluster does not know HTTPRoute: install the Gateway API, or use `exposure.ingress`.
        GatewayApiMissing,
        /// There are as many as the load takes.
        Scaling,
        /// The load would take more than `max`, or than the source topics have partitions.
        AtMaximum,
        /// One partition has more than one worker can read: more workers would not help. Spread its keys.
        PartitionSkew,
        /// A partition has a backlog and nobody reads it on: more workers would not help.
        StuckPartition,
        /// The last workers that were added brought nothing: none are added.
        Ineffective,
        /// The metrics of a pod cannot be had: nothing is decided.
        MetricsUnavailable,
        /// Another condition is not met: nothing is decided.
        NotReady,
        /// `spec.paused`.
        Paused,
        /// The object is being deleted; the message says what that waits for.
        Deleting,
        /// Something did not end in time.
        Timeout,
        /// An error that the operator did not expect; its log has more.
        InternalError,
    }
}

/// Status of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It holds.
    True,
    /// It does not.
    False,
    /// Nobody can tell.
    Unknown,
}

impl State {
    /// As it stands in a condition.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            State::True => "True",
            State::False => "False",
            State::Unknown => "Unknown",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Reason, Type};

    #[test]
    fn names_are_those_of_the_variants_and_all_have_a_meaning() {
        assert_eq!(Type::KafkaReady.as_str(), "KafkaReady");
        assert_eq!(Reason::Suspended.meaning().trim(), "`spec.suspend`.");
        assert!(Type::ALL.iter().all(|name| !name.meaning().is_empty()));
        assert!(Reason::ALL.iter().all(|name| !name.meaning().is_empty()));
    }
}
