use clickstream_mixes::{Mix, Random};

use super::*;

/// What was looked up for one segment, or one set, is nothing to another, however filters are spread over them.
#[test]
fn filters_hold_alike_in_every_segment_and_set() {
    let mut random = Random::new(33);
    let mut scratch = Scratch::default();
    for mix in Mix::EACH.repeat(4) {
        let filters = mix.filters(random.below(1 << 32), 400);
        let filters: Vec<Filter> = filters
            .iter()
            .filter_map(|text| Filter::parse(text).ok())
            .collect();
        let events = mix.events(random.below(1 << 32), 30);
        for (segments, size) in [
            (1, 600),
            (1, 300),
            (2, 300),
            (1, 100),
            (1, 100),
            (10, 40),
            (30, 5),
        ] {
            let mut set = FilterSet::new();
            for segment in 0..segments {
                let filters = (0..size).map(|number| {
                    let at = random.below(filters.len() as u64) as usize;
                    (segment * size + number, filters[at].clone())
                });
                let (live, fields) = index(filters.collect(), &set.fields);
                set.segments.push(live);
                set.fields = fields;
            }
            for event in &events {
                let record = Record::of_value(event);
                let (mut found, mut expected) = (Vec::new(), Vec::new());
                set.matching(&record, &mut scratch, &mut found).unwrap();
                set.matching_one_by_one(&record, &mut expected).unwrap();
                assert_eq!(found, expected, "{}", String::from_utf8_lossy(event));
            }
        }
    }
}
