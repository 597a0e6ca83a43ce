//! Filters of all operators over small hostile events: absent fields, wrong types, errors beside results.

use crate::random::Random;

const PATHS: [&str; 14] = [
    "a", "b", "c", "n", "s", "s", "n", "o.x", "o.y", "o.p.q", "list", "tags", "o", "m.k",
];

const TEXTS: [&str; 8] = ["", "a", "ab", "abc", "b", "x", "ä€", "new"];

fn path(random: &mut Random) -> String {
    match random.below(12) {
        0 => "event.list[0]".to_owned(),
        1 => format!("event.items[{}].sku", random.below(3)),
        2 => "event.m[\"k\"]".to_owned(),
        _ => format!("event.{}", random.choose(&PATHS)),
    }
}

fn constant(random: &mut Random) -> String {
    match random.below(10) {
        0 => "true".to_owned(),
        1 => "false".to_owned(),
        2 => "null".to_owned(),
        3 => format!("{}.5", random.below(4)),
        4..7 => format!("{}", random.below(5)),
        _ => text(random),
    }
}

fn text(random: &mut Random) -> String {
    format!("\"{}\"", random.choose(&TEXTS))
}

fn constants(random: &mut Random) -> String {
    let count = random.below(4);
    let list: Vec<String> = (0..count).map(|_| constant(random)).collect();
    format!("[{}]", list.join(", "))
}

fn clause(random: &mut Random) -> String {
    let path = path(random);
    let order = *random.choose(&["<", "<=", ">", ">="]);
    match random.below(26) {
        0..5 => format!("{path} == {}", constant(random)),
        5 | 6 => format!("{path} != {}", constant(random)),
        7..10 => match random.below(3) {
            0 => format!("{path} {order} {}", text(random)),
            _ => format!("{path} {order} {}", random.below(5)),
        },
        10 | 11 => format!("{path} in {}", constants(random)),
        12 => format!(
            "{} in event.{}",
            constant(random),
            random.choose(&["list", "tags", "o", "m", "a"])
        ),
        13 => format!(
            "has(event.{})",
            random.choose(&["a", "zz", "o.x", "o.p.q", "m.k", "a.b", "list.x"])
        ),
        14 => format!("size({path}) {order} {}", random.below(4)),
        15 => format!("{path}.size() == {}", random.below(4)),
        16 => format!("{path}.startsWith({})", text(random)),
        17 => format!("{path}.endsWith({})", text(random)),
        18 => format!("{path}.contains({})", text(random)),
        19 => format!(
            "{path}.matches(\"{}\")",
            random.choose(&["^a", "b$", "^a?b*$", "[x-z]", "a.c", "(ab|new)"])
        ),
        20 => {
            let list = random.choose(&["tags", "list", "o", "a"]);
            format!("event.{list}.exists(x, x == {})", constant(random))
        }
        21 => format!("event.tags.all(x, x != {})", constant(random)),
        22 => format!(
            "event.items.exists(i, i.sku == {} && i.n > {})",
            text(random),
            random.below(4)
        ),
        23 => match random.below(4) {
            0 => format!("event.n + 1 {order} {}", random.below(5)),
            1 => format!("string(event.n) == \"{}\"", random.below(4)),
            2 => "event.a == event.b".to_owned(),
            _ => format!("record.offset {order} {}", random.below(3)),
        },
        24 => path,
        _ => (*random.choose(&["true", "false", "1 / 0 == 1"])).to_owned(),
    }
}

fn formula(random: &mut Random, depth: u32) -> String {
    if depth == 0 {
        return clause(random);
    }
    let one = |random: &mut Random| {
        let below = random.below(u64::from(depth)) as u32;
        format!("({})", formula(random, below))
    };
    match random.below(10) {
        0..4 => format!("{} && {}", one(random), one(random)),
        4..7 => format!("{} || {}", one(random), one(random)),
        7 | 8 => format!("!{}", one(random)),
        _ => format!("{} ? {} : {}", one(random), one(random), one(random)),
    }
}

pub(crate) fn filter(random: &mut Random) -> String {
    let depth = random.below(4) as u32;
    formula(random, depth)
}

fn scalar(random: &mut Random) -> String {
    match random.below(10) {
        0 => "true".to_owned(),
        1 => "false".to_owned(),
        2 => "null".to_owned(),
        3 => format!("{}.5", random.below(4)),
        4..6 => format!("{}", random.below(5)),
        6 => format!("{}.0", random.below(5)),
        7 => "\"\\u0061b\"".to_owned(),
        _ => text(random),
    }
}

fn value(random: &mut Random) -> String {
    match random.below(12) {
        0 => {
            let list: Vec<String> = (0..random.below(4)).map(|_| scalar(random)).collect();
            format!("[{}]", list.join(","))
        }
        1 => format!("{{\"x\":{},\"b\":{}}}", scalar(random), scalar(random)),
        _ => scalar(random),
    }
}

fn list(random: &mut Random) -> String {
    let list: Vec<String> = (0..random.below(5)).map(|_| value(random)).collect();
    format!("[{}]", list.join(", "))
}

pub(crate) fn event(random: &mut Random) -> String {
    let mut fields = Vec::new();
    for name in ["a", "b", "c", "n", "s"] {
        if random.chance(80) {
            fields.push(format!("\"{name}\":{}", value(random)));
        }
    }
    if random.chance(80) {
        let x = value(random);
        let p = if random.chance(60) {
            format!("{{\"q\":{}}}", value(random))
        } else {
            value(random)
        };
        fields.push(format!("\"o\": {{\"x\":{x}, \"p\":{p}}}"));
    }
    for name in ["list", "tags"] {
        if random.chance(85) {
            let value = if random.chance(90) {
                list(random)
            } else {
                value(random)
            };
            fields.push(format!("\"{name}\":{value}"));
        }
    }
    if random.chance(70) {
        let items: Vec<String> = (0..random.below(3))
            .map(|_| format!("{{\"sku\":{},\"n\":{}}}", scalar(random), scalar(random)))
            .collect();
        fields.push(format!("\"items\":[{}]", items.join(",")));
    }
    if random.chance(70) {
        fields.push(format!("\"m\":{{\"k\":{},\"\\u0061\":1}}", value(random)));
    }
    let turn = random.below(fields.len() as u64 + 1) as usize;
    fields.rotate_left(turn);
    format!("{{{}}}", fields.join(","))
}
