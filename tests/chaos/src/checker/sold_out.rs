//! Refusals that speak of the stock.

use std::collections::{BTreeMap, BTreeSet};

use super::View;
use crate::client::PARTITION_EMPTY;
use crate::findings::{Broken, Findings};
use crate::history::{Lines, Outcome};

/// An answer "sold out" was right if, at that moment, the units of all orders asked for so far could have been all there
/// were, or all that the buyer's partition had. Orders that came to nothing count too: the bound errs on the engine's side.
pub(super) fn check(view: &View<'_>, findings: &mut Findings) {
    let asked_at = units_by_first_request(view);
    for attempt in &view.history.attempts {
        let Outcome::Refused { problem, .. } = &attempt.outcome else { continue };
        let enough: fn(u32) -> i64 = match problem.as_str() {
            "sold-out" => |_| 1,
            "insufficient-stock" | PARTITION_EMPTY => |quantity| i64::from(quantity),
            // Nobody has closed a sale, and every one of them exists.
            "closed" | "paused" | "not-yet-open" | "not-found" | "unknown-item" => {
                findings.add(Broken::FalselySoldOut, format!("{problem} for {:?}", attempt.purchase));
                continue;
            }
            _ => continue,
        };
        let until = attempt.to_us.unwrap_or(u64::MAX);
        // A partition has at least its share, whatever others have.
        let shares = if problem == PARTITION_EMPTY { i64::from(view.stored.partitions.max(1)) } else { 1 };
        let any_short = attempt.lines.iter().any(|(sku, &quantity)| {
            let item = (attempt.purchase.sale.clone(), sku.clone());
            let allotted = view.stored.items.get(&item).map_or(0, |item| item.allotted);
            let claimed: i64 = asked_at
                .get(&item)
                .map_or(0, |claims| claims.iter().take_while(|(at, _)| *at <= until).map(|(_, n)| n).sum());
            allotted / shares - claimed < enough(quantity)
        });
        if !any_short {
            findings.add(
                Broken::FalselySoldOut,
                format!("{problem} for {:?} of {:?}", attempt.lines, attempt.purchase),
            );
        }
    }
}

/// For each item, the units of every order there ever was, by when it was first asked for (µs).
fn units_by_first_request<'a>(view: &View<'a>) -> BTreeMap<(String, String), Vec<(u64, i64)>> {
    let mut by_item: BTreeMap<_, Vec<(u64, i64)>> = BTreeMap::new();
    let mut add = |sale: &str, lines: &Lines, at: u64| {
        for (sku, &units) in lines {
            by_item.entry((sale.to_owned(), sku.clone())).or_default().push((at, i64::from(units)));
        }
    };
    for order in &view.stored.orders {
        // Planted: from the beginning, as far as anybody knows.
        let first = view.attempts.get(&order.purchase).map_or(0, |attempts| attempts[0].from_us);
        add(&order.purchase.sale, &order.lines, first);
    }
    for letter in &view.stored.dead_letters {
        add(letter.sale.as_deref().unwrap_or_default(), &letter.lines, 0);
    }
    for attempt in &view.history.attempts {
        // Destroyed, or lost: an order that was told and is no longer there took its units all the same.
        if let Outcome::Order { id, new: true } = &attempt.outcome
            && !view.by_id.contains_key(id.as_str())
        {
            add(&attempt.purchase.sale, &attempt.lines, attempt.from_us);
        }
    }
    for (id, lines) in view.injected.destroyed.iter().filter(|(id, _)| !view.by_id.contains_key(id.as_str()))
    {
        if !view.history.attempts.iter().any(|attempt| attempt.order() == Some(id)) {
            let sales: BTreeSet<&str> = view.stored.items.keys().map(|(sale, _)| sale.as_str()).collect();
            sales.into_iter().for_each(|sale| add(sale, lines, 0));
        }
    }
    by_item.values_mut().for_each(|claims| claims.sort_unstable());
    by_item
}
