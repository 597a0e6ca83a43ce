//! Conditions, and writing a status when it differs from the one that is there.

use std::fmt::Debug;

use clickstream_resources::condition::{Reason, State, Type};
use clickstream_resources::{ClickstreamPipeline, ClickstreamQuery};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::core::NamespaceResourceScope;
use kube::runtime::events::{Event, EventType};
use kube::{Api, Resource, ResourceExt as _};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tracing::warn;

use super::Context;

/// Longer messages are cut: a status is for people.
const MAX_MESSAGE: usize = 2_000;
/// The API server takes notes of up to 1 kB.
const MAX_NOTE: usize = 1_000;

/// The conditions of one look at an object, beside those of the look before.
#[derive(Debug)]
pub struct Conditions {
    generation: Option<i64>,
    now: Timestamp,
    before: Vec<Condition>,
    list: Vec<Condition>,
}

impl Conditions {
    /// Of an object of this generation; `before` is what its status says.
    #[must_use]
    pub fn new(before: &[Condition], generation: Option<i64>, now: Timestamp) -> Conditions {
        Conditions {
            generation,
            now,
            before: before.to_vec(),
            list: Vec::new(),
        }
    }

    /// States a condition, in place of what this look said before. The time of the last transition stays while the
    /// status does.
    pub fn set(&mut self, kind: Type, state: State, reason: Reason, message: impl Into<String>) {
        let former = self
            .before
            .iter()
            .find(|former| former.type_ == kind.as_str());
        let since = former
            .filter(|former| former.status == state.as_str())
            .map_or(Time(self.now), |former| former.last_transition_time.clone());
        let condition = Condition {
            last_transition_time: since,
            message: shortened(message.into(), MAX_MESSAGE),
            observed_generation: self.generation,
            reason: reason.as_str().to_owned(),
            status: state.as_str().to_owned(),
            type_: kind.as_str().to_owned(),
        };
        self.list.retain(|other| other.type_ != condition.type_);
        self.list.push(condition);
    }

    /// Keeps what the look before said, because this one did not come so far; `Unknown` when none did.
    pub fn keep(&mut self, kind: Type) {
        if self.get(kind).is_some() {
            return;
        }
        match self
            .before
            .iter()
            .find(|former| former.type_ == kind.as_str())
        {
            Some(former) => self.list.push(former.clone()),
            None => self.set(kind, State::Unknown, Reason::Pending, "not looked at yet"),
        }
    }

    /// Keeps what a look before said of this generation; answers whether one did.
    pub fn keep_said(&mut self, kind: Type) -> bool {
        let mut before = self.before.iter();
        let said = before.any(|former| {
            former.type_ == kind.as_str() && former.observed_generation == self.generation
        });
        if said {
            self.keep(kind);
        }
        said
    }

    /// What this look said.
    #[must_use]
    pub fn get(&self, kind: Type) -> Option<&Condition> {
        self.list
            .iter()
            .find(|condition| condition.type_ == kind.as_str())
    }

    /// Whether this look said that it holds.
    #[must_use]
    pub fn holds(&self, kind: Type) -> bool {
        self.get(kind)
            .is_some_and(|condition| condition.status == "True")
    }

    /// States `Ready`, and `Reconciling` or `Stalled`, from the conditions that it takes: the first that does not hold
    /// gives the reason. `stalled` says that only a change by somebody will help.
    pub fn conclude(&mut self, needs: &[Type], well: (Reason, &str), stalled: bool) {
        let missing = needs.iter().find(|need| !self.holds(**need));
        let Some(missing) = missing else {
            return self.set(Type::Ready, State::True, well.0, well.1);
        };
        let (state, reason, message) = match self.get(*missing) {
            Some(condition) => {
                let reason = Reason::ALL
                    .iter()
                    .find(|known| known.as_str() == condition.reason);
                let state = if condition.status == "False" {
                    State::False
                } else {
                    State::Unknown
                };
                (state, reason.copied(), condition.message.clone())
            }
            None => (State::Unknown, None, "not looked at yet".to_owned()),
        };
        let reason = reason.unwrap_or(Reason::Pending);
        self.set(Type::Ready, state, reason, message.clone());
        let also = if stalled {
            Type::Stalled
        } else {
            Type::Reconciling
        };
        self.set(also, State::True, reason, message);
    }

    /// In the order of the reference.
    #[must_use]
    pub fn finish(mut self) -> Vec<Condition> {
        let place = |condition: &Condition| {
            Type::ALL
                .iter()
                .position(|kind| kind.as_str() == condition.type_)
        };
        self.list.sort_by_key(place);
        self.list
    }
}

