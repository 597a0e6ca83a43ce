//! Several changes of standing queries at once: a pure function that every implementation uses.

use std::collections::{BTreeMap, BTreeSet};

use crate::query::check_name;
use crate::rules::{Outcome, Plan};
use crate::{
    QueryId, RegistryError, Standing, StandingChange, StandingChanged, StandingName, query_id,
};

/// Standing queries as they are registered, by name.
pub(crate) type Rows = BTreeMap<StandingName, Standing>;

/// The changes that can be taken, and what they touch.
pub(crate) struct Batch<'a> {
    pipeline: &'a str,
    changes: Vec<Result<&'a StandingChange, RegistryError>>,
}

/// What a change came to, before its transaction has given a revision.
enum Step {
    Put(QueryId, bool),
    Removed(bool),
}

/// All changes made, not yet written.
pub(crate) struct Made {
    /// The rows of all names and uids that the changes touch, as they are to be.
    pub(crate) rows: Rows,
    steps: Vec<Result<Step, RegistryError>>,
}

impl<'a> Batch<'a> {
    /// Refuses, each for itself, what no registry can take.
    pub(crate) fn new(pipeline: &'a str, changes: &'a [StandingChange]) -> Batch<'a> {
        let checked = |change: &'a StandingChange| {
            match change {
                StandingChange::Put { standing, lane } => standing.check(*lane)?,
                StandingChange::Remove { uid } => check_name("uid", uid)?,
            }
            Ok(change)
        };
        Batch {
            pipeline,
            changes: changes.iter().map(checked).collect(),
        }
    }

    /// Names that are put.
    pub(crate) fn names(&self) -> BTreeSet<&'a StandingName> {
        let taken = self.changes.iter().flatten();
        let name = |change: &&'a StandingChange| match change {
            StandingChange::Put { standing, .. } => Some(&standing.name),
            StandingChange::Remove { .. } => None,
        };
        taken.filter_map(name).collect()
    }

    /// Uids that are removed.
    pub(crate) fn uids(&self) -> BTreeSet<&'a str> {
        let taken = self.changes.iter().flatten();
        let uid = |change: &&'a StandingChange| match change {
            StandingChange::Put { .. } => None,
            StandingChange::Remove { uid } => Some(&**uid),
        };
        taken.filter_map(uid).collect()
    }

    /// Every query that `rows` refer to, or will.
    pub(crate) fn touched(&self, rows: &Rows) -> BTreeSet<QueryId> {
        let put = self.changes.iter().flatten();
        let put = put.filter_map(|change| match change {
            StandingChange::Put { standing, .. } => Some(standing),
            StandingChange::Remove { .. } => None,
        });
        let all = rows.values().chain(put);
        all.map(|standing| id_of(self.pipeline, standing)).collect()
    }

    /// Makes the changes in order. `rows`: those of the names and uids, as they are.
    pub(crate) fn make(self, mut rows: Rows, plan: &mut Plan) -> Made {
        let Batch { pipeline, changes } = self;
        let step = |change: Result<&StandingChange, RegistryError>| match change? {
            StandingChange::Put { standing, lane } => {
                put(pipeline, standing, *lane, &mut rows, plan)
            }
            StandingChange::Remove { uid } => Ok(remove(pipeline, uid, &mut rows, plan)),
        };
        let steps = changes.into_iter().map(step).collect();
        Made { rows, steps }
    }
}

fn put(
    pipeline: &str,
    standing: &Standing,
    lane: u32,
    rows: &mut Rows,
    plan: &mut Plan,
) -> Result<Step, RegistryError> {
    let former = rows.get(&standing.name);
    standing.check_follows(former)?;
    let id = id_of(pipeline, standing);
    plan.put_standing(
        former.map(|former| id_of(pipeline, former)),
        id,
        standing,
        lane,
    );
    rows.insert(standing.name.clone(), standing.clone());
    Ok(Step::Put(id, standing.suspended))
}

fn remove(pipeline: &str, uid: &str, rows: &mut Rows, plan: &mut Plan) -> Step {
    // At most one: a uid is one object's, and an object keeps its name.
    let found = rows.values().find(|standing| standing.uid == uid);
    let Some((name, id)) = found.map(|found| (found.name.clone(), id_of(pipeline, found))) else {
        return Step::Removed(false);
    };
    plan.unrefer(id, &name);
    rows.remove(&name);
    Step::Removed(true)
}

fn id_of(pipeline: &str, standing: &Standing) -> QueryId {
    query_id(pipeline, &standing.tenant, &standing.filter)
}

impl Made {
    /// What came of each change, once `outcome` is written. Of a query that a later change of the same transaction moved
    /// or suspended the later one tells.
    pub(crate) fn changed(self, outcome: &Outcome) -> Vec<Result<StandingChanged, RegistryError>> {
        let changed = |step| match step {
            Step::Put(id, suspended) => {
                StandingChanged::Put(outcome.served(id).filter(|_| !suspended))
            }
            Step::Removed(found) => StandingChanged::Removed(found),
        };
        let steps = self.steps.into_iter();
        steps.map(|step| step.map(changed)).collect()
    }
}
