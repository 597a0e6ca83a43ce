//! The bundled data set, read without any code of the product, so that counts are independent.

use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, ensure};

/// A line of the file.
#[derive(Debug)]
pub struct Row {
    /// `event_id` of the event made from it in the first round: `0-<line from 0>`.
    pub event_id: String,
    /// Column `event`, field `type`.
    pub kind: String,
    /// Column `platform`.
    pub platform: String,
}

/// Every row, in the file's order.
///
/// # Errors
/// When the file cannot be read or has other columns.
pub fn rows() -> Result<Vec<Row>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../cli/data/ecom.csv.gz");
    let file =
        std::fs::File::open(&path).with_context(|| format!("cannot open `{}`", path.display()))?;
    let mut text = String::new();
    flate2::read::GzDecoder::new(file).read_to_string(&mut text)?;
    let mut lines = text.lines();
    let header = lines.next().unwrap_or_default();
    ensure!(
        header.starts_with("user_id,session_id,event,timestamp,platform,"),
        "other columns: `{header}`"
    );
    let row = |(line, text): (usize, &str)| {
        let columns: Vec<_> = text.split(',').collect();
        ensure!(
            columns.len() == 8,
            "line {line} has {} columns",
            columns.len()
        );
        Ok(Row {
            event_id: format!("0-{line}"),
            kind: columns[2].to_owned(),
            platform: columns[4].to_owned(),
        })
    };
    lines.enumerate().map(row).collect()
}
