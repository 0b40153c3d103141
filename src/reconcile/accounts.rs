//! What Postgres knows up to the positions of snapshots.

use std::collections::BTreeMap;

use tokio_postgres::types::ToSql;
use tokio_postgres::{GenericClient, Row};
use uuid::Uuid;

use super::{Account, Aggregates, ReconcileError, Snapshot};
use crate::catalogue::{SaleId, Sku};
use crate::log::EntryId;
use crate::order_id::OrderId;
use crate::partition::Partition;

const ACCOUNTS: &str = include_str!("../../sql/reconcile/accounts.sql");
const FULL_ACCOUNTS: &str = include_str!("../../sql/reconcile/full_accounts.sql");

/// What Postgres knows of the items of some sales.
pub(super) struct Accounts {
    /// The partition's epoch when that was read.
    pub epoch: Option<i64>,
    pub of_sales: BTreeMap<SaleId, AccountsOfSale>,
}

#[derive(Default)]
pub(super) struct AccountsOfSale {
    /// Its keys may be gone from Redis.
    pub retired: bool,
    pub items: BTreeMap<Sku, (Account, Option<Aggregates>)>,
}

/// The column that only the full accounts have.
const ALLOTTED_DRIFT: usize = 9;

/// Reads them from aggregates.
pub(super) async fn read(
    db: &impl GenericClient,
    partition: Partition,
    snapshots: &BTreeMap<SaleId, Snapshot>,
) -> Result<Accounts, ReconcileError> {
    let params = Params::of(partition, snapshots);
    // Not prepared for later: a plan that does not know the positions would read every order.
    let least: [&(dyn ToSql + Sync); 2] = [&params.least_in_flight, &params.least_ms];
    Accounts::from_rows(&db.query(ACCOUNTS, &[&params.shared()[..], &least].concat()).await?)
}

/// Sums them up from every order and every change of stock, and holds the aggregates against that. `db` must see one
/// moment of the database in both statements.
pub(super) async fn read_fully(
    db: &impl GenericClient,
    partition: Partition,
    snapshots: &BTreeMap<SaleId, Snapshot>,
) -> Result<Accounts, ReconcileError> {
    let from_aggregates = read(db, partition, snapshots).await?;
    let rows = db.query(FULL_ACCOUNTS, &Params::of(partition, snapshots).shared()).await?;
    let mut accounts = Accounts::from_rows(&rows)?;
    for (sale, of_sale) in &mut accounts.of_sales {
        for (sku, (account, aggregates)) in &mut of_sale.items {
            let other = from_aggregates.of_sales.get(sale).and_then(|of_sale| of_sale.items.get(sku));
            let (Some((other, _)), Some(aggregates)) = (other, aggregates) else { continue };
            aggregates.sold_drift = other.sold - account.sold;
            aggregates.returning_drift = other.returning - account.returning;
        }
    }
    Ok(accounts)
}

struct Params<'a> {
    partition: i16,
    sales: Vec<&'a str>,
    ms: Vec<i64>,
    seq: Vec<i64>,
    last_orders: Vec<Uuid>,
    in_flight_from: Vec<Uuid>,
    least_in_flight: Option<Uuid>,
    least_ms: Option<i64>,
}

impl<'a> Params<'a> {
    fn of(partition: Partition, snapshots: &'a BTreeMap<SaleId, Snapshot>) -> Self {
        let highest = |entry: EntryId| OrderId::highest_of(entry, partition).to_uuid();
        let in_flight = |of: &Snapshot| match of.unsettled.filter(|&entry| entry <= of.position) {
            Some(entry) => OrderId::lowest_of(entry, partition).to_uuid(),
            None => highest(of.position),
        };
        let in_flight_from: Vec<Uuid> = snapshots.values().map(in_flight).collect();
        let ms: Vec<i64> = snapshots.values().map(|of| of.position.ms_sql()).collect();
        Self {
            partition: partition.to_sql(),
            sales: snapshots.keys().map(SaleId::as_str).collect(),
            seq: snapshots.values().map(|of| of.position.seq_sql()).collect(),
            last_orders: snapshots.values().map(|of| highest(of.position)).collect(),
            least_in_flight: in_flight_from.iter().min().copied(),
            least_ms: ms.iter().min().copied(),
            in_flight_from,
            ms,
        }
    }

    fn shared(&self) -> [&(dyn ToSql + Sync); 6] {
        [&self.partition, &self.sales, &self.ms, &self.seq, &self.last_orders, &self.in_flight_from]
    }
}

impl Accounts {
    fn from_rows(rows: &[Row]) -> Result<Self, ReconcileError> {
        let mut accounts = Self { epoch: None, of_sales: BTreeMap::new() };
        for row in rows {
            let (Ok(sale), Ok(sku)) = (row.get::<_, &str>(0).parse(), row.get::<_, &str>(1).parse()) else {
                continue;
            };
            accounts.epoch = Some(row.get(7));
            let of_sale: &mut AccountsOfSale = accounts.of_sales.entry(sale).or_default();
            of_sale.retired = row.get(8);
            let account = Account {
                allotted: row.get(2),
                sold: row.get(3),
                in_flight: row.get(4),
                returning: row.get(5),
                dead: row.get(6),
            };
            let aggregates = (row.len() > ALLOTTED_DRIFT)
                .then(|| Aggregates { allotted_drift: row.get(ALLOTTED_DRIFT), ..Aggregates::default() });
            of_sale.items.insert(sku, (account, aggregates));
        }
        Ok(accounts)
    }
}
