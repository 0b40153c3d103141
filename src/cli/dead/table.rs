//! The list of dead letters, for people.

use comfy_table::Table;

use super::units;
use crate::cli::tables::{number, table, text};
use crate::dead_letters::DeadLetter;

/// Longest error in a row; `dead show` has all of it.
const ERROR_MAX: usize = 80;

pub(super) fn letters(letters: &[DeadLetter], ended: bool) -> Table {
    let mut header = vec!["LETTER", "FOUND", "ORDER", "SALE", "UNITS", "RETRIES", "ERROR"];
    if ended {
        header.push("ENDED");
    }
    let mut table = table(&header);
    for letter in letters {
        let mut row = vec![
            text(letter.address),
            text(letter.found_at.strftime("%Y-%m-%dT%H:%M:%SZ")),
            text(letter.order().map_or_else(|| "-".to_owned(), |id| id.to_string())),
            text(letter.sale.as_deref().unwrap_or("-")),
            text(units(letter)),
            number(letter.retries),
            text(letter.error.chars().take(ERROR_MAX).collect::<String>()),
        ];
        if ended {
            row.push(text(letter.ended.as_ref().map_or_else(
                || "-".to_owned(),
                |ended| {
                    let reason = ended.reason.as_deref().map(|why| format!(": {why}")).unwrap_or_default();
                    format!("{} by {}{reason}", ended.outcome.as_str(), ended.by)
                },
            )));
        }
        table.add_row(row);
    }
    table
}
