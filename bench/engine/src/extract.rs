//! Eight fields out of an event of 1.1 KB, beside parsers that read them into a type of their own.

use std::borrow::Cow;
use std::hint::black_box;

use anyhow::{Result, ensure};
use clickstream_engine::{Field, FieldPath, FieldReader, Validation};
use clickstream_mixes::Mix;
use serde::Deserialize;

use crate::measure::{Contestant, interleaved};
use crate::table::Table;

const PATHS: [&str; 8] = [
    "type",
    "user.id",
    "user.country",
    "page.path",
    "device.os",
    "product.price",
    "cart.total",
    "session.depth",
];

/// The fields, as serde reads them; what else is in the event is passed over.
#[derive(Deserialize)]
struct Event<'e> {
    #[serde(borrow)]
    r#type: Cow<'e, str>,
    #[serde(borrow)]
    user: User<'e>,
    #[serde(borrow)]
    page: Page<'e>,
    #[serde(borrow)]
    device: Device<'e>,
    product: Product,
    cart: Cart,
    session: Session,
}

#[derive(Deserialize)]
struct User<'e> {
    #[serde(borrow)]
    id: Cow<'e, str>,
    #[serde(borrow)]
    country: Cow<'e, str>,
}

#[derive(Deserialize)]
struct Page<'e> {
    #[serde(borrow)]
    path: Cow<'e, str>,
}

#[derive(Deserialize)]
struct Device<'e> {
    #[serde(borrow)]
    os: Cow<'e, str>,
}

#[derive(Deserialize)]
struct Product {
    price: f64,
}

#[derive(Deserialize)]
struct Cart {
    total: f64,
}

#[derive(Deserialize)]
struct Session {
    depth: i64,
}

impl Event<'_> {
    fn sum(&self) -> u64 {
        let texts = [
            &self.r#type,
            &self.user.id,
            &self.user.country,
            &self.page.path,
            &self.device.os,
        ];
        let texts: u64 = texts
            .into_iter()
            .map(|text| text_sum(text.as_bytes()))
            .sum();
        texts
            .wrapping_add(self.product.price.to_bits())
            .wrapping_add(self.cart.total.to_bits())
            .wrapping_add(self.session.depth.cast_unsigned())
    }
}

/// Looks at as much of a text as shows that it is the same.
fn text_sum(text: &[u8]) -> u64 {
    let end = text.last().copied().unwrap_or(0);
    (text.len() as u64) << 8 | u64::from(end)
}

fn field_sum(reader: &FieldReader, event: &[u8]) -> u64 {
    (0..PATHS.len()).fold(0, |sum, path| {
        sum.wrapping_add(match reader.get(path, event) {
            Field::String(text) => text_sum(text),
            Field::Double(number) => number.to_bits(),
            Field::Int(number) => number.cast_unsigned(),
            _ => 0,
        })
    })
}

/// Sums over all events, by which the results are compared.
type Reading = fn(&[Vec<u8>]) -> Result<u64>;

