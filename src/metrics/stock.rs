//! Stock of the items, and its drift.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use super::keeper::{ByPartition, OfPartition, SecondsByPartition};
use super::register::Register;
use crate::partition::Partition;
use crate::reconcile::Balance;

/// Items of one partition that have series of their own; those that do not balance come first.
const ITEMS_MAX: usize = 1000;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfItem {
    partition: u8,
    sale: String,
    sku: String,
}

/// What the continuous reconcile finds.
#[derive(Clone, Debug)]
pub struct StockMetrics {
    drift: Family<OfItem, Gauge>,
    left: Family<OfItem, Gauge>,
    drifting: ByPartition,
    reconciled_at: SecondsByPartition,
    failures: Family<OfPartition, Counter>,
}

impl StockMetrics {
    pub(super) fn new(register: &mut Register) -> Self {
        const OF_ITEM: &[&str] = &["partition", "sale", "sku"];
        const OF: &[&str] = &["partition"];
        Self {
            drift: register.add(
                "stock_drift_units",
                OF_ITEM,
                "Units in Redis that Postgres does not know of; negative: units that nobody can buy; 0 is the only good \
                 value",
                Family::default(),
            ),
            left: register.add(
                "stock_left_units",
                OF_ITEM,
                "Units left in Redis, as the last reconcile saw them",
                Family::default(),
            ),
            drifting: register.add(
                "stock_drifting_items",
                OF,
                "Items whose stock in Redis is not what Postgres computes, or is missing; 0 is the only good value",
                Family::default(),
            ),
            reconciled_at: register.add(
                "reconcile_timestamp_seconds",
                OF,
                "When the last reconcile gave an answer, in seconds since the Unix epoch",
                Family::<OfPartition, Gauge<f64, AtomicU64>>::default(),
            ),
            failures: register.add("reconcile_failures", OF, "Reconciles that gave no answer", Family::default()),
        }
    }

    /// A reconcile gave no answer.
    pub fn failed(&self, partition: Partition) {
        self.failures.get_or_create(&partition.into()).inc();
    }

    /// Begins to export the items of a partition; they are forgotten when what is returned is dropped.
    pub fn export(&self, partition: Partition) -> ExportedItems {
        ExportedItems { metrics: self.clone(), partition, items: Vec::new() }
    }
}

/// The items of a partition that this process is keeper of.
#[derive(Debug)]
pub struct ExportedItems {
    metrics: StockMetrics,
    partition: Partition,
    items: Vec<OfItem>,
}

impl ExportedItems {
    /// Replaces what is exported by the balances of a whole reconcile, `now` in seconds since the Unix epoch.
    pub fn replace(&mut self, balances: &[Balance], now: f64) {
        let good = balances.iter().filter(|balance| balance.is_good());
        let drifting = balances.iter().filter(|balance| !balance.is_good());
        let count = drifting.clone().count();
        let mut items = Vec::with_capacity(balances.len().min(ITEMS_MAX));
        for balance in drifting.chain(good).take(ITEMS_MAX) {
            let item = OfItem {
                partition: self.partition.number(),
                sale: balance.sale.to_string(),
                sku: balance.sku.to_string(),
            };
            self.metrics.drift.get_or_create(&item).set(balance.drift());
            match balance.redis {
                Some(units) => drop(self.metrics.left.get_or_create(&item).set(units)),
                None => drop(self.metrics.left.remove(&item)),
            }
            items.push(item);
        }
        let kept: std::collections::HashSet<&OfItem> = items.iter().collect();
        for gone in self.items.iter().filter(|item| !kept.contains(item)) {
            self.metrics.remove(gone);
        }
        self.items = items;
        let of = self.partition.into();
        self.metrics.drifting.get_or_create(&of).set(i64::try_from(count).unwrap_or(i64::MAX));
        self.metrics.reconciled_at.get_or_create(&of).set(now);
    }
}

impl StockMetrics {
    fn remove(&self, item: &OfItem) {
        self.drift.remove(item);
        self.left.remove(item);
    }
}

impl Drop for ExportedItems {
    fn drop(&mut self) {
        self.items.iter().for_each(|item| self.metrics.remove(item));
        self.metrics.drifting.remove(&self.partition.into());
        self.metrics.reconciled_at.remove(&self.partition.into());
    }
}

#[cfg(test)]
mod tests {
    use crate::log::EntryId;
    use crate::metrics::Metrics;
    use crate::partition::Partition;
    use crate::reconcile::{Account, Balance};

    fn balance(sku: &str, redis: Option<i64>) -> Balance {
        Balance {
            sale: "demo".parse().unwrap(),
            sku: sku.parse().unwrap(),
            position: EntryId::ZERO,
            account: Account { allotted: 5, ..Account::default() },
            redis,
            aggregates: None,
        }
    }

    #[test]
    fn what_drifts_is_shown_first_and_what_is_not_ours_any_more_is_not_shown() {
        let metrics = Metrics::new();
        let mut items = metrics.stock.export(Partition::new(2));
        let mut balances: Vec<Balance> = (0..1500).map(|i| balance(&format!("S-{i}"), Some(5))).collect();
        balances[1400].redis = Some(7);
        balances[1401].redis = None;
        items.replace(&balances, 1.0);
        let text = metrics.text();
        let has = |text: &str, line: &str| text.lines().any(|found| found == line);
        assert!(has(&text, "doorbuster_stock_drift_units{partition=\"2\",sale=\"demo\",sku=\"S-1400\"} 2"));
        assert!(has(&text, "doorbuster_stock_drift_units{partition=\"2\",sale=\"demo\",sku=\"S-1401\"} -5"));
        assert!(!text.contains("stock_left_units{partition=\"2\",sale=\"demo\",sku=\"S-1401\"}"));
        assert_eq!(text.matches("stock_drift_units{").count(), 1000);
        assert!(has(&text, "doorbuster_stock_drifting_items{partition=\"2\"} 2"));

        items.replace(&[balance("S-1", Some(5))], 2.0);
        let text = metrics.text();
        assert_eq!(text.matches("stock_drift_units{").count(), 1);
        assert!(has(&text, "doorbuster_stock_drifting_items{partition=\"2\"} 0"));
        drop(items);
        let text = metrics.text();
        assert!(!text.contains("{partition=\"2\""), "{text}");
    }
}
