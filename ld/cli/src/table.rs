//! How tables look: columns parted by two blanks, a line under the head, nothing else.

use comfy_table::{CellAlignment, Table};

/// A table with these column heads. A head that begins with `>` aligns its column to the right.
pub fn table(heads: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset("     --            ");
    table.set_header(heads.iter().map(|head| head.trim_start_matches('>')));
    for (column, head) in table.column_iter_mut().zip(heads) {
        column.set_padding((0, 1));
        if head.starts_with('>') {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// The table's lines, each indented and without blanks at its end.
pub fn indented(table: &Table, indent: usize) -> String {
    let margin = " ".repeat(indent);
    table.lines().map(|line| format!("{margin}{}\n", line.trim_end())).collect()
}
