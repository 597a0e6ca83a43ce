//! Filters of the mixes S and B in the languages of the peers.

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Map, Value, json};

/// One comparison of a conjunction.
pub(crate) struct Clause {
    /// Without `event.`
    path: String,
    operator: String,
    /// As JSON.
    constant: Value,
}

/// The clauses of a filter that joins comparisons with `&&`.
pub(crate) fn clauses(filter: &str) -> Result<Vec<Clause>> {
    filter
        .split(" && ")
        .map(|clause| {
            let mut words = clause.splitn(3, ' ');
            let mut next = || words.next().context("a comparison has three words");
            let path = next()?.strip_prefix("event.").context("no field")?;
            let operator = next()?;
            ensure!(
                ["==", "in", "<", "<=", ">", ">="].contains(&operator),
                "`{clause}` is no comparison that the peers have"
            );
            Ok(Clause {
                path: path.to_owned(),
                operator: operator.to_owned(),
                constant: serde_json::from_str(next()?)?,
            })
        })
        .collect()
}

/// For `a-tree`, whose names have no dots.
pub(crate) fn a_tree(filter: &str) -> Result<String> {
    let clauses = clauses(filter)?;
    let clauses = clauses.iter().map(|clause| {
        let name = attribute(&clause.path);
        let operator = match clause.operator.as_str() {
            "==" => "=",
            operator => operator,
        };
        // Its numbers have the kind of their attribute.
        let constant = match &clause.constant {
            Value::Number(number) if FLOATS.contains(&clause.path.as_str()) => {
                format!("{:.2}", number.as_f64().unwrap_or(f64::NAN))
            }
            constant => constant.to_string(),
        };
        format!("({name} {operator} {constant})")
    });
    Ok(clauses.collect::<Vec<_>>().join(" and "))
}

/// Fields of S and B with two decimals.
pub(crate) const FLOATS: [&str; 2] = ["product.price", "cart.total"];
/// Those of whole numbers.
pub(crate) const INTEGERS: [&str; 2] = ["latencyMs", "session.depth"];
/// Those of texts.
pub(crate) const TEXTS: [&str; 14] = [
    "type",
    "user.id",
    "user.country",
    "user.segment",
    "page.path",
    "page.category",
    "page.referrer",
    "device.type",
    "device.os",
    "device.browser",
    "app.version",
    "product.sku",
    "product.brand",
    "site",
];

/// The name of a field in `a-tree`.
pub(crate) fn attribute(path: &str) -> String {
    path.replace('.', "_")
}

/// For `quamina`.
pub(crate) fn quamina(filter: &str) -> Result<String> {
    let mut pattern = Map::new();
    let clauses = clauses(filter)?;
    for clause in &clauses {
        let ranges: Vec<_> = clauses
            .iter()
            .filter(|other| other.path == clause.path && other.constant.is_number())
            .flat_map(|other| [json!(other.operator), other.constant.clone()])
            .collect();
        let wanted = match &clause.constant {
            Value::Array(list) => json!(list),
            Value::Number(_) => json!([{ "numeric": ranges }]),
            constant => json!([constant]),
        };
        place(&mut pattern, &clause.path, wanted)?;
    }
    Ok(Value::Object(pattern).to_string())
}

fn place(pattern: &mut Map<String, Value>, path: &str, wanted: Value) -> Result<()> {
    match path.split_once('.') {
        None => drop(pattern.insert(path.to_owned(), wanted)),
        Some((first, rest)) => {
            let below = pattern.entry(first).or_insert_with(|| json!({}));
            let Value::Object(below) = below else {
                bail!("`{path}` leads through a value");
            };
            place(below, rest, wanted)?;
        }
    }
    Ok(())
}
