//! Everything live in one handler: lanes, the groups of each query, their members.
//!
//! Pure: records, answers of the registry and the time come in; what viewers are told goes into their
//! queues. The caller holds the lock, reads Kafka and speaks to the registry.

use std::{collections::HashMap, sync::Arc, time::Instant};

use clickstream_registry::{QueryId, Served, StandingName, Wanted};
use clickstream_wire::Match;

use super::{
    EndReason, GapRange, GapReason, Outbound, Status,
    group::Group,
    lane::{Lane, Sources},
    projection::Encoder,
    subscription::{Member, Now, Terms},
};
use crate::metrics::Metrics;

mod account;
#[cfg(test)]
mod tests;

/// See the module.
#[derive(Debug)]
pub(crate) struct Hub {
    sources: Sources,
    lanes: HashMap<u32, Lane>,
    groups: HashMap<QueryId, Group>,
    /// Which query each member is in.
    members: HashMap<u64, QueryId>,
    /// Connections that got events, to be woken once at the end of a batch.
    touched: Vec<Arc<Outbound>>,
    /// Why no subscription may begin any more.
    closing: Option<(EndReason, &'static str)>,
    /// Numbers records, groups, members and tickets.
    sequence: u64,
    metrics: Metrics,
}

/// A place kept in a group for a request that waits for the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ticket {
    pub(crate) query: QueryId,
    number: u64,
}

impl Hub {
    pub(crate) fn new(metrics: Metrics) -> Self {
        Self {
            sources: Sources::default(),
            lanes: HashMap::new(),
            groups: HashMap::new(),
            members: HashMap::new(),
            touched: Vec::new(),
            closing: None,
            sequence: 0,
            metrics,
        }
    }

    // ---- subscriptions ----

    /// Makes sure that matches of `query` are noticed from now on, before it is registered: whatever its
    /// lane, no match that follows the registration is missed. `lane` is a proposal.
    pub(crate) fn prepare(
        &mut self,
        query: QueryId,
        tenant: &str,
        filter: &str,
        lane: u32,
        rate: Option<u32>,
    ) -> Ticket {
        let number = self.number();
        let group = self
            .groups
            .entry(query)
            .or_insert_with(|| Group::new(number, number, tenant, filter, lane));
        group.waiting.push((number, rate));
        Ticket { query, number }
    }

    /// Gives a prepared place up.
    pub(crate) fn abandon(&mut self, ticket: Ticket) {
        if let Some(group) = self.groups.get_mut(&ticket.query) {
            group.waiting.retain(|(number, _)| *number != ticket.number);
        }
    }

    /// Turns a prepared place into a subscription, once the registry has answered ([`Self::served`]).
    pub(crate) fn join(&mut self, ticket: Ticket, terms: Terms, now: Now) -> u64 {
        let id = self.number();
        self.enter(ticket, Member::new(id, terms, now), now);
        id
    }

    /// Moves a subscription to a prepared place of another query. False: it is no longer there.
    pub(crate) fn migrate(&mut self, member: u64, ticket: Ticket, now: Now) -> bool {
        let group = self
            .members
            .get(&member)
            .and_then(|query| self.groups.get_mut(query));
        let Some(group) = group else { return false };
        let Some(mut member) = take_member(group, member) else {
            return false;
        };
        member.carry(group, self.lanes.get(&group.lane));
        self.enter(ticket, member, now);
        true
    }

    fn enter(&mut self, ticket: Ticket, mut member: Member, now: Now) {
        self.abandon(ticket);
        let Some(group) = self.groups.get_mut(&ticket.query) else {
            return;
        };
        let lane = self.lanes.get(&group.lane);
        member.enter(ticket.query.to_string(), group, lane);
        if let (Some(lane), Some(revision)) = (lane, group.revision) {
            member.settle(lane, revision, now);
        }
        if let Some((reason, message)) = self.closing {
            // Who comes while all are sent away is sent away, too.
            member.tell(Status::Ended {
                reason,
                message: message.to_owned(),
                error: None,
            });
            return;
        }
        self.members.insert(member.id, ticket.query);
        group.members.push(member);
        self.metrics.subscriptions.set(self.members.len() as i64);
    }

