//! Numbers of every kind and size, texts in every spelling, repeated keys.

use crate::random::Random;

const PATHS: [&str; 5] = ["x", "y", "z.n", "z.t", "t"];

/// As CEL writes them.
const NUMBERS: [&str; 24] = [
    "0",
    "1",
    "-1",
    "2",
    "0.0",
    "-0.0",
    "1.0",
    "1.5",
    "-1.5",
    "1u",
    "2u",
    "1e2",
    "100",
    "9007199254740991",
    "9007199254740992",
    "9007199254740993",
    "9007199254740992.0",
    "-9007199254740993",
    "9223372036854775807",
    "9223372036854775807.0",
    "18446744073709551615u",
    "9223372036854775808u",
    "1e300",
    "-9223372036854775807",
];

/// As JSON writes them.
const SPELLED: [&str; 30] = [
    "0",
    "-0",
    "0.0",
    "-0.0",
    "1",
    "-1",
    "1.0",
    "10e-1",
    "0.1e1",
    "1E0",
    "2",
    "1.5",
    "15e-1",
    "-1.5",
    "100",
    "1e2",
    "1E+2",
    "9007199254740991",
    "9007199254740992",
    "9007199254740993",
    "9007199254740993.0",
    "-9007199254740993",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "-9223372036854775808",
    "-9223372036854775809",
    "1e300",
    "1E400",
];

/// As CEL writes them, inside of the quotes.
const TEXTS: [&str; 12] = [
    "", "a", "é", "e\\u0301", "日本", "😀", "a\\\"b", "a\\\\b", "tab\\t", "/", "line\\n", "\\u0000",
];

/// The same and others as JSON writes them, inside of the quotes.
const WRITTEN: [&str; 22] = [
    "",
    "a",
    "\\u0061",
    "é",
    "\\u00e9",
    "\\u00E9",
    "e\\u0301",
    "é",
    "日本",
    "\\u65e5\\u672c",
    "😀",
    "\\ud83d\\ude00",
    "\\uD83D\\uDE00",
    "a\\\"b",
    "a\\\\b",
    "tab\\t",
    "tab\\u0009",
    "/",
    "\\/",
    "line\\n",
    "\\u0000",
    "\\\\u0061",
];

fn clause(random: &mut Random) -> String {
    let path = format!("event.{}", random.choose(&PATHS));
    let order = *random.choose(&["<", "<=", ">", ">=", "==", "!="]);
    let number = *random.choose(&NUMBERS);
    let text = *random.choose(&TEXTS);
    match random.below(16) {
        0..6 => format!("{path} {order} {number}"),
        6 | 7 => {
            let list: Vec<&str> = (0..1 + random.below(4))
                .map(|_| *random.choose(&NUMBERS))
                .collect();
            format!("{path} in [{}]", list.join(", "))
        }
        8..11 => format!("{path} {order} \"{text}\""),
        11 => format!(
            "{path} in [\"{text}\", {number}, \"{}\"]",
            random.choose(&TEXTS)
        ),
        12 => {
            let function = random.choose(&["startsWith", "endsWith", "contains"]);
            format!("{path}.{function}(\"{text}\")")
        }
        13 => format!(
            "{} in event.l",
            if random.chance(50) {
                number.to_owned()
            } else {
                format!("\"{text}\"")
            }
        ),
        14 => format!("size({path}) {order} {}", random.below(4)),
        _ => format!("{number} {order} {path}"),
    }
}

pub(crate) fn filter(random: &mut Random) -> String {
    let (first, second) = (clause(random), clause(random));
    match random.below(6) {
        0..3 => first,
        3 => format!("{first} && {second}"),
        4 => format!("{first} || {second}"),
        _ => format!("!({first}) || {second} && {}", clause(random)),
    }
}

fn value(random: &mut Random) -> String {
    match random.below(20) {
        0..10 => (*random.choose(&SPELLED)).to_owned(),
        10..18 => format!("\"{}\"", random.choose(&WRITTEN)),
        18 => (*random.choose(&["null", "true", "false"])).to_owned(),
        _ => (*random.choose(&["[]", "{}", "[1, 1.0]", "{\"n\":1}"])).to_owned(),
    }
}

pub(crate) fn event(random: &mut Random) -> String {
    let blank = *random.choose(&["", "", "", " ", "\n\t", "\r\n "]);
    let mut fields = Vec::new();
    for name in ["x", "y", "t", "\\u0078", "x"] {
        if random.chance(60) {
            fields.push(format!("\"{name}\"{blank}:{blank}{}", value(random)));
        }
    }
    if random.chance(80) {
        let again = if random.chance(20) {
            format!(",\"n\":{}", value(random))
        } else {
            String::new()
        };
        fields.push(format!(
            "\"z\":{blank}{{\"n\":{},{blank}\"t\":{}{again}}}",
            value(random),
            value(random)
        ));
    }
    // The last of two objects of the same name counts, whole.
    if random.chance(15) {
        fields.push(format!(
            "\"z\":{}",
            if random.chance(50) {
                "{}".to_owned()
            } else {
                value(random)
            }
        ));
    }
    if random.chance(70) {
        let list: Vec<String> = (0..random.below(4)).map(|_| value(random)).collect();
        fields.push(format!("\"l\":[{blank}{}]", list.join(",")));
    }
    format!(
        "{blank}{{{blank}{}{blank}}}{blank}",
        fields.join(&format!("{blank},{blank}"))
    )
}
