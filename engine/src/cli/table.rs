//! Tables for people; programs take `--json`.

use std::io::{self, IsTerminal};

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

/// How a column is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    /// For names.
    Left,
    /// For numbers.
    Right,
}

/// An empty table with these columns. It has rules on a terminal, and none in a pipe, where `awk` may read it.
pub(crate) fn table(columns: &[(&str, Align)]) -> Table {
    let mut table = Table::new();
    if io::stdout().is_terminal() {
        table.load_preset(presets::UTF8_HORIZONTAL_ONLY);
        table.set_content_arrangement(ContentArrangement::Dynamic);
    } else {
        table.load_preset(presets::NOTHING);
    }
    table.set_header(columns.iter().map(|(name, _)| *name));
    for (column, (_, align)) in table.column_iter_mut().zip(columns) {
        column.set_cell_alignment(match align {
            Align::Left => CellAlignment::Left,
            Align::Right => CellAlignment::Right,
        });
    }
    table
}

/// The table's lines without the spaces that end them.
pub(crate) fn lines(table: &Table) -> String {
    let mut text = String::new();
    for line in table.lines() {
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_under_each_other_and_no_line_ends_in_spaces() {
        let mut table = table(&[
            ("name", Align::Left),
            ("size", Align::Right),
            ("note", Align::Left),
        ]);
        table.load_preset(presets::NOTHING);
        table.set_content_arrangement(ContentArrangement::Disabled);
        table.add_row(["a", "5", ""]);
        table.add_row(["bcdefg", "12345", "x"]);
        assert_eq!(
            lines(&table),
            " name     size  note\n a           5\n bcdefg  12345  x\n"
        );
    }
}
