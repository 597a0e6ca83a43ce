//! Filters: any text is parsed or refused, its canonical text means the same, and what the engine makes of a
//! filter is what the crate `cel` makes of it.
//!
//! Half of the inputs are texts as they are, half instructions to write a filter.

#![no_main]

use clickstream_engine::{
    ExplainedResult, Filter, FilterSet, Outcome, Record, Scratch, explain, reference,
};
use libfuzzer_sys::fuzz_target;

const FIELDS: [&str; 10] = [
    "event.a",
    "event.b",
    "event.n",
    "event.s",
    "event.o.x",
    "event.o.y",
    "event.list",
    "event.absent",
    "event.o.absent.deep",
    "event[\"a\"]",
];

const CONSTANTS: [&str; 18] = [
    "0",
    "1",
    "-1",
    "2u",
    "1.5",
    "-0.0",
    "9223372036854775807",
    "18446744073709551615u",
    "9007199254740993",
    "\"\"",
    "\"a\"",
    "\"ab\"",
    "\"ä€\"",
    "true",
    "false",
    "null",
    "[]",
    "[1, \"a\"]",
];

const EVENTS: [&str; 6] = [
    r#"{"a":1,"b":"ab","n":null,"s":"a","o":{"x":1.5,"y":true},"list":[1,"a",1.0]}"#,
    r#"{"a":"a","b":-1,"n":9007199254740993,"s":"\u00e4\u20ac","o":{"x":[],"y":{}},"list":[]}"#,
    r#"{"a":18446744073709551615,"b":1.0,"n":-0.0,"s":"","o":[],"list":{"a":1}}"#,
    r#"{"a":true,"b":{},"s":["a"],"o":{"x":"a","x":0},"list":["ab",null]}"#,
    r#"{"a":[1],"a":2,"n":1e300,"o":{"y":"ab"}}"#,
    "{}",
];

/// Writes a filter as the bytes say; ends when they do.
struct Writer<'d> {
    data: &'d [u8],
    text: String,
}

impl Writer<'_> {
    fn next(&mut self) -> usize {
        match self.data {
            [first, rest @ ..] => {
                self.data = rest;
                usize::from(*first)
            }
            [] => 0,
        }
    }

    fn push(&mut self, text: &str) {
        self.text.push_str(text);
    }

    fn choose(&mut self, among: &[&str]) {
        let at = self.next() % among.len();
        self.push(among[at]);
    }

    fn between(&mut self, operators: &[&str], depth: usize, part: fn(&mut Self, usize)) {
        self.push("(");
        part(self, depth + 1);
        self.push(" ");
        self.choose(operators);
        self.push(" ");
        part(self, depth + 1);
        self.push(")");
    }

    fn condition(&mut self, depth: usize) {
        match self.next() % if depth < 5 { 10 } else { 6 } {
            0 | 1 => self.between(&["==", "!=", "<", "<=", ">", ">="], depth, Self::operand),
            2 => {
                self.operand(depth + 1);
                self.push(" in [");
                self.choose(&CONSTANTS);
                self.push(", ");
                self.choose(&CONSTANTS);
                self.push("]");
            }
            3 => {
                self.push("has(");
                self.choose(&[
                    "event.a",
                    "event.o.x",
                    "event.absent",
                    "event.o.absent.deep",
                ]);
                self.push(")");
            }
            4 => {
                self.choose(&FIELDS);
                self.choose(&[".startsWith(", ".endsWith(", ".contains(", ".matches("]);
                self.choose(&["\"a\"", "\"ab\"", "\"\"", "r\"^a?b$\"", "\"ä\"", "event.b"]);
                self.push(")");
            }
            5 => {
                self.choose(&["event.list", "event.o", "[1, 2]", "event.a"]);
                self.choose(&[".exists(x, x", ".all(x, x", ".exists_one(x, x"]);
                self.choose(&[" == ", " != ", " < "]);
                self.choose(&CONSTANTS);
                self.push(")");
            }
            6 => {
                self.push("!(");
                self.condition(depth + 1);
                self.push(")");
            }
            7 => {
                self.push("(");
                self.condition(depth + 1);
                self.push(" ? ");
                self.condition(depth + 1);
                self.push(" : ");
                self.condition(depth + 1);
                self.push(")");
            }
            _ => self.between(&["&&", "||"], depth, Self::condition),
        }
    }

    fn operand(&mut self, depth: usize) {
        match self.next() % if depth < 5 { 8 } else { 5 } {
            0..3 => self.choose(&FIELDS),
            3 | 4 => self.choose(&CONSTANTS),
            5 => {
                self.choose(&["size(", "string(", "int(", "double(", "type(", "dyn("]);
                self.operand(depth + 1);
                self.push(")");
            }
            _ => self.between(&["+", "-", "*", "/", "%"], depth, Self::operand),
        }
    }
}

fn check(filter: &Filter) {
    let mut set = FilterSet::new();
    set.insert(7, filter.clone());
    let mut scratch = Scratch::default();
    for event in EVENTS {
        let record = Record::of_value(event.as_bytes());
        let engine = explain(filter, &record).expect("an event").result;
        let reference = reference::matches(filter, &record).expect("an event");
        let same = matches!(
            (engine, &reference),
            (ExplainedResult::Match, Outcome::Match)
                | (ExplainedResult::NoMatch, Outcome::NoMatch)
                | (ExplainedResult::Error, Outcome::Error(_))
        );
        assert!(
            same,
            "{filter}\n{event}\nengine: {engine:?}, reference: {reference:?}"
        );
        let mut keys = Vec::new();
        set.matching(&record, &mut scratch, &mut keys)
            .expect("an event");
        assert_eq!(
            keys == [7],
            reference == Outcome::Match,
            "{filter}\n{event}"
        );
    }
}

fuzz_target!(|data: &[u8]| {
    let [how, data @ ..] = data else { return };
    if how % 2 == 1 {
        let mut writer = Writer {
            data,
            text: String::new(),
        };
        writer.condition(0);
        if let Ok(filter) = Filter::parse(&writer.text) {
            check(&filter);
        }
    } else if let Ok(text) = std::str::from_utf8(data)
        && let Ok(filter) = Filter::parse(text)
    {
        let again = Filter::parse(filter.canonical()).expect("the canonical text of a filter");
        assert_eq!(again.canonical(), filter.canonical());
    }
});