fn shortened(mut message: String, most: usize) -> String {
    if message.len() > most {
        let end = (0..=most)
            .rev()
            .find(|end| message.is_char_boundary(*end))
            .unwrap_or(0);
        message.truncate(end);
        message.push('…');
    }
    message
}

/// Writes `status` unless it is the one that is there, and tells of conditions that changed. Answers whether it wrote.
///
/// # Errors
/// When the API server refuses or does not answer.
pub async fn write<K, S>(
    ctx: &Context,
    object: &K,
    before: Option<&S>,
    status: &S,
) -> Result<bool, kube::Error>
where
    K: Custom,
    S: HasConditions,
{
    if before == Some(status) {
        return Ok(false);
    }
    let api = Api::<K>::namespaced(ctx.client.clone(), &object.namespace().unwrap_or_default());
    let patch = json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        // The uid: an object made again under the same name is another one.
        "metadata": {"name": object.name_any(), "uid": object.meta().uid},
        "status": status,
    });
    let params = PatchParams::apply("clickstream-operator/status").force();
    api.patch_status(&object.name_any(), &params, &Patch::Apply(&patch))
        .await?;
    let nothing = Vec::new();
    let former = before.map_or(&nothing, HasConditions::conditions);
    for event in transitions(former, status.conditions()) {
        let reference = object.object_ref(&());
        if let Err(err) = ctx.recorder.publish(&event, &reference).await {
            warn!(error = %err, "an event cannot be published");
        }
    }
    Ok(true)
}

/// Writes that a look at the object did not end in time; all else stays as it was.
///
/// # Errors
/// When the API server refuses or does not answer.
pub async fn timed_out<K, S>(
    ctx: &Context,
    object: &K,
    before: Option<&S>,
) -> Result<bool, kube::Error>
where
    K: Custom,
    S: HasConditions,
{
    let words = "the look at this object did not end in time; it is tried again";
    broken(ctx, object, before, Reason::Timeout, words).await
}

/// Writes that the API server refused something the look needed, such as a right the operator lacks; all else stays as
/// it was. A server that is away or a version that was overtaken is tried again without a word.
///
/// # Errors
/// When the API server refuses or does not answer.
pub async fn refused<K, S>(
    ctx: &Context,
    object: &K,
    before: Option<&S>,
    err: &kube::Error,
) -> Result<bool, kube::Error>
where
    K: Custom,
    S: HasConditions,
{
    match err {
        kube::Error::Api(status) if matches!(status.code, 400 | 401 | 403 | 405 | 422) => {
            let words = format!("the Kubernetes API refuses: {}", status.message);
            broken(ctx, object, before, Reason::InternalError, &words).await
        }
        _ => Ok(false),
    }
}

/// Whether the API server answered that it cannot at the moment, or that somebody else was first: no fault of the object.
pub(super) fn passes(err: &kube::Error) -> bool {
    matches!(err, kube::Error::Api(status) if matches!(status.code, 409 | 429 | 503 | 504))
}

async fn broken<K, S>(
    ctx: &Context,
    object: &K,
    before: Option<&S>,
    reason: Reason,
    words: &str,
) -> Result<bool, kube::Error>
where
    K: Custom,
    S: HasConditions,
{
    let mut status = before.cloned().unwrap_or_default();
    let generation = object.meta().generation;
    let mut said = Conditions::new(status.conditions(), generation, Timestamp::now());
    for kind in Type::ALL {
        let before = status.conditions().iter();
        if before.into_iter().any(|known| known.type_ == kind.as_str()) {
            said.keep(*kind);
        }
    }
    said.set(Type::Ready, State::Unknown, reason, words);
    *status.conditions_mut() = said.finish();
    write(ctx, object, before, &status).await
}

/// An object of one of our kinds.
pub trait Custom:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + DeserializeOwned
    + Send
    + Sync
    + 'static
{
}

impl Custom for ClickstreamPipeline {}
impl Custom for ClickstreamQuery {}

/// A status with conditions.
pub trait HasConditions: Clone + Default + Serialize + PartialEq {
    /// They.
    fn conditions(&self) -> &Vec<Condition>;

    /// They, to be replaced.
    fn conditions_mut(&mut self) -> &mut Vec<Condition>;
}

impl HasConditions for clickstream_resources::PipelineStatus {
    fn conditions(&self) -> &Vec<Condition> {
        &self.conditions
    }

    fn conditions_mut(&mut self) -> &mut Vec<Condition> {
        &mut self.conditions
    }
}

impl HasConditions for clickstream_resources::QueryStatus {
    fn conditions(&self) -> &Vec<Condition> {
        &self.conditions
    }

    fn conditions_mut(&mut self) -> &mut Vec<Condition> {
        &mut self.conditions
    }
}

