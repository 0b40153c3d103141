//! How tables look.

use comfy_table::{Cell, CellAlignment, Table, presets};

/// A table without lines, so that it can be cut by other programs.
pub(super) fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header);
    table
}

pub(super) fn text(value: impl ToString) -> Cell {
    Cell::new(value)
}

pub(super) fn number(value: impl ToString) -> Cell {
    Cell::new(value).set_alignment(CellAlignment::Right)
}

/// A number, or a dash where it is not known.
pub(super) fn known<T: ToString>(value: Option<T>) -> Cell {
    value.map_or_else(|| number("-"), number)
}
