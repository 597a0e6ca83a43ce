//! Tables as the documentation has them.

/// A heading and rows, each printed when it is known.
pub(crate) struct Table;

impl Table {
    pub(crate) fn new(title: &str, columns: &[&str]) -> Self {
        println!("{title}:\n\n| {} |", columns.join(" | "));
        println!("|{}", "---|".repeat(columns.len()));
        Self
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        println!("| {} |", cells.into_iter().collect::<Vec<_>>().join(" | "));
    }

    /// The end of it.
    pub(crate) fn end(self) {
        println!();
    }
}
