//! One reconcile of one partition: snapshot, wait, compare.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tokio_postgres::IsolationLevel;

use super::accounts::{self, Accounts, AccountsOfSale};
use super::{Balance, LogSample, ReconcileError, Snapshot};
use crate::catalogue::SaleId;
use crate::log::EntryId;
use crate::partition::Partition;
use crate::postgres::{PgError, PgPool};
use crate::redis::{Redis, StampedScripts};

/// Sales that one reconcile looks at, at most.
pub const SALES_MAX: i64 = 1000;
const SALES: &str = include_str!("../../sql/reconcile/sales.sql");
/// How often the log is looked at while a position waits to be persisted.
const POLL: Duration = Duration::from_millis(25);

/// How far Postgres is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Its aggregates are taken as they stand: cheap, however many orders there are.
    Aggregates,
    /// Every order is summed up, and the aggregates are held against that.
    Orders,
}

/// Reconciles partitions.
#[derive(Clone)]
pub struct Reconciler {
    /// Where the stock is.
    pub redis: Redis,
    /// What it is held against.
    pub pool: PgPool,
    /// How long what a snapshot counts may take to be persisted; `None`: as long as the partition stays open.
    pub patience: Option<Duration>,
    /// How far Postgres is believed.
    pub depth: Depth,
}

impl Reconciler {
    /// The balance of every item of one sale, or of all, in the partition that `scripts` are of.
    ///
    /// Changes nothing, and may be given up at any await. The opening must stay the same from the snapshot to the
    /// comparison, since a rebuild changes stock without an entry: the snapshot is stamped, and the statement that
    /// reads the accounts reads the epoch with them, which every opening raises before it does anything else.
    ///
    /// # Errors
    /// [`ReconcileError`]: nothing is known then.
    pub async fn check(
        &self,
        scripts: &StampedScripts,
        sale: Option<&SaleId>,
    ) -> Result<Vec<Balance>, ReconcileError> {
        let partition = scripts.stamp.partition;
        let mut snapshots = BTreeMap::new();
        for sale in self.sales(partition, sale).await? {
            let snapshot = Snapshot::take(&self.redis, scripts, &sale).await?;
            snapshots.insert(sale, snapshot);
        }
        let Some(last) = snapshots.values().map(|snapshot| snapshot.position).max() else {
            return Ok(Vec::new());
        };
        self.wait_persisted(scripts, last).await?;
        let accounts = self.accounts(partition, &snapshots).await?;
        if accounts.epoch.is_some_and(|epoch| epoch != scripts.stamp.epoch) {
            return Err(ReconcileError::Reopened(partition));
        }
        Ok(balances(snapshots, accounts))
    }

    async fn sales(&self, partition: Partition, one: Option<&SaleId>) -> Result<Vec<SaleId>, ReconcileError> {
        let db = self.pool.get().await.map_err(PgError::from)?;
        let rows = db.query(SALES, &[&partition.to_sql(), &one.map(SaleId::as_str), &SALES_MAX]).await?;
        Ok(rows.iter().filter_map(|row| row.get::<_, &str>(0).parse().ok()).collect())
    }

    async fn wait_persisted(
        &self,
        scripts: &StampedScripts,
        position: EntryId,
    ) -> Result<(), ReconcileError> {
        let begun = Instant::now();
        loop {
            let sample = LogSample::take(&self.redis, scripts).await?;
            if sample.is_persisted(position) {
                return Ok(());
            }
            let waited = begun.elapsed();
            if self.patience.is_some_and(|patience| waited >= patience) {
                let (partition, backlog) = (scripts.stamp.partition, sample.backlog);
                let oldest = sample.unsettled.unwrap_or(position);
                return Err(ReconcileError::NotPersisted { partition, position, oldest, backlog, waited });
            }
            tokio::time::sleep(POLL).await;
        }
    }

    async fn accounts(
        &self,
        partition: Partition,
        snapshots: &BTreeMap<SaleId, Snapshot>,
    ) -> Result<Accounts, ReconcileError> {
        let mut db = self.pool.get().await.map_err(PgError::from)?;
        match self.depth {
            Depth::Aggregates => accounts::read(&**db, partition, snapshots).await,
            Depth::Orders => {
                let isolated =
                    db.build_transaction().isolation_level(IsolationLevel::RepeatableRead).read_only(true);
                let tx = isolated.start().await?;
                // Sums over every order may take longer than any other statement.
                tx.batch_execute("SET LOCAL statement_timeout = 0").await?;
                accounts::read_fully(&*tx, partition, snapshots).await
            }
        }
    }
}

fn balances(snapshots: BTreeMap<SaleId, Snapshot>, mut accounts: Accounts) -> Vec<Balance> {
    let mut balances = Vec::new();
    for (sale, snapshot) in snapshots {
        let known = accounts.of_sales.remove(&sale).unwrap_or_default();
        // Retired meanwhile: its keys may have been removed before the snapshot.
        if known.retired && !snapshot.is_here {
            continue;
        }
        balances.extend(of_sale(&sale, snapshot, known));
    }
    balances
}

/// Every item that either side knows.
fn of_sale(sale: &SaleId, mut snapshot: Snapshot, known: AccountsOfSale) -> Vec<Balance> {
    let position = snapshot.position;
    let balance = |sku, (account, aggregates), redis| Balance {
        sale: sale.clone(),
        sku,
        position,
        account,
        redis,
        aggregates,
    };
    let mut balances: Vec<Balance> = known
        .items
        .into_iter()
        .map(|(sku, account)| {
            let redis = snapshot.stock.remove(&sku);
            balance(sku, account, redis)
        })
        .collect();
    // Stock of what the sale does not sell.
    balances
        .extend(snapshot.stock.into_iter().map(|(sku, units)| balance(sku, Default::default(), Some(units))));
    balances
}
