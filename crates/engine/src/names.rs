//! What a filter may name: variables, types, functions, macros.

use crate::error::{FilterError, FilterErrorKind, Span, closest};
use crate::function::{self, Function, Style};
use crate::kind::Type;
use crate::tree::{Call, Kind, MacroName, Node};

type Result<T> = std::result::Result<T, FilterError>;

/// The variable or type called `name`. `compared`: it stands where a constant often stands.
pub(crate) fn variable(
    text: &str,
    span: Span,
    name: &str,
    scope: &[Box<str>],
    compared: bool,
) -> Result<Kind> {
    match name {
        "event" => return Ok(Kind::Event),
        "record" => return Ok(Kind::Record),
        _ => {}
    }
    if let Some(kind) = type_named(name) {
        return Ok(Kind::Type(kind));
    }
    let error = FilterError::new(
        FilterErrorKind::UnknownVariable,
        text,
        span,
        format!("there is no variable `{name}`, only `event` and `record`"),
    );
    let known = scope.iter().map(AsRef::as_ref).chain(["event", "record"]);
    let instead = match closest(name, known) {
        Some(known) => known.to_owned(),
        None if compared => format!("\"{name}\""),
        None => format!("event.{name}"),
    };
    Err(error.suggest(instead))
}

/// The type that `name` denotes.
pub(crate) fn type_named(name: &str) -> Option<Type> {
    Type::EACH.into_iter().find(|kind| kind.as_str() == name)
}

/// Names of everything that is called on a value.
pub(crate) fn member_names() -> impl Iterator<Item = &'static str> {
    Function::names()
        .filter(|name| {
            Function::named(name).is_some_and(|function| function.style() != Style::Global)
        })
        .chain(MacroName::EACH.into_iter().map(MacroName::as_str))
}

/// The call of the function `name` with `arguments`, the first of which it is called on if `member`.
pub(crate) fn call(
    text: &str,
    span: Span,
    name: &str,
    member: bool,
    arguments: Vec<Node>,
) -> Result<Kind> {
    let error =
        |message: String| FilterError::new(FilterErrorKind::UnknownFunction, text, span, message);
    let Some(function) = Function::named(name) else {
        if let Some(name) = MacroName::named(name) {
            let usage = format!("list.{}(x, …)", name.as_str());
            return Err(
                error(format!("`{}` is called on a list or a map", name.as_str())).suggest(usage),
            );
        }
        let known = Function::names()
            .chain(MacroName::EACH.into_iter().map(MacroName::as_str))
            .chain(["has"]);
        let error = error(format!("there is no function `{name}`"));
        return Err(
            match function::foreign(name).or_else(|| closest(name, known)) {
                Some(known) => error.suggest(known),
                None => error,
            },
        );
    };
    let style_fits = match function.style() {
        Style::Global => !member,
        Style::Member => member,
        Style::Both => true,
    };
    if !style_fits || !function.takes(arguments.len()) {
        return Err(error(format!("`{name}` is written `{}`", function.usage())));
    }
    Ok(Kind::Call(Box::new(Call {
        function,
        arguments,
        regular: None,
    })))
}