    /// Ends a subscription at the viewer's wish; with `keep_until` its query stays that long. Returns
    /// the query, whose use has changed; none if the subscription had ended before.
    pub(crate) fn leave(&mut self, member: u64, keep_until: Option<Instant>) -> Option<QueryId> {
        let query = self.members.remove(&member)?;
        self.metrics.subscriptions.set(self.members.len() as i64);
        let group = self.groups.get_mut(&query)?;
        let member = take_member(group, member)?;
        group.last_limit = member.rate();
        if let Some(until) = keep_until {
            group.linger(until);
        }
        member.terms.outbound.close(member.terms.channel);
        Some(query)
    }

    /// Ends a subscription and tells the viewer. Returns as [`Self::leave`].
    pub(crate) fn end(&mut self, member: u64, reason: EndReason, message: &str) -> Option<QueryId> {
        let query = self.members.remove(&member)?;
        self.metrics.subscriptions.set(self.members.len() as i64);
        let member = take_member(self.groups.get_mut(&query)?, member)?;
        member.tell(Status::Ended {
            reason,
            message: message.to_owned(),
            error: None,
        });
        Some(query)
    }

    /// Ends all subscriptions, and those that begin later at once.
    pub(crate) fn end_all(&mut self, reason: EndReason, message: &'static str) {
        self.closing = Some((reason, message));
        let members: Vec<u64> = self.members.keys().copied().collect();
        for member in members {
            self.end(member, reason, message);
        }
    }

    // ---- registry ----

    /// What the registry should know of a query; none when this handler has no use for it.
    pub(crate) fn wanted(&self, query: QueryId) -> Option<Wanted> {
        let group = self.groups.get(&query)?;
        let subscribers = group.subscribers();
        (subscribers > 0).then(|| Wanted {
            tenant: group.tenant.clone(),
            filter: group.filter.clone(),
            lane: group.lane,
            subscribers: u32::try_from(subscribers).unwrap_or(u32::MAX),
            limit: group.limit(),
        })
    }

    /// All queries this handler has, in use or not.
    pub(crate) fn queries(&self) -> Vec<QueryId> {
        self.groups.keys().copied().collect()
    }

    /// The registry's answer for a query.
    pub(crate) fn served(&mut self, served: Served) {
        let Some(group) = self.groups.get_mut(&served.id) else {
            return;
        };
        group.lane = served.lane;
        group.revision = Some(served.revision);
        group.known_since.get_or_insert(served.revision);
    }

    /// Where and at which revision the registry has a query, as last answered.
    pub(crate) fn placed(&self, query: QueryId) -> Option<(u32, u64)> {
        let group = self.groups.get(&query)?;
        Some((group.lane, group.revision?))
    }

    /// A query was missing in the registry and is about to be registered again.
    pub(crate) fn outage(&mut self, query: QueryId) {
        let Some(group) = self.groups.get_mut(&query) else {
            return;
        };
        group.revision = None;
        group.known_since = None;
        let Some(lane) = self.lanes.get(&group.lane) else {
            return;
        };
        for (at, end) in lane.ends() {
            group.outage.entry(at).or_insert(end);
        }
    }

    /// Forgets a query that is no longer registered, unless somebody wants it again.
    pub(crate) fn released(&mut self, query: QueryId) {
        if self
            .groups
            .get(&query)
            .is_some_and(|group| group.subscribers() == 0)
        {
            self.groups.remove(&query);
        }
    }

    /// Nothing is served: nothing needs to be read.
    pub(crate) fn is_idle(&self) -> bool {
        self.groups.is_empty()
    }

    /// Forgets what was read; reading begins anew elsewhere.
    pub(crate) fn reset_lanes(&mut self) {
        self.lanes.clear();
        self.sources = Sources::default();
    }

    /// The lane that carries the fewest of this handler's queries, below `lanes`.
    pub(crate) fn quietest_lane(&self, lanes: u32) -> u32 {
        let mut queries = vec![0usize; lanes.max(1) as usize];
        for group in self.groups.values() {
            if let Some(count) = queries.get_mut(group.lane as usize) {
                *count += 1;
            }
        }
        let fewest = queries.iter().min().copied().unwrap_or(0);
        let quiet: Vec<usize> = (0..queries.len())
            .filter(|lane| queries[*lane] == fewest)
            .collect();
        // Handlers do not see each other's choice of the same moment: chance keeps them apart.
        let chosen = quiet[rand::random_range(0..quiet.len())];
        u32::try_from(chosen).unwrap_or(0)
    }

