//! The standard functions by name. What they do is in [`crate::eval`] and [`crate::convert`].

/// A standard function of CEL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Function {
    Bool,
    Bytes,
    Contains,
    Double,
    Duration,
    Dyn,
    EndsWith,
    GetDate,
    GetDayOfMonth,
    GetDayOfWeek,
    GetDayOfYear,
    GetFullYear,
    GetHours,
    GetMilliseconds,
    GetMinutes,
    GetMonth,
    GetSeconds,
    Int,
    Matches,
    Size,
    StartsWith,
    String,
    Timestamp,
    Type,
    Uint,
}

/// How a function is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// `f(x)`.
    Global,
    /// `x.f()`.
    Member,
    /// Either way.
    Both,
}

/// Name, function, style, fewest and most arguments; the one a function is called on counts.
const FUNCTIONS: [(&str, Function, Style, usize, usize); 25] = [
    ("bool", Function::Bool, Style::Global, 1, 1),
    ("bytes", Function::Bytes, Style::Global, 1, 1),
    ("contains", Function::Contains, Style::Member, 2, 2),
    ("double", Function::Double, Style::Global, 1, 1),
    ("duration", Function::Duration, Style::Global, 1, 1),
    ("dyn", Function::Dyn, Style::Global, 1, 1),
    ("endsWith", Function::EndsWith, Style::Member, 2, 2),
    ("getDate", Function::GetDate, Style::Member, 1, 2),
    (
        "getDayOfMonth",
        Function::GetDayOfMonth,
        Style::Member,
        1,
        2,
    ),
    ("getDayOfWeek", Function::GetDayOfWeek, Style::Member, 1, 2),
    ("getDayOfYear", Function::GetDayOfYear, Style::Member, 1, 2),
    ("getFullYear", Function::GetFullYear, Style::Member, 1, 2),
    ("getHours", Function::GetHours, Style::Member, 1, 2),
    (
        "getMilliseconds",
        Function::GetMilliseconds,
        Style::Member,
        1,
        2,
    ),
    ("getMinutes", Function::GetMinutes, Style::Member, 1, 2),
    ("getMonth", Function::GetMonth, Style::Member, 1, 2),
    ("getSeconds", Function::GetSeconds, Style::Member, 1, 2),
    ("int", Function::Int, Style::Global, 1, 1),
    ("matches", Function::Matches, Style::Both, 2, 2),
    ("size", Function::Size, Style::Both, 1, 1),
    ("startsWith", Function::StartsWith, Style::Member, 2, 2),
    ("string", Function::String, Style::Global, 1, 1),
    ("timestamp", Function::Timestamp, Style::Global, 1, 1),
    ("type", Function::Type, Style::Global, 1, 1),
    ("uint", Function::Uint, Style::Global, 1, 1),
];

impl Function {
    pub(crate) fn named(name: &str) -> Option<Self> {
        FUNCTIONS.iter().find(|row| row.0 == name).map(|row| row.1)
    }

    pub(crate) fn names() -> impl Iterator<Item = &'static str> {
        FUNCTIONS.iter().map(|row| row.0)
    }

    pub(crate) fn as_str(self) -> &'static str {
        self.row().0
    }

    pub(crate) fn style(self) -> Style {
        self.row().2
    }

    /// Whether it takes this many arguments, the one it is called on included.
    pub(crate) fn takes(self, arguments: usize) -> bool {
        let (_, _, _, fewest, most) = *self.row();
        (fewest..=most).contains(&arguments)
    }

    /// How it is called, for messages.
    pub(crate) fn usage(self) -> &'static str {
        match self {
            Function::Contains => "text.contains(part)",
            Function::EndsWith => "text.endsWith(end)",
            Function::Matches => "text.matches(pattern)",
            Function::Size => "size(value)",
            Function::StartsWith => "text.startsWith(start)",
            Function::Bool => "bool(value)",
            Function::Bytes => "bytes(value)",
            Function::Double => "double(value)",
            Function::Duration => "duration(\"1h30m\")",
            Function::Dyn => "dyn(value)",
            Function::Int => "int(value)",
            Function::String => "string(value)",
            Function::Timestamp => "timestamp(\"2026-01-31T12:00:00Z\")",
            Function::Type => "type(value)",
            Function::Uint => "uint(value)",
            Function::GetDate
            | Function::GetDayOfMonth
            | Function::GetDayOfWeek
            | Function::GetDayOfYear
            | Function::GetFullYear
            | Function::GetHours
            | Function::GetMilliseconds
            | Function::GetMinutes
            | Function::GetMonth
            | Function::GetSeconds => {
                "time.getHours(), time.getHours(\"Europe/Paris\") and the like"
            }
        }
    }

    fn row(self) -> &'static (&'static str, Function, Style, usize, usize) {
        // The table is in the order of the enum, which a test holds it to.
        &FUNCTIONS[self as usize]
    }
}

/// What other languages call what CEL has under another name.
pub(crate) fn foreign(name: &str) -> Option<&'static str> {
    Some(match name {
        "length" | "len" | "count" => "size",
        "includes" | "has_substring" | "indexOf" => "contains",
        "like" | "match" | "regex" | "test" | "rlike" => "matches",
        "prefix" | "beginsWith" | "hasPrefix" => "startsWith",
        "suffix" | "hasSuffix" => "endsWith",
        "any" | "some" => "exists",
        "every" => "all",
        "str" | "toString" => "string",
        "float" | "number" => "double",
        "date" | "time" | "datetime" => "timestamp",
        "typeof" => "type",
        "defined" | "exist" | "isset" => "has",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_enum() {
        for (index, row) in FUNCTIONS.iter().enumerate() {
            assert_eq!(row.1 as usize, index, "{}", row.0);
        }
    }
}
