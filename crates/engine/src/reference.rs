//! The meaning of a filter as crate `cel` has it: parsed, expanded and evaluated by other people's code.
//!
//! Slow, and for doubt only: tests hold the engine to it, and `--engine reference` asks it. Where the crate
//! departs from the CEL specification it is corrected here, and only here; each correction is pinned by a
//! case in `testdata/`.
//!
//! Not bounded by [`limits::STEPS`](crate::limits::STEPS).

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::{Arc, LazyLock};

use cel::common::ast::{EntryExpr, Expr, operators};
use cel::common::types::{
    CelBool, CelDuration, CelInt, CelString, CelTimestamp, DURATION_TYPE, DYN_TYPE, Kind,
    STRING_TYPE, TIMESTAMP_TYPE,
};
use cel::common::value::CowVal;
use cel::{Context, Env, ExecutionError, IdedExpr};
use chrono::{DateTime, TimeDelta};

use crate::filter::Filter;
use crate::record::{Record, Unreadable};
use crate::regular::Regular;
use crate::value::{Key, Value};

/// What a filter is for one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is true.
    Match,
    /// It has another value.
    NoMatch,
    /// It has none, and so does not match; the crate's words.
    Error(String),
}

/// Evaluates `filter` on `record` with crate `cel`.
///
/// # Errors
/// The record's value is not a JSON object, or beyond a limit.
pub fn matches(filter: &Filter, record: &Record<'_>) -> Result<Outcome, Unreadable> {
    let mut outcome = Outcome::NoMatch;
    each_outcome([filter], record, |found| outcome = found)?;
    Ok(outcome)
}

/// Evaluates each of `filters` on `record` with crate `cel`, in order; the record is read once.
///
/// # Errors
/// The record's value is not a JSON object, or beyond a limit.
pub fn each_outcome<'f>(
    filters: impl IntoIterator<Item = &'f Filter>,
    record: &Record<'_>,
    mut visit: impl FnMut(Outcome),
) -> Result<(), Unreadable> {
    let mut context = Context::with_env(Arc::clone(&ENV));
    context.add_variable_from_value("event", to_cel(&record.event()?));
    context.add_variable_from_value("record", to_cel(&record.variable()));
    for filter in filters {
        visit(match filter.program() {
            Ok(program) => program.evaluate(&context),
            Err(message) => Outcome::Error(message.clone()),
        });
    }
    Ok(())
}

/// A filter, parsed by crate `cel`.
pub(crate) struct Program(IdedExpr);

impl Program {
    pub(crate) fn new(text: &str) -> Result<Self, String> {
        // Never seen to panic on a text that our own parser took; but it is made of `unwrap`.
        let parsed =
            std::panic::catch_unwind(|| ENV.parser().enable_ident_escape_syntax(true).parse(text));
        let mut tree = match parsed {
            Ok(parsed) => parsed.map_err(|errors| errors.to_string())?,
            Err(_) => return Err("the parser of crate `cel` failed".to_owned()),
        };
        correct(&mut tree);
        Ok(Self(tree))
    }

    fn evaluate(&self, context: &Context<'_, '_>) -> Outcome {
        match cel::Value::resolve(&self.0, context) {
            Ok(cel::Value::Bool(true)) => Outcome::Match,
            Ok(_) => Outcome::NoMatch,
            Err(error) => Outcome::Error(error.to_string()),
        }
    }
}

// Names that no filter can have, for the functions that take the place of the crate's.
const ADD: &str = "@add";
const MILLISECONDS: &str = "@milliseconds";

/// Calls the corrected functions instead of the crate's.
fn correct(node: &mut IdedExpr) {
    match &mut node.expr {
        Expr::Call(call) => {
            match (call.func_name.as_str(), call.args.len()) {
                (operators::ADD, 2) => call.func_name = ADD.to_owned(),
                ("getMilliseconds", 0) => call.func_name = MILLISECONDS.to_owned(),
                _ => {}
            }
            call.target
                .as_deref_mut()
                .into_iter()
                .chain(&mut call.args)
                .for_each(correct);
        }
        Expr::Comprehension(each) => {
            for part in [
                &mut each.iter_range,
                &mut each.accu_init,
                &mut each.loop_cond,
                &mut each.loop_step,
                &mut each.result,
            ] {
                correct(part);
            }
        }
        Expr::List(list) => list.elements.iter_mut().for_each(correct),
        Expr::Map(map) => {
            for entry in &mut map.entries {
                if let EntryExpr::MapEntry(entry) = &mut entry.expr {
                    correct(&mut entry.key);
                    correct(&mut entry.value);
                }
            }
        }
        Expr::Select(select) => correct(&mut select.operand),
        // Messages are not part of the filter language.
        Expr::Struct(_) | Expr::Ident(_) | Expr::Literal(_) | Expr::Unspecified => {}
    }
}

/// The crate takes a map behind a list for the list of its keys.
fn add<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let [left, right] = arguments.as_slice() else {
        return Err(ExecutionError::invalid_argument_count(2, arguments.len()));
    };
    let kinds = (left.get_type().kind(), right.get_type().kind());
    let adder = left
        .as_adder()
        .filter(|_| !matches!(kinds, (Kind::List, other) if other != Kind::List));
    match adder {
        Some(adder) => Ok(CowVal::Owned(adder.add(right.as_ref())?.into_owned())),
        None => Err(ExecutionError::no_such_overload("+", Vec::new())),
    }
}