    /// Subscriptions by standing query, with the query they are in.
    pub(crate) fn standing(&self) -> Vec<(u64, StandingName, QueryId)> {
        let members = self
            .groups
            .iter()
            .flat_map(|(query, group)| group.members.iter().map(move |member| (*query, member)));
        members
            .filter_map(|(query, member)| Some((member.id, member.terms.standing.clone()?, query)))
            .collect()
    }

    /// The rate a subscription asked for; none also if it has ended.
    pub(crate) fn rate(&self, member: u64) -> Option<u32> {
        let group = self.groups.get(self.members.get(&member)?)?;
        group
            .members
            .iter()
            .find(|other| other.id == member)?
            .rate()
    }

    #[cfg(test)]
    pub(crate) fn is_live(&self, member: u64) -> bool {
        let group = self
            .members
            .get(&member)
            .and_then(|query| self.groups.get(query));
        let mut members = group.into_iter().flat_map(|group| &group.members);
        members.any(|other| other.id == member && other.is_live())
    }

    /// Running subscriptions.
    pub(crate) fn subscriptions(&self) -> usize {
        self.members.len()
    }

    // ---- lanes ----

    /// A match record.
    pub(crate) fn matched(&mut self, lane: u32, record: &Match<'_>, value: &[u8], now: Instant) {
        let source = &record.source;
        let at = self
            .sources
            .id(&source.topic, source.incarnation, source.partition);
        let lane = self.lanes.entry(lane).or_default();
        let Some(counted_before) = lane.admit(at, record.epoch) else {
            return;
        };
        let mut encoder = Encoder::new(record, value);
        for query in record.queries.iter() {
            let Some(group) = self.groups.get_mut(query) else {
                continue;
            };
            if !group.offer(at, record.epoch, source.offset, counted_before) {
                continue;
            }
            for member in &mut group.members {
                if !member.admits(now) {
                    self.metrics.over_rate.inc();
                    continue;
                }
                let event = encoder.event(&member.terms.view);
                if member
                    .terms
                    .outbound
                    .push_event(member.terms.channel, event)
                {
                    self.touched.push(Arc::clone(&member.terms.outbound));
                }
            }
        }
    }

    /// Records of a lane were deleted before they were read: each partition's next statement tells
    /// which source offsets that concerns.
    pub(crate) fn torn(&mut self, lane: u32) {
        self.metrics.lane_gaps.inc();
        self.lanes.entry(lane).or_default().tear();
    }

    /// A record of a lane was not understood: nobody can say what was in it.
    pub(crate) fn unknown(&mut self, lane: u32) {
        self.metrics.lane_unknown.inc();
        self.tell_gap(lane, GapReason::Outage, Vec::new());
    }

    fn tell_gap(&mut self, lane: u32, reason: GapReason, ranges: Vec<GapRange>) {
        let groups = self.groups.values().filter(|group| group.lane == lane);
        for member in groups
            .flat_map(|group| &group.members)
            .filter(|member| member.is_live())
        {
            member.tell(Status::Gap {
                reason,
                ranges: ranges.clone(),
            });
        }
    }

    // ---- time ----

    /// Once a second: what each viewer is told each second.
    pub(crate) fn tell_progress(&mut self) {
        for group in self.groups.values_mut() {
            let counts = group.counts();
            for member in &mut group.members {
                member.tell_progress(&counts, self.lanes.get_mut(&group.lane));
            }
        }
    }

    /// Ends what is over by now. Returns the queries whose use has changed.
    pub(crate) fn expire(&mut self, now: Instant) -> Vec<QueryId> {
        let mut changed = Vec::new();
        let mut expired = Vec::new();
        for (query, group) in &mut self.groups {
            let lingering = group.lingering.len();
            group.lingering.retain(|until| *until > now);
            if group.lingering.len() < lingering {
                changed.push(*query);
            }
            let members = group.members.iter_mut();
            expired.extend(members.filter_map(|member| member.expire(now).then_some(member.id)));
        }
        for member in expired {
            changed.extend(self.end(
                member,
                EndReason::Expired,
                "the subscription's time to live is over",
            ));
        }
        changed
    }

    /// The connections that have new events. To be woken once the lock is released.
    pub(crate) fn take_touched(&mut self) -> Vec<Arc<Outbound>> {
        std::mem::take(&mut self.touched)
    }

    fn number(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }
}

fn take_member(group: &mut Group, id: u64) -> Option<Member> {
    let position = group.members.iter().position(|member| member.id == id)?;
    Some(group.members.swap_remove(position))
}
