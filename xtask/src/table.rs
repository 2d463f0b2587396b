//! Tables, for the terminal and for documents.

/// Rows of as many cells as the first one.
#[derive(Debug)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new<const N: usize>(heading: [&str; N]) -> Self {
        Self { rows: vec![heading.map(str::to_owned).to_vec()] }
    }

    pub(crate) fn add<const N: usize>(&mut self, row: [String; N]) {
        self.rows.push(row.to_vec());
    }

    /// Columns set apart by blanks.
    pub(crate) fn text(&self) -> String {
        let widths = self.widths();
        let lines = self.rows.iter().map(|row| {
            let cells: Vec<_> =
                row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
            cells.join("  ").trim_end().to_owned() + "\n"
        });
        lines.collect()
    }

    /// A Markdown table.
    pub(crate) fn markdown(&self) -> String {
        let widths = self.widths();
        let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
        let mut text = String::new();
        for (at, row) in self.rows.iter().enumerate() {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
            text += &line(cells.collect());
            if at == 0 {
                text += &line(widths.iter().map(|&width| "-".repeat(width)).collect());
            }
        }
        text
    }

    fn widths(&self) -> Vec<usize> {
        let columns = self.rows[0].len();
        let width = |column: usize| self.rows.iter().map(move |row| row[column].chars().count());
        (0..columns).map(|column| width(column).max().unwrap_or(0)).collect()
    }
}