fn serde_json(events: &[Vec<u8>]) -> Result<u64> {
    events.iter().try_fold(0_u64, |sum, event| {
        Ok(sum.wrapping_add(serde_json::from_slice::<Event<'_>>(event)?.sum()))
    })
}

fn sonic_rs(events: &[Vec<u8>]) -> Result<u64> {
    events.iter().try_fold(0_u64, |sum, event| {
        Ok(sum.wrapping_add(sonic_rs::from_slice::<Event<'_>>(event)?.sum()))
    })
}

/// Without its check of UTF-8.
fn sonic_rs_str(events: &[Vec<u8>]) -> Result<u64> {
    events.iter().try_fold(0_u64, |sum, event| {
        // The events are UTF-8; to know it costs what the other row has more.
        let text = std::str::from_utf8(event)?;
        Ok(sum.wrapping_add(sonic_rs::from_str::<Event<'_>>(text)?.sum()))
    })
}

/// Parses in place, so that each event is copied first.
fn simd_json(events: &[Vec<u8>]) -> Result<u64> {
    let mut copy = Vec::new();
    let mut buffers = simd_json::Buffers::default();
    events.iter().try_fold(0_u64, |sum, event| {
        copy.clear();
        copy.extend_from_slice(event);
        let event: Event<'_> = simd_json::serde::from_slice_with_buffers(&mut copy, &mut buffers)?;
        Ok(sum.wrapping_add(event.sum()))
    })
}

pub(crate) fn print() -> Result<()> {
    let paths: Vec<_> = PATHS
        .iter()
        .map(|path| FieldPath::parse(path))
        .collect::<Result<_, _>>()?;
    let events = Mix::S.events(crate::SEED, 4_096);
    let bytes: usize = events.iter().map(Vec::len).sum();
    let peers: [(&str, Reading); 4] = [
        ("serde_json, typed", serde_json),
        ("sonic-rs, typed, from_slice", sonic_rs),
        ("sonic-rs, typed, from_str", sonic_rs_str),
        ("simd-json, typed", simd_json),
    ];
    let read = |reader: &mut FieldReader, events: &[Vec<u8>]| -> Result<u64> {
        events.iter().try_fold(0_u64, |sum, event| {
            reader.read(event)?;
            Ok(sum.wrapping_add(field_sum(reader, event)))
        })
    };
    let mut inspected = FieldReader::new(&paths, Validation::Inspected);
    let mut whole = FieldReader::new(&paths, Validation::Whole);
    let expected = serde_json(&events)?;
    for (name, peer) in &peers {
        ensure!(peer(&events)? == expected, "{name} reads something else");
    }
    ensure!(
        read(&mut inspected, &events)? == expected && read(&mut whole, &events)? == expected,
        "the engine reads something else"
    );

    let mut contestants: Vec<Contestant<'_>> = Vec::new();
    for reader in [&mut inspected, &mut whole] {
        contestants.push(Box::new(|| {
            let _ = black_box(read(reader, &events));
            events.len()
        }));
    }
    for (_, peer) in peers {
        let events = &events;
        contestants.push(Box::new(move || {
            let _ = black_box(peer(events));
            events.len()
        }));
    }
    contestants.push(Box::new(|| {
        for event in &events {
            let _ = black_box(std::str::from_utf8(event));
        }
        events.len()
    }));
    let times = interleaved(contestants);
    let best = times[2..6].iter().copied().fold(f64::INFINITY, f64::min);
    let mut table = Table::new(
        &format!(
            "8 fields from an event of {} bytes (goal: at least 4x)",
            bytes / events.len()
        ),
        &["", "ns/event", "best peer / this"],
    );
    let names = ["engine, inspected", "engine, whole event validated"]
        .into_iter()
        .chain(peers.map(|(name, _)| name))
        .chain(["(std: is it UTF-8?)"]);
    for (name, time) in names.zip(times) {
        table.row([
            name.to_owned(),
            format!("{time:.0}"),
            format!("{:.1}", best / time),
        ]);
    }
    table.end();
    shapes(&paths)
}

/// Events of one shape, and of many.
fn shapes(paths: &[FieldPath]) -> Result<()> {
    let counts = [1, 10, 100, 1_000];
    let mut runs: Vec<_> = counts
        .iter()
        .map(|&shapes| {
            let events = Mix::S.events_of_shapes(crate::SEED, 8_192, shapes);
            (FieldReader::new(paths, Validation::Inspected), events)
        })
        .collect();
    for (reader, events) in &mut runs {
        for event in events.iter() {
            reader.read(event)?;
        }
    }
    let contestants = runs
        .iter_mut()
        .map(|(reader, events)| -> Contestant<'_> {
            Box::new(|| {
                for event in events.iter() {
                    let _ = black_box(reader.read(event));
                }
                events.len()
            })
        })
        .collect();
    let times = interleaved(contestants);
    let mut table = Table::new(
        "8 fields from events of many shapes (goal: 1,000 at most 2x the time of one)",
        &["shapes", "ns/event", "times that of one"],
    );
    for (shapes, time) in counts.iter().zip(&times) {
        table.row([
            shapes.to_string(),
            format!("{time:.0}"),
            format!("{:.2}", time / times[0]),
        ]);
    }
    table.end();
    Ok(())
}
