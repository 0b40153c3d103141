//! Units: where each of them is.

use std::collections::BTreeMap;

use super::View;
use crate::findings::{Broken, Findings};

/// Units of each item, by sale and SKU.
type Units<'a> = BTreeMap<(&'a str, &'a str), i64>;

pub(super) fn check(view: &View<'_>, findings: &mut Findings) {
    let (mut active, mut taken, mut dead) = (Units::new(), Units::new(), Units::new());
    for order in &view.stored.orders {
        let sale = order.purchase.sale.as_str();
        if order.cancelled.is_none() {
            order.lines.iter().for_each(|(sku, &units)| add(&mut active, sale, sku, units));
        }
        order.units().for_each(|(sku, units)| add(&mut taken, sale, sku, units));
    }
    for letter in &view.stored.dead_letters {
        let sale = letter.sale.as_deref().unwrap_or_default();
        letter.lines.iter().for_each(|(sku, &units)| add(&mut dead, sale, sku, units));
    }
    let of = |units: &Units<'_>, key| units.get(&key).copied().unwrap_or(0);
    for ((sale, sku), item) in &view.stored.items {
        let key = (sale.as_str(), sku.as_str());
        let (active, taken, dead) = (of(&active, key), of(&taken, key), of(&dead, key));
        if active > item.allotted {
            findings.add(Broken::Oversold, format!("{sale} {sku}: {active} active of {}", item.allotted));
        }
        if active != item.sold {
            findings
                .add(Broken::Leaked, format!("{sale} {sku}: {active} active, {} counted as sold", item.sold));
        }
        if item.in_redis != Some(item.allotted - active - dead) {
            findings.add(
                Broken::Leaked,
                format!(
                    "{sale} {sku}: redis {:?} + active {active} + dead {dead}, allotted {}",
                    item.in_redis, item.allotted
                ),
            );
        }
        if item.in_redis.is_some_and(|stock| stock != item.in_ledger - taken - dead) {
            let (stock, ledger) = (item.in_redis, item.in_ledger);
            findings.add(
                Broken::Leaked,
                format!(
                    "{sale} {sku}: redis {stock:?}, by the ledger {ledger} - taken {taken} - dead {dead}"
                ),
            );
        }
    }
}

fn add<'a>(to: &mut Units<'a>, sale: &'a str, sku: &'a str, units: u32) {
    *to.entry((sale, sku)).or_default() += i64::from(units);
}
