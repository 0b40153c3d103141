//! Tables for people.

use std::io::{self, Write};

use comfy_table::Table;
use jiff::Timestamp;

use super::super::tables::{number, table, text};
use crate::catalogue::{SaleDetail, SaleEvent, SaleSummary, StoredProduct};

pub(super) fn products(products: &[StoredProduct]) -> Table {
    let mut table = table(&["SKU", "NAME", "PRICE"]);
    for stored in products {
        let product = &stored.product;
        table.add_row([text(&product.sku), text(&product.name), number(product.price)]);
    }
    table
}

pub(super) fn sales(sales: &[SaleSummary], now: Timestamp) -> Table {
    let mut table = table(&["ID", "NAME", "STATUS", "OPENS", "CLOSES", "ITEMS", "SOLD", "ALLOTTED"]);
    for summary in sales {
        let sale = &summary.sale;
        table.add_row([
            text(&sale.id),
            text(&sale.name),
            text(sale.window.status(now)),
            text(sale.window.opens_at),
            text(sale.window.closes_at),
            number(summary.items),
            number(summary.sold),
            number(summary.allotted),
        ]);
    }
    table
}

pub(super) fn write_sale(out: &mut impl Write, detail: &SaleDetail, now: Timestamp) -> io::Result<()> {
    let sale = &detail.definition.sale;
    writeln!(out, "{} — {}", sale.id, sale.name)?;
    writeln!(out, "{} from {} to {}", sale.window.status(now), sale.window.opens_at, sale.window.closes_at)?;
    if detail.published_version < sale.version {
        writeln!(out, "version {} is not applied by every partition yet", sale.version)?;
    }
    let mut table = table(&["SKU", "NAME", "PRICE", "PER BUYER", "PARTITION", "SOLD", "ALLOTTED"]);
    for row in &detail.stock {
        let Some(item) = detail.definition.item(row.sku.as_str()) else { continue };
        table.add_row([
            text(&item.sku),
            text(&item.product.name),
            number(item.price),
            item.per_buyer_limit.map_or_else(|| number("-"), number),
            number(row.partition),
            number(row.sold),
            number(row.allotted),
        ]);
    }
    writeln!(out, "{table}")
}

pub(super) fn write_events(out: &mut impl Write, events: &[SaleEvent]) -> io::Result<()> {
    if events.is_empty() {
        return Ok(());
    }
    let mut table = table(&["AT", "ACTION", "BY", "REASON"]);
    for event in events {
        let reason = event.reason.as_deref().unwrap_or("-");
        table.add_row([text(event.at), text(&event.action), text(&event.actor), text(reason)]);
    }
    writeln!(out, "{table}")
}
