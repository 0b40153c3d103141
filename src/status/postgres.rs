//! What Postgres says of the partitions.

use jiff::Timestamp;
use serde::Serialize;

use crate::catalogue::SaleId;
use crate::log::EntryId;
use crate::payment::waiting_payments;
use crate::postgres::{PartitionLock, PgError, PgPool};

const PARTITIONS: &str = include_str!("../../sql/status/partitions.sql");
const DATABASE: &str = include_str!("../../sql/status/database.sql");
/// Sales that are named, the newest first.
const SALES_MAX: i64 = 100;

/// One partition in Postgres.
#[derive(Clone, Debug, Serialize)]
pub struct InPostgres {
    /// Under which it was last opened.
    pub epoch: i64,
    /// When that began.
    pub opened_at: Option<Timestamp>,
    /// Every entry at or below it is in Postgres.
    pub watermark: EntryId,
    /// Who holds the keeper's lock.
    pub keeper: Option<Keeper>,
    /// Dead letters that nobody has ended.
    pub dead_letters: i64,
    /// Changes of stock that have not come back through the log.
    pub intents: i64,
    /// Age of the oldest of them.
    pub oldest_intent_ms: Option<i64>,
    /// What has happened although the engine went on, and nobody has acknowledged.
    pub incidents: i64,
    /// When the last of that was.
    pub last_incident_at: Option<Timestamp>,
}

/// The session that holds a partition's keeper lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Keeper {
    /// Process of the Postgres server that serves it.
    pub pid: i32,
    /// Where it comes from; `local` for a Unix socket.
    pub address: String,
    /// What it calls itself.
    pub application: String,
    /// Since when it is connected.
    pub connected_at: Option<Timestamp>,
}

/// What concerns all partitions.
#[derive(Clone, Debug, Serialize)]
pub struct InDatabase {
    /// Sales that are not retired.
    pub sales: i64,
    /// Those of them whose window is open and that are not paused or closed.
    pub sales_open: i64,
    /// Payments that somebody has to look at again.
    pub payments_open: i64,
    /// For how long the oldest of them stands as it does.
    pub oldest_payment_ms: Option<i64>,
    /// Deliveries to the outside that were given up.
    pub dead_deliveries: i64,
    /// Sales whose keys Redis holds, the newest first.
    #[serde(skip)]
    pub in_redis: Vec<SaleId>,
}

/// Asks.
pub(super) async fn ask(pool: &PgPool) -> Result<(InDatabase, Vec<(u8, InPostgres)>), PgError> {
    let waiting = waiting_payments(pool).await?;
    let db = pool.get().await?;
    let row = db.query_one(DATABASE, &[&SALES_MAX]).await?;
    let in_redis = row.get::<_, Vec<String>>(2).iter().filter_map(|sale| sale.parse().ok()).collect();
    let database = InDatabase {
        sales: row.get(0),
        sales_open: row.get(1),
        payments_open: waiting.iter().map(|state| state.payments).sum(),
        oldest_payment_ms: waiting.iter().map(|state| (state.oldest_s * 1000.0) as i64).max(),
        dead_deliveries: row.get(3),
        in_redis,
    };
    let rows = db.query(PARTITIONS, &[&PartitionLock::Keeper.class()]).await?;
    let each = rows.iter().filter_map(|row| {
        let keeper = row.get::<_, Option<i32>>(5).map(|pid| Keeper {
            pid,
            address: row.get(6),
            application: row.get(7),
            connected_at: row.get(8),
        });
        let found = InPostgres {
            epoch: row.get(1),
            opened_at: row.get(2),
            watermark: EntryId::from_sql(row.get(3), row.get(4)).unwrap_or(EntryId::ZERO),
            keeper,
            dead_letters: row.get(9),
            intents: row.get(10),
            oldest_intent_ms: row.get(11),
            incidents: row.get(12),
            last_incident_at: row.get(13),
        };
        Some((u8::try_from(row.get::<_, i16>(0)).ok()?, found))
    });
    Ok((database, each.collect()))
}
