//! What sinks get, and what may be committed meanwhile.

use clickstream_registry::{SinkRef, StandingName, StandingRef};

use super::*;

/// Sinks of two standing queries, each with a topic or none, on each of the queries 1 to 3.
type Asked = [[Option<u8>; 2]; 3];

fn standing(asked: &[Option<u8>; 2]) -> Vec<StandingRef> {
    let reference = |(n, topic): (usize, &Option<u8>)| StandingRef {
        name: StandingName {
            namespace: "shop".into(),
            name: n.to_string(),
        },
        uid: n.to_string(),
        generation: 1,
        sink: topic.map(|topic| SinkRef {
            topic: topic.to_string(),
            fields: if topic == 0 { vec!["n".into()] } else { vec![] },
        }),
    };
    asked.iter().enumerate().map(reference).collect()
}

#[derive(Clone, Debug)]
enum Step {
    Event(usize),
    /// The sinks of a query are now these; whether it is watched, and its limit.
    Ask(usize, [Option<u8>; 2], bool, Option<u32>),
    /// A query is suspended.
    Suspend(usize),
    Boundary,
    /// Some sink's record is acknowledged.
    Acknowledge(prop::sample::Index),
    /// All that went to the lanes is.
    Lanes,
    Commit(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let topic = || prop::option::of(0u8..2);
    let ask = (
        0usize..3,
        [topic(), topic()],
        any::<bool>(),
        prop::option::of(0u32..2),
    );
    let step = prop_oneof![
        8 => (0usize..2).prop_map(Step::Event),
        3 => ask.prop_map(|(n, sinks, watched, limit)| Step::Ask(n, sinks, watched, limit)),
        1 => (0usize..3).prop_map(Step::Suspend),
        2 => Just(Step::Boundary),
        8 => any::<prop::sample::Index>().prop_map(Step::Acknowledge),
        2 => Just(Step::Lanes),
        3 => (0usize..2).prop_map(Step::Commit),
    ];
    prop::collection::vec(step, 0..120)
}

proptest! {
    /// Whatever the limit, whoever watches, and however often sinks change: every match goes to the sinks that its
    /// queries have at that event, once, and no offset is committed before all of them below it are acknowledged.
    #[test]
    fn sinks_get_every_match_before_it_is_committed(steps in steps()) {
        let mut sent = Sent::default();
        let mut owner = Owner::new([9; 16]);
        let mut compiler = Compiler::default();
        let mut rows: HashMap<QueryId, Arc<Query>> = HashMap::new();
        let mut asked: Asked = Default::default();
        let mut revision = 1;
        let mut next = [100i64, 200];
        for partition in 0..2 {
            owner.start(&mut sent, place(partition), start(next[partition as usize]), 0, 0);
        }
        let mut truth: Vec<(String, String, String, String)> = Vec::new();
        let mut scratch = Scratch::default();
        for step in steps {
            match step {
                Step::Event(index) => {
                    let offset = next[index];
                    next[index] += 1;
                    let value = format!("{{\"n\":{offset},\"m\":0}}");
                    let key = offset.to_string();
                    let event = Event { offset, timestamp_ms: 0, key: Some(key.as_bytes()), value: value.as_bytes() };
                    let before = truth.len();
                    take(&mut owner, &mut sent, &mut scratch, index, event);
                    for (n, sinks) in asked.iter().enumerate().filter(|(n, _)| offset % (*n as i64 + 1) == 0) {
                        if !rows.contains_key(&row(n as u8 + 1, 0).id) {
                            continue;
                        }
                        for (by, topic) in sinks.iter().enumerate() {
                            let Some(topic) = topic else { continue };
                            let value = if *topic == 0 { format!("{{\"n\":{offset}}}") } else { value.clone() };
                            let source = format!("events/{index}/{offset}");
                            truth.push((topic.to_string(), format!("shop/{by}"), source, value));
                        }
                    }
                    // Of one event the queries come in no particular order.
                    truth[before..].sort();
                }
                Step::Ask(n, sinks, watched, limit) => {
                    revision += 1;
                    asked[n] = sinks;
                    let query = Query { watched, limit, standing: standing(&sinks), ..row(n as u8 + 1, revision) };
                    rows.insert(query.id, Arc::new(query));
                    owner.take_over(&mut sent, Arc::new(compiler.compile(revision, &rows, LANES)));
                }
                Step::Suspend(n) => {
                    revision += 1;
                    rows.remove(&row(n as u8 + 1, 0).id);
                    owner.take_over(&mut sent, Arc::new(compiler.compile(revision, &rows, LANES)));
                }
                Step::Boundary => owner.boundary(&mut sent),
                Step::Acknowledge(index) => {
                    let outstanding = sent.sunk.iter_mut().filter(|sunk| sunk.segments.is_some());
                    let mut outstanding: Vec<_> = outstanding.collect();
                    if !outstanding.is_empty() {
                        let index = index.index(outstanding.len());
                        outstanding[index].segments.take().unwrap().acknowledge();
                    }
                }
                Step::Lanes => sent.unacknowledged.drain(..).for_each(|segments| segments.acknowledge()),
                Step::Commit(index) => {
                    if let Some(commit) = owner.partitions[index].offsets.take_commit() {
                        let below = |sunk: &&Sunk| {
                            let (place, offset) = sunk.source.rsplit_once('/').unwrap();
                            place == format!("events/{index}") && offset.parse::<i64>().unwrap() < commit
                        };
                        let outstanding = sent.sunk.iter().filter(below).find(|sunk| sunk.segments.is_some());
                        prop_assert!(outstanding.is_none(), "{} committed before {:?}", commit, outstanding);
                    }
                }
            }
        }
        let mut seen: Vec<_> = sent.sunk.iter()
            .map(|sunk| (sunk.topic.clone(), sunk.query.clone(), sunk.source.clone(), String::from_utf8(sunk.value.clone()).unwrap()))
            .collect();
        seen.chunk_by_mut(|a, b| a.2 == b.2).for_each(<[_]>::sort);
        prop_assert_eq!(seen, truth);
        for sunk in &sent.sunk {
            let (_, offset) = sunk.source.rsplit_once('/').unwrap();
            prop_assert_eq!(sunk.key.as_deref(), Some(offset.as_bytes()));
        }
        // At rest everything may be committed.
        owner.boundary(&mut sent);
        sent.unacknowledged.drain(..).for_each(|segments| segments.acknowledge());
        sent.sunk.iter_mut().filter_map(|sunk| sunk.segments.take()).for_each(|segments| segments.acknowledge());
        for (partition, next) in owner.partitions.iter_mut().zip(next) {
            prop_assert_eq!(partition.offsets.safe(), next);
        }
    }
}

#[test]
fn a_match_that_a_sink_cannot_take_is_counted_and_holds_nothing_up() {
    let queries = Query {
        standing: standing(&[Some(0), Some(1)]),
        ..row(1, 1)
    };
    let (mut owner, mut sent) = running(&[queries]);
    let event = Event {
        offset: 0,
        timestamp_ms: 0,
        key: None,
        value: b"[1]",
    };
    owner.event(&mut sent, 0, event, &[0], || 0);
    owner.boundary(&mut sent);
    assert_eq!(
        (sent.refused, sent.sunk.len()),
        (1, 1),
        "the projection fails"
    );
    sent.sunk[0].segments.take().unwrap().acknowledge();
    sent.unacknowledged
        .drain(..)
        .for_each(|segments| segments.acknowledge());
    assert_eq!(owner.partitions[0].offsets.take_commit(), Some(1));
}
