//! What a reconcile found, for people and for scripts.

use std::io::{self, Write};

use comfy_table::{Cell, CellAlignment, Table, presets};
use serde_json::{Value, json};

use crate::cli::CliError;
use crate::partition::Partition;
use crate::reconcile::{Balance, ReconcileError};

/// What was found in every partition.
#[derive(Debug)]
pub struct Report {
    /// In their order.
    pub partitions: Vec<PartitionReport>,
}

/// What was found in one partition.
#[derive(Debug)]
pub struct PartitionReport {
    /// Which.
    pub partition: Partition,
    /// Its items, or why nothing is known of them.
    pub balances: Result<Vec<Balance>, ReconcileError>,
}

impl Report {
    /// Every item of which something is known.
    pub fn balances(&self) -> impl Iterator<Item = (Partition, &Balance)> {
        self.partitions
            .iter()
            .flat_map(|one| one.balances.iter().flatten().map(|balance| (one.partition, balance)))
    }

    /// Whether the items of a partition do not balance.
    pub fn drifts(&self) -> bool {
        self.balances().any(|(_, balance)| !balance.is_good())
    }

    /// What the exit code says.
    ///
    /// # Errors
    /// [`CliError::Drift`], which outweighs [`CliError::NotReconciled`].
    pub fn verdict(&self) -> Result<(), CliError> {
        let items = self.balances().filter(|(_, balance)| !balance.is_good()).count();
        let unknown = self.partitions.iter().filter(|one| one.balances.is_err()).count();
        match (items, unknown) {
            (0, 0) => Ok(()),
            (0, _) => Err(CliError::NotReconciled(unknown)),
            _ => Err(CliError::Drift(items)),
        }
    }

    pub(super) fn write(&self, out: &mut impl Write, as_json: bool) -> io::Result<()> {
        if as_json {
            serde_json::to_writer_pretty(&mut *out, &self.json())?;
            return writeln!(out);
        }
        self.write_table(out)
    }

    fn json(&self) -> Value {
        let items: Vec<Value> =
            self.balances().map(|(partition, balance)| item(partition, balance)).collect();
        let failed = self.partitions.iter().filter_map(|one| {
            let error = one.balances.as_ref().err()?;
            Some(json!({ "partition": one.partition.number(), "error": error.to_string() }))
        });
        json!({ "items": items, "not_reconciled": failed.collect::<Vec<_>>(), "drift": self.drifts() })
    }

    fn write_table(&self, out: &mut impl Write) -> io::Result<()> {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_header([
            "SALE",
            "SKU",
            "PARTITION",
            "ALLOTTED",
            "SOLD",
            "IN FLIGHT",
            "RETURNING",
            "DEAD",
            "REDIS",
            "DRIFT",
        ]);
        for (partition, balance) in self.balances() {
            let account = &balance.account;
            let redis = balance.redis.map_or_else(|| "-".to_owned(), |units| units.to_string());
            let mut row = vec![Cell::new(&balance.sale), Cell::new(&balance.sku)];
            let units = [account.allotted, account.sold, account.in_flight, account.returning, account.dead];
            let numbers = [partition.number().to_string()]
                .into_iter()
                .chain(units.map(|units| units.to_string()))
                .chain([redis, balance.drift().to_string()]);
            row.extend(numbers.map(|number| Cell::new(number).set_alignment(CellAlignment::Right)));
            table.add_row(row);
        }
        writeln!(out, "{table}")?;
        for (partition, balance) in self.balances() {
            for remark in remarks(balance) {
                writeln!(out, "{} {} in partition {partition}: {remark}", balance.sale, balance.sku)?;
            }
        }
        for error in self.partitions.iter().filter_map(|one| one.balances.as_ref().err()) {
            writeln!(out, "not reconciled: {error}")?;
        }
        Ok(())
    }
}

/// What the numbers of the table do not show.
fn remarks(balance: &Balance) -> Vec<String> {
    let mut remarks = Vec::new();
    if balance.is_missing() {
        remarks.push("redis has no stock of it at all: claims find it closed".to_owned());
    }
    let aggregates = balance.aggregates.unwrap_or_default();
    if aggregates.sold_drift != 0 {
        let by = aggregates.sold_drift;
        remarks.push(format!("sale_stock.sold differs by {by} from its active orders in postgres"));
    }
    if aggregates.allotted_drift != 0 {
        let by = aggregates.allotted_drift;
        remarks.push(format!("sale_stock.allotted differs by {by} from its allotments in postgres"));
    }
    if aggregates.returning_drift != 0 {
        let by = aggregates.returning_drift;
        remarks
            .push(format!("its open returns differ by {by} from what cancelled orders have not given back"));
    }
    remarks
}

fn item(partition: Partition, balance: &Balance) -> Value {
    let aggregates = balance.aggregates.unwrap_or_default();
    json!({
        "sale": balance.sale.as_str(),
        "sku": balance.sku.as_str(),
        "partition": partition.number(),
        "position": balance.position.to_string(),
        "allotted": balance.account.allotted,
        "sold": balance.account.sold,
        "in_flight": balance.account.in_flight,
        "returning": balance.account.returning,
        "dead": balance.account.dead,
        "expected": balance.account.expected(),
        "redis": balance.redis,
        "drift": balance.drift(),
        "missing": balance.is_missing(),
        "sold_drift": aggregates.sold_drift,
        "allotted_drift": aggregates.allotted_drift,
        "returning_drift": aggregates.returning_drift,
    })
}
