//! The reference of fields, conditions and reasons, made from the definitions and the names of conditions.

use std::fmt::Write as _;

use serde_json::Value;

use crate::condition::{Reason, Type};
use crate::crds;

/// `docs/reference.md`.
#[must_use]
pub fn reference() -> String {
    let mut text = String::from(
        "# Reference\n\n\
         Made by `make crds` from the types in `crates/resources`; a test compares. A field without a default may be left \
         out, unless it is required.\n",
    );
    for (_, crd) in crds() {
        let kind = &crd.spec.names.kind;
        for version in &crd.spec.versions {
            let schema = version
                .schema
                .as_ref()
                .and_then(|schema| schema.open_api_v3_schema.as_ref());
            let schema = serde_json::to_value(schema).unwrap_or_default();
            let _ = write!(text, "\n## {kind}, {}/{}\n\n", crd.spec.group, version.name);
            let _ = writeln!(text, "{}", line(&schema["description"]));
            for part in ["spec", "status"] {
                let _ = write!(
                    text,
                    "\n### {part} of {kind}\n\n| field | type | default | bounds | meaning |\n|---|---|---|---|---|\n"
                );
                fields(&mut text, part, &schema["properties"][part]);
            }
        }
    }
    text.push_str("\n## Conditions\n\n`True`, `False` or `Unknown`, each with the generation that it is about.\n\n| type | says |\n|---|---|\n");
    for kind in Type::ALL {
        let _ = writeln!(text, "| `{}` | {} |", kind.as_str(), kind.meaning().trim());
    }
    text.push_str("\n## Reasons\n\n| reason | says |\n|---|---|\n");
    for reason in Reason::ALL {
        let _ = writeln!(
            text,
            "| `{}` | {} |",
            reason.as_str(),
            reason.meaning().trim()
        );
    }
    text
}

/// A row for each field below `schema`, and those of lists below their own.
fn fields(text: &mut String, path: &str, schema: &Value) {
    let required: Vec<_> = schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .collect();
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        let below = field["properties"].is_object();
        let default = match &field["default"] {
            _ if required.iter().any(|required| *required == name) => "required".to_owned(),
            // That of each field below says the same.
            Value::Null => String::new(),
            _ if below => String::new(),
            default => format!("`{default}`"),
        };
        let (kind, bounds, meaning) = (kind(field), bounds(field), line(&field["description"]));
        let _ = writeln!(
            text,
            "| `{path}` | {kind} | {default} | {bounds} | {meaning} |"
        );
        if below {
            fields(text, &path, field);
        } else if field["items"]["properties"].is_object() {
            fields(text, &format!("{path}[]"), &field["items"]);
        }
    }
}

fn kind(field: &Value) -> String {
    if field["x-kubernetes-int-or-string"] == true {
        return "integer or string".to_owned();
    }
    match (field["type"].as_str().unwrap_or("any"), &field["format"]) {
        ("array", _) => format!("list of {}", kind(&field["items"])),
        ("object", _) if field["additionalProperties"].is_object() => {
            format!("map of {}", kind(&field["additionalProperties"]))
        }
        ("string", Value::String(format)) if format == "date-time" => "time".to_owned(),
        (name, _) => name.to_owned(),
    }
}

/// What the API server asks of a value.
fn bounds(field: &Value) -> String {
    let mut all = Vec::new();
    let values = field["enum"].as_array().into_iter().flatten();
    let values: Vec<_> = values
        .filter_map(Value::as_str)
        .map(|value| format!("`{value}`"))
        .collect();
    if !values.is_empty() {
        all.push(values.join(", "));
    }
    for (least, most, unit) in [
        ("minimum", "maximum", ""),
        ("minLength", "maxLength", " characters"),
        ("minItems", "maxItems", " items"),
        ("minProperties", "maxProperties", " entries"),
    ] {
        match (field[least].as_f64(), field[most].as_f64()) {
            (Some(least), Some(most)) => all.push(format!("{least} to {most}{unit}")),
            (None, Some(most)) => all.push(format!("at most {most}{unit}")),
            (Some(least), None) => all.push(format!("at least {least}{unit}")),
            (None, None) => {}
        }
    }
    if let Some(pattern) = field["pattern"].as_str() {
        all.push(format!("`{}`", pattern.replace('|', "\\|")));
    }
    let rules = field["x-kubernetes-validations"]
        .as_array()
        .into_iter()
        .flatten();
    all.extend(rules.map(|rule| line(&rule["message"])));
    for each in ["items", "additionalProperties"] {
        // Rows of their own say it of objects.
        if field[each].is_object() && !field[each]["properties"].is_object() {
            all.extend(
                Some(bounds(&field[each]))
                    .filter(|of| !of.is_empty())
                    .map(|of| format!("each: {of}")),
            );
        }
    }
    all.join("; ")
}

/// On one line, as a cell of a table takes it.
fn line(text: &Value) -> String {
    let text = text.as_str().unwrap_or_default();
    text.split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .replace('|', "\\|")
}
