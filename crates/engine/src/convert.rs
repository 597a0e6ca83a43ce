//! Conversions between kinds, and the parts of points in time.

use chrono::{DateTime, Datelike, FixedOffset, Timelike, Utc};

use crate::function::Function;
use crate::value::{Text, Value};

/// Nanoseconds of a second.
const SECOND: i128 = 1_000_000_000;

/// The first and the last nanosecond of a timestamp: the years 1 to 9999.
const FIRST: i128 = -62_135_596_800 * SECOND;
const LAST: i128 = 253_402_300_800 * SECOND - 1;

/// A timestamp, if it is within the years 1 to 9999.
pub(crate) fn timestamp(nanos: i128) -> Option<Value<'static>> {
    (FIRST..=LAST)
        .contains(&nanos)
        .then_some(Value::Timestamp(nanos))
}

/// Reads `2026-01-31T12:00:00.5+01:00` (RFC 3339) as nanoseconds since 1970.
pub(crate) fn parse_timestamp(text: &str) -> Option<i128> {
    // Stricter than chrono, which also takes a blank for the `T`.
    if !matches!(text.as_bytes().get(10), Some(b'T' | b't')) {
        return None;
    }
    let time = DateTime::parse_from_rfc3339(text).ok()?;
    let nanos = i128::from(time.timestamp()) * SECOND + i128::from(time.timestamp_subsec_nanos());
    (FIRST..=LAST).contains(&nanos).then_some(nanos)
}

/// Reads `1h30m`, `-1.5s`, `100ms`, `0` as nanoseconds.
pub(crate) fn parse_duration(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Some(0);
    }
    let mut total: i128 = 0;
    loop {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (whole, after) = rest.split_at(digits);
        let (fraction, after) = match after.strip_prefix('.') {
            Some(after) => after.split_at(after.bytes().take_while(u8::is_ascii_digit).count()),
            None => ("", after),
        };
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        // The longer units first, as `m` begins `ms`.
        let (unit, after) = [
            ("ns", 1),
            ("us", 1_000),
            ("µs", 1_000),
            ("μs", 1_000),
            ("ms", 1_000_000),
            ("s", SECOND),
            ("m", 60 * SECOND),
            ("h", 3_600 * SECOND),
        ]
        .into_iter()
        .find_map(|(name, unit)| Some((unit, after.strip_prefix(name)?)))?;
        // Eighteen digits behind the point are below a nanosecond of any unit.
        let fraction = &fraction[..fraction.len().min(18)];
        let scale = 10_i128.pow(u32::try_from(fraction.len()).ok()?);
        let whole: i128 = if whole.is_empty() {
            0
        } else {
            whole.parse().ok()?
        };
        let part: i128 = if fraction.is_empty() {
            0
        } else {
            fraction.parse().ok()?
        };
        total = total
            .checked_add(whole.checked_mul(unit)?)?
            .checked_add(part * unit / scale)?;
        if after.is_empty() {
            return i64::try_from(if negative { -total } else { total }).ok();
        }
        rest = after;
    }
}

/// A time zone: the offset from UTC in seconds, or a name such as `Europe/Paris`.
pub(crate) enum Zone {
    Offset(FixedOffset),
    Named(chrono_tz::Tz),
}

impl Zone {
    /// Reads `Europe/Paris`, `UTC`, `+01:00`, `-09:30`, `02:00`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (negative, digits) = match text.as_bytes().first()? {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        let Some((hours, minutes)) = digits.split_once(':') else {
            return text.parse().ok().map(Zone::Named);
        };
        let two = |digits: &str, below: i32| {
            let valid = digits.len() == 2 && digits.bytes().all(|digit| digit.is_ascii_digit());
            valid
                .then(|| digits.parse::<i32>().ok())?
                .filter(|&number| number < below)
        };
        let seconds = two(hours, 24)? * 3_600 + two(minutes, 60)? * 60;
        FixedOffset::east_opt(if negative { -seconds } else { seconds }).map(Zone::Offset)
    }
}

/// `timestamp.getHours(zone)` and its like; UTC without a zone. `None` beyond the years chrono knows.
pub(crate) fn timestamp_part(function: Function, nanos: i128, zone: Option<&Zone>) -> Option<i64> {
    let utc = date_time(nanos)?;
    match zone {
        None => part(function, &utc),
        Some(Zone::Offset(offset)) => part(function, &utc.with_timezone(offset)),
        Some(Zone::Named(zone)) => part(function, &utc.with_timezone(zone)),
    }
}

fn date_time(nanos: i128) -> Option<DateTime<Utc>> {
    let seconds = i64::try_from(nanos.div_euclid(SECOND)).ok()?;
    DateTime::from_timestamp(seconds, u32::try_from(nanos.rem_euclid(SECOND)).ok()?)
}

fn part(function: Function, time: &(impl Datelike + Timelike)) -> Option<i64> {
    Some(match function {
        Function::GetDate => i64::from(time.day()),
        Function::GetDayOfMonth => i64::from(time.day0()),
        // From Sunday, which is 0.
        Function::GetDayOfWeek => i64::from(time.weekday().num_days_from_sunday()),
        Function::GetDayOfYear => i64::from(time.ordinal0()),
        Function::GetFullYear => i64::from(time.year()),
        Function::GetMonth => i64::from(time.month0()),
        Function::GetHours => i64::from(time.hour()),
        Function::GetMinutes => i64::from(time.minute()),
        Function::GetSeconds => i64::from(time.second()),
        Function::GetMilliseconds => i64::from(time.nanosecond() / 1_000_000),
        _ => return None,
    })
}

