//! Tables without lines, for people.

use comfy_table::{Row, Table, presets};

/// The lines of a table, its head first: columns as wide as what they hold, two spaces apart.
pub fn lines<R: Into<Row>>(
    head: impl Into<Row>,
    rows: impl IntoIterator<Item = R>,
) -> impl Iterator<Item = String> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(head);
    table.add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.into_iter()
}
