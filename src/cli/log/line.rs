//! One entry of the log, as a line for people or as JSON.

use std::io::{self, Write};

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::log::{EntryAddress, Fate, LogEntry, RawEntry, lines_text};
use crate::order_id::OrderId;

/// `2026-11-27T09:00:00.123Z p0:1800000000123-0 order … confirmed`
pub(super) fn write(
    out: &mut impl Write,
    address: EntryAddress,
    raw: &RawEntry,
    fate: Option<&Fate>,
) -> io::Result<()> {
    let time = time(address).strftime("%Y-%m-%dT%H:%M:%S%.3fZ");
    let place = address.to_string();
    let (kind, text) = match raw.decode() {
        Ok(entry) => (kind(raw), said(address, &entry)),
        Err(_) => ("unreadable".to_owned(), escaped(raw)),
    };
    match fate {
        Some(fate) => writeln!(out, "{time} {place:<20} {kind:<10} {:<10} {text}", fate.to_string()),
        None => writeln!(out, "{time} {place:<20} {kind:<10} {text}"),
    }
}

/// The same for programs. `said` is null where this version cannot read the entry; `raw` always shows it.
pub(in crate::cli) fn entry_json(address: EntryAddress, raw: &RawEntry, fate: Option<&Fate>) -> Value {
    let fields: Vec<[String; 2]> = raw
        .fields
        .iter()
        .map(|(field, value)| [field.escape_ascii().to_string(), value.escape_ascii().to_string()])
        .collect();
    let mut entry = json!({
        "entry": address,
        "partition": address.partition.number(),
        "id": address.entry,
        "time": time(address),
        "kind": kind(raw),
        "said": raw.decode().ok().map(|entry| said_json(address, &entry)),
        "raw": fields,
    });
    if let Some(fate) = fate {
        entry["state"] = fate.to_string().into();
    }
    entry
}

fn time(address: EntryAddress) -> Timestamp {
    Timestamp::from_millisecond(address.entry.ms_sql()).unwrap_or(Timestamp::MAX)
}

fn kind(raw: &RawEntry) -> String {
    raw.fields.first().map(|(field, _)| field.escape_ascii().to_string()).unwrap_or_default()
}

fn escaped(raw: &RawEntry) -> String {
    let word = |(field, value): &(bytes::Bytes, bytes::Bytes)| {
        format!("{}=\"{}\"", field.escape_ascii(), value.escape_ascii())
    };
    raw.fields.iter().map(word).collect::<Vec<_>>().join(" ")
}

fn units(lines: &[(crate::catalogue::Sku, i64)]) -> String {
    lines.iter().map(|(sku, units)| format!("{sku}:{units:+}")).collect::<Vec<_>>().join(",")
}

fn said(address: EntryAddress, entry: &LogEntry) -> String {
    match entry {
        LogEntry::Order(order) => {
            let id = OrderId::new(address.entry, address.partition, order.mark);
            format!("{id} {} {} {}", order.sale, order.buyer.as_str(), lines_text(&order.lines))
        }
        LogEntry::Sale(sale) => format!("{} version {}", sale.sale, sale.version),
        LogEntry::Allotment(stock) => format!("{} {} {}", stock.sale, units(&stock.lines), stock.cause),
        LogEntry::Adjustment(entry) => {
            let (stock, who) = (&entry.stock, entry.actor.escape_debug());
            let why = entry.reason.escape_debug();
            format!("{} {} {} by {who}: {why}", stock.sale, units(&stock.lines), stock.cause)
        }
        LogEntry::Confirmation { order, decided } => {
            let (who, why) = (decided.actor.escape_debug(), decided.reason.escape_debug());
            format!("{order} {} by {who}: {why}", decided.stock.sale)
        }
        LogEntry::Return { order, reason, stock } => {
            format!("{order} {} {} {reason}", stock.sale, units(&stock.lines))
        }
        LogEntry::Opening { epoch, base, .. } => format!("epoch {epoch}, persisted up to {base}"),
    }
}

fn said_json(address: EntryAddress, entry: &LogEntry) -> Value {
    let stock_lines = |lines: &[(crate::catalogue::Sku, i64)]| -> Value {
        lines.iter().map(|(sku, units)| (sku.as_str().to_owned(), Value::from(*units))).collect()
    };
    match entry {
        LogEntry::Order(order) => json!({
            "order": OrderId::new(address.entry, address.partition, order.mark),
            "sale": order.sale.as_str(),
            "buyer": order.buyer.as_str(),
            "key": order.key.as_str(),
            "items": order.lines.iter().map(|(sku, n)| json!({ "sku": sku.as_str(), "quantity": n }))
                .collect::<Vec<_>>(),
        }),
        LogEntry::Sale(sale) => {
            json!({ "sale": sale.sale.as_str(), "version": sale.version, "definition": sale.definition })
        }
        LogEntry::Allotment(stock) => {
            json!({ "sale": stock.sale.as_str(), "cause": stock.cause, "units": stock_lines(&stock.lines) })
        }
        LogEntry::Adjustment(entry) => json!({
            "sale": entry.stock.sale.as_str(),
            "cause": entry.stock.cause,
            "units": stock_lines(&entry.stock.lines),
            "actor": entry.actor,
            "reason": entry.reason,
        }),
        LogEntry::Confirmation { order, decided } => json!({
            "order": order,
            "sale": decided.stock.sale.as_str(),
            "cause": decided.stock.cause,
            "actor": decided.actor,
            "reason": decided.reason,
        }),
        LogEntry::Return { order, reason, stock } => json!({
            "order": order,
            "sale": stock.sale.as_str(),
            "cause": stock.cause,
            "reason": reason,
            "units": stock_lines(&stock.lines),
        }),
        LogEntry::Opening { epoch, base, .. } => json!({ "epoch": epoch, "base": base }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::EntryId;
    use crate::partition::Partition;

    fn line(field: &[u8], value: &[u8]) -> String {
        let entry = EntryId { ms: 1_800_000_000_123, seq: 4 };
        let raw = RawEntry::from_fields(entry, vec![field.to_vec(), value.to_vec()]);
        let mut out = Vec::new();
        write(&mut out, EntryAddress::new(Partition::new(1), entry), &raw, Some(&Fate::Pending)).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn an_entry_is_one_line_that_says_all() {
        let order = line(b"order", b"00000000 00000000deadbeef demo alice k TEE:2,MUG:1");
        assert!(
            order.starts_with("2027-01-15T08:00:00.123Z p1:1800000000123-4   order      pending    01"),
            "{order}"
        );
        assert!(order.ends_with(" demo alice TEE:2,MUG:1\n"), "{order}");
        let allotment = line(b"allotment", b"00000000 demo allotment:demo:1 TEE:5");
        assert!(allotment.ends_with("demo TEE:+5 allotment:demo:1\n"), "{allotment}");
    }

    #[test]
    fn what_cannot_be_read_is_shown_as_it_is_and_cannot_break_the_terminal() {
        let text = line(b"order", b"\x1b[2J\n\xff");
        assert!(text.contains("unreadable") && text.ends_with("order=\"\\x1b[2J\\n\\xff\"\n"), "{text}");
    }
}