/// `duration.getHours()` and its like: the whole duration in that unit, except milliseconds, which are those
/// of the last second.
pub(crate) fn duration_part(function: Function, nanos: i64) -> Option<i64> {
    Some(match function {
        Function::GetHours => nanos / 3_600_000_000_000,
        Function::GetMinutes => nanos / 60_000_000_000,
        Function::GetSeconds => nanos / 1_000_000_000,
        Function::GetMilliseconds => nanos / 1_000_000 % 1_000,
        _ => return None,
    })
}

/// The function does not take a value of this kind.
#[derive(Debug)]
pub(crate) struct WrongKind;

/// `bool(value)`, `int(value)` and the other conversions; `None` if it takes the kind, but not this value.
pub(crate) fn convert<'a>(
    function: Function,
    value: &Value<'a>,
) -> Result<Option<Value<'a>>, WrongKind> {
    Ok(match (function, value) {
        (Function::Bool, Value::Bool(_))
        | (Function::Bytes, Value::Bytes(_))
        | (Function::Double, Value::Double(_))
        | (Function::Duration, Value::Duration(_))
        | (Function::Int, Value::Int(_))
        | (Function::String, Value::String(_))
        | (Function::Timestamp, Value::Timestamp(_))
        | (Function::Uint, Value::Uint(_)) => value.clone().into(),

        (Function::Bool, Value::String(text)) => match &**text {
            "1" | "t" | "true" | "TRUE" | "True" => Value::Bool(true).into(),
            "0" | "f" | "false" | "FALSE" | "False" => Value::Bool(false).into(),
            _ => None,
        },
        (Function::Bytes, Value::String(text)) => Value::Bytes(text.as_bytes().into()).into(),

        (Function::Int, Value::Uint(value)) => i64::try_from(*value).ok().map(Value::Int),
        (Function::Int, Value::Double(value)) => {
            // The ends themselves are refused, as a double cannot tell them from their neighbours.
            let inside =
                *value > -9_223_372_036_854_775_808.0 && *value < 9_223_372_036_854_775_808.0;
            inside.then_some(Value::Int(*value as i64))
        }
        (Function::Int, Value::String(text)) => text.parse().ok().map(Value::Int),
        (Function::Int, Value::Timestamp(nanos)) => {
            i64::try_from(nanos.div_euclid(SECOND)).ok().map(Value::Int)
        }

        (Function::Uint, Value::Int(value)) => u64::try_from(*value).ok().map(Value::Uint),
        (Function::Uint, Value::Double(value)) => {
            let inside = *value >= 0.0 && *value < 18_446_744_073_709_551_616.0;
            inside.then_some(Value::Uint(*value as u64))
        }
        (Function::Uint, Value::String(text)) => text.parse().ok().map(Value::Uint),

        (Function::Double, Value::Int(value)) => Value::Double(*value as f64).into(),
        (Function::Double, Value::Uint(value)) => Value::Double(*value as f64).into(),
        (Function::Double, Value::String(text)) => text.parse().ok().map(Value::Double),

        (Function::Timestamp, Value::String(text)) => parse_timestamp(text).map(Value::Timestamp),
        (Function::Timestamp, Value::Int(seconds)) => timestamp(i128::from(*seconds) * SECOND),
        (Function::Duration, Value::String(text)) => parse_duration(text).map(Value::Duration),

        (Function::String, Value::Bytes(bytes)) => std::str::from_utf8(bytes)
            .ok()
            .map(|text| string(text.to_owned())),
        (Function::String, Value::Bool(value)) => string(value.to_string()).into(),
        (Function::String, Value::Int(value)) => string(value.to_string()).into(),
        (Function::String, Value::Uint(value)) => string(value.to_string()).into(),
        (Function::String, Value::Double(value)) => string(value.to_string()).into(),
        (Function::String, Value::Timestamp(nanos)) => format_timestamp(*nanos).map(string),
        (Function::String, Value::Duration(nanos)) => string(format_duration(*nanos)).into(),
        _ => return Err(WrongKind),
    })
}

fn string(text: String) -> Value<'static> {
    Value::String(Text::from(text))
}

/// RFC 3339 in UTC, with as many digits of a second as it takes: none, 3, 6 or 9.
pub(crate) fn format_timestamp(nanos: i128) -> Option<String> {
    Some(date_time(nanos)?.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true))
}

/// Seconds: `90s`, `-1.5s`.
pub(crate) fn format_duration(nanos: i64) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let (seconds, rest) = (
        nanos.unsigned_abs() / 1_000_000_000,
        nanos.unsigned_abs() % 1_000_000_000,
    );
    let fraction = format!("{rest:09}");
    match fraction.trim_end_matches('0') {
        "" => format!("{sign}{seconds}s"),
        fraction => format!("{sign}{seconds}.{fraction}s"),
    }
}