/// One event for each condition that fails, or fails for another reason, and for each that holds again. What holds from
/// the start is told by `Ready` alone: an event is a request, and most objects come to nothing else.
fn transitions(before: &[Condition], after: &[Condition]) -> Vec<Event> {
    let told = |condition: &&Condition| {
        let mut before = before.iter();
        let former = before.find(|former| former.type_ == condition.type_);
        let changed = former.is_none_or(|former| {
            former.status != condition.status || former.reason != condition.reason
        });
        let failed = former.is_some_and(|former| former.status == "False");
        match (condition.type_.as_str(), condition.status.as_str()) {
            ("Reconciling" | "Stalled", _) => false,
            ("Ready", status) => status == "True" && changed,
            (_, "True") => failed,
            (_, "False") => changed,
            _ => false,
        }
    };
    after
        .iter()
        .filter(told)
        .map(|condition| Event {
            type_: if condition.status == "True" {
                EventType::Normal
            } else {
                EventType::Warning
            },
            reason: condition.reason.clone(),
            note: Some(shortened(
                format!("{}: {}", condition.type_, condition.message),
                MAX_NOTE - 4,
            )),
            action: condition.type_.clone(),
            secondary: None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn time_of_transition_stays_while_the_status_does() {
        let mut first = Conditions::new(&[], Some(1), at(10));
        first.set(Type::Accepted, State::True, Reason::Accepted, "yes");
        let first = first.finish();
        let mut second = Conditions::new(&first, Some(2), at(20));
        second.set(Type::Accepted, State::True, Reason::Accepted, "still");
        let second = second.finish();
        assert_eq!(second[0].last_transition_time, Time(at(10)));
        assert_eq!(second[0].observed_generation, Some(2));
        let mut third = Conditions::new(&second, Some(2), at(30));
        third.set(Type::Accepted, State::False, Reason::InvalidFilter, "no");
        assert_eq!(third.finish()[0].last_transition_time, Time(at(30)));
    }

    #[test]
    fn first_condition_that_is_missing_explains_why_it_is_not_ready() {
        let mut conditions = Conditions::new(&[], Some(1), at(1));
        conditions.keep(Type::SchemaReady);
        conditions.set(
            Type::KafkaReady,
            State::False,
            Reason::KafkaUnavailable,
            "no answer",
        );
        let needs = [Type::KafkaReady, Type::SchemaReady];
        conditions.conclude(&needs, (Reason::Ready, "well"), false);
        let ready = conditions.get(Type::Ready).unwrap();
        assert_eq!(
            (ready.status.as_str(), ready.reason.as_str()),
            ("False", "KafkaUnavailable")
        );
        assert!(conditions.holds(Type::Reconciling) && !conditions.holds(Type::Stalled));
        conditions.set(Type::KafkaReady, State::True, Reason::Connected, "");
        conditions.conclude(&needs, (Reason::Ready, "well"), false);
        assert_eq!(conditions.get(Type::Ready).unwrap().status, "Unknown");
    }

    #[test]
    fn events_tell_of_transitions_only() {
        let state = |state, reason| {
            let mut conditions = Conditions::new(&[], Some(1), at(1));
            conditions.set(Type::KafkaReady, state, reason, "words");
            conditions.conclude(&[Type::KafkaReady], (Reason::Ready, ""), false);
            conditions.finish()
        };
        let well = state(State::True, Reason::Connected);
        let away = state(State::False, Reason::KafkaUnavailable);
        let refused = state(State::False, Reason::InvalidSecret);
        let reasons = |before: &[Condition], after: &[Condition]| -> Vec<String> {
            transitions(before, after)
                .into_iter()
                .map(|event| event.reason)
                .collect()
        };
        let pending = state(State::Unknown, Reason::Pending);
        assert_eq!(reasons(&[], &pending), [""; 0]);
        assert_eq!(reasons(&pending, &well), ["Ready"]);
        assert_eq!(reasons(&pending, &away), ["KafkaUnavailable"]);
        assert_eq!(reasons(&well, &well), [""; 0]);
        assert_eq!(reasons(&well, &away), ["KafkaUnavailable"]);
        assert_eq!(reasons(&away, &refused), ["InvalidSecret"]);
        assert_eq!(reasons(&refused, &well), ["Ready", "Connected"]);
    }

    #[test]
    fn long_messages_are_cut_between_characters() {
        let mut conditions = Conditions::new(&[], None, at(1));
        conditions.set(
            Type::Accepted,
            State::False,
            Reason::InvalidFilter,
            "ü".repeat(3_000),
        );
        let message = &conditions.get(Type::Accepted).unwrap().message;
        assert!(message.len() <= MAX_MESSAGE + 3 && message.ends_with('…'));
    }
}
