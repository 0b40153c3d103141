//! SKUs and their units, as the log writes them.

use std::fmt::Write as _;
use std::str::FromStr;

use crate::catalogue::Sku;
use crate::log::EntryError;

/// SKUs and their units, as `SKU:3,SKU:1`.
pub type Lines = Vec<(Sku, u32)>;

/// In the place of lines: every unit of a cancelled order was one that never existed.
pub(super) const NO_LINES: &str = "-";

/// `SKU:3,SKU:1`
pub fn lines_text(lines: &[(Sku, u32)]) -> String {
    let mut text = String::new();
    write_lines(&mut text, lines);
    text
}

pub(super) fn write_lines<N: std::fmt::Display>(text: &mut String, lines: &[(Sku, N)]) {
    for (i, (sku, units)) in lines.iter().enumerate() {
        if i > 0 {
            text.push(',');
        }
        text.push_str(sku.as_str());
        let _ = write!(text, ":{units}");
    }
}

pub(super) fn read_lines<N: FromStr + PartialEq + Default>(text: &str) -> Result<Vec<(Sku, N)>, EntryError> {
    text.split(',')
        .map(|line| {
            let (sku, units) = line.split_once(':')?;
            Some((sku.parse().ok()?, units.parse().ok().filter(|units| *units != N::default())?))
        })
        .collect::<Option<_>>()
        .ok_or(EntryError::Word("lines"))
}
