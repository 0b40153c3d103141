//! One dead letter, whole.

use std::io::{self, Write};

use serde_json::{Value, json};

use super::units;
use crate::cli::log::entry_json;
use crate::dead_letters::DeadLetter;
use crate::log::LogEntry;

pub(super) fn as_json(letter: &DeadLetter) -> Value {
    json!({
        "letter": letter.address,
        "order": letter.order(),
        "sale": letter.sale,
        "counted": letter.counted,
        "error": letter.error,
        "found_at": letter.found_at,
        "retries": letter.retries,
        "tried_at": letter.tried_at,
        "ended": letter.ended,
        "entry": entry_json(letter.address, &letter.raw, None),
    })
}

pub(super) fn write(out: &mut impl Write, letter: &DeadLetter) -> io::Result<()> {
    writeln!(out, "letter   {}", letter.address)?;
    for (field, value) in &letter.raw.fields {
        writeln!(out, "field    {}: {}", field.escape_ascii(), value.escape_ascii())?;
    }
    if let Some(order) = letter.order() {
        writeln!(out, "order    {order}")?;
    }
    if let Ok(LogEntry::Order(order)) = letter.raw.decode() {
        writeln!(out, "sale     {}", order.sale)?;
        writeln!(out, "buyer    {}", order.buyer.as_str())?;
        writeln!(out, "key      {}", order.key.as_str())?;
    }
    writeln!(out, "counted  {}", units(letter))?;
    writeln!(out, "error    {}", letter.error)?;
    writeln!(out, "found    {}", letter.found_at)?;
    if let Some(tried) = letter.tried_at {
        writeln!(out, "retried  {} times in vain, last at {tried}", letter.retries)?;
    }
    match &letter.ended {
        Some(ended) => {
            let reason = ended.reason.as_deref().map(|why| format!(" ({why})")).unwrap_or_default();
            writeln!(out, "ended    {} by {} at {}{reason}", ended.outcome.as_str(), ended.by, ended.at)
        }
        None => writeln!(out, "hint     {}", hint(letter)),
    }
}

/// What can be done about it.
fn hint(letter: &DeadLetter) -> String {
    let name = letter.address;
    match letter.raw.decode() {
        Err(_) => format!(
            "this version cannot read it. Written by a newer one: upgrade, then `doorbuster dead retry {name}`. Else \
             `doorbuster dead drop {name} --reason WHY`; if a claim wrote it, its units come back with the next rebuild"
        ),
        Ok(LogEntry::Order(order)) => format!(
            "does sale {} have these items in Postgres? Put right what the error names, then `doorbuster dead retry \
             {name}`; or give the order up: `doorbuster dead drop {name} --reason WHY`",
            order.sale
        ),
        Ok(_) => format!("a change of stock that Redis has made: `doorbuster dead retry {name}`"),
    }
}