/// The crate gives the milliseconds of the whole duration, not those of its last second.
fn duration_milliseconds<'b, 'v>(
    arguments: Vec<CowVal<'b, 'v>>,
) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let duration = arguments
        .first()
        .and_then(|duration| duration.downcast_ref::<CelDuration>());
    let duration = duration.ok_or_else(ExecutionError::missing_argument_or_target)?;
    Ok(CowVal::owned(CelInt::from(
        duration.inner().num_milliseconds() % 1_000,
    )))
}

fn timestamp_milliseconds<'b, 'v>(
    arguments: Vec<CowVal<'b, 'v>>,
) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let time = arguments
        .first()
        .and_then(|time| time.downcast_ref::<CelTimestamp>());
    let time = time.ok_or_else(ExecutionError::missing_argument_or_target)?;
    Ok(CowVal::owned(CelInt::from(i64::from(
        time.inner().timestamp_subsec_millis(),
    ))))
}

/// The standard environment of the crate, with what it lacks.
static ENV: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut env = Env::stdlib().with_optional_support(false);
    // Correction: `matches` is RE2, see `regular`. The crate's own is switched off by its feature `regex`,
    // and would compile its pattern at every evaluation.
    // None of these is declared yet, so none is refused.
    let _ = env.add_overload("matches", "matches", vec![STRING_TYPE, STRING_TYPE], re2);
    let _ = env.add_member_overload(
        "matches",
        "matches_string",
        STRING_TYPE,
        vec![STRING_TYPE],
        re2,
    );
    let _ = env.add_overload(ADD, "add", vec![DYN_TYPE, DYN_TYPE], add);
    let _ = env.add_member_overload(
        MILLISECONDS,
        "duration_milliseconds",
        DURATION_TYPE,
        vec![],
        duration_milliseconds,
    );
    let _ = env.add_member_overload(
        MILLISECONDS,
        "timestamp_milliseconds",
        TIMESTAMP_TYPE,
        vec![],
        timestamp_milliseconds,
    );
    Arc::new(env)
});

fn re2<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    thread_local! {
        static COMPILED: RefCell<HashMap<String, Rc<Regular>>> = RefCell::default();
    }
    let [text, pattern] = arguments.as_slice() else {
        return Err(ExecutionError::invalid_argument_count(2, arguments.len()));
    };
    let (Some(text), Some(pattern)) = (
        text.downcast_ref::<CelString<'_>>(),
        pattern.downcast_ref::<CelString<'_>>(),
    ) else {
        return Err(ExecutionError::missing_argument_or_target());
    };
    let known = COMPILED.with_borrow(|compiled| compiled.get(pattern.inner()).cloned());
    let regular = match known {
        Some(regular) => regular,
        None => {
            let regular = Regular::new(pattern.inner())
                .map_err(|fault| ExecutionError::function_error("matches", fault.message))?;
            COMPILED.with_borrow_mut(|compiled| {
                if compiled.len() >= COMPILED_PATTERNS {
                    compiled.clear();
                }
                let regular = Rc::new(regular);
                compiled.insert(pattern.inner().to_owned(), Rc::clone(&regular));
                regular
            })
        }
    };
    Ok(CowVal::owned(CelBool::from(regular.is_match(text.inner()))))
}

/// Patterns that one thread keeps compiled.
const COMPILED_PATTERNS: usize = 1_000;

fn to_cel(value: &Value<'_>) -> cel::Value {
    match value {
        Value::Null => cel::Value::Null,
        Value::Bool(value) => cel::Value::Bool(*value),
        Value::Int(value) => cel::Value::Int(*value),
        Value::Uint(value) => cel::Value::UInt(*value),
        Value::Double(value) => cel::Value::Float(*value),
        Value::String(text) => cel::Value::String(Arc::new(text.to_string())),
        Value::Bytes(bytes) => cel::Value::Bytes(Arc::new(bytes.to_vec())),
        Value::List(elements) => cel::Value::List(Arc::new(elements.iter().map(to_cel).collect())),
        Value::Map(map) => {
            let entries = map
                .entries()
                .iter()
                .map(|(key, value)| (to_cel_key(key), to_cel(value)));
            cel::Value::Map(entries.collect::<HashMap<_, _>>().into())
        }
        Value::Timestamp(nanos) => {
            let seconds = i64::try_from(nanos.div_euclid(1_000_000_000)).unwrap_or_default();
            let rest = u32::try_from(nanos.rem_euclid(1_000_000_000)).unwrap_or_default();
            // Within the years 1 to 9999, which chrono has all of.
            cel::Value::Timestamp(
                DateTime::from_timestamp(seconds, rest)
                    .unwrap_or_default()
                    .fixed_offset(),
            )
        }
        Value::Duration(nanos) => cel::Value::Duration(TimeDelta::nanoseconds(*nanos)),
        // Neither an event nor a record holds a type.
        Value::Type(_) => cel::Value::Null,
    }
}

fn to_cel_key(key: &Key<'_>) -> cel::objects::Key {
    match key {
        Key::Bool(value) => cel::objects::Key::Bool(*value),
        Key::Int(value) => cel::objects::Key::Int(*value),
        Key::Uint(value) => cel::objects::Key::Uint(*value),
        Key::String(text) => cel::objects::Key::String(Arc::new(text.to_string())),
    }
}
