//! What is known of a dead letter.

use deadpool_postgres::Transaction;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use tokio_postgres::Row;

use crate::log::{EntryAddress, EntryId, LogEntry, RawEntry};
use crate::order_id::OrderId;
use crate::partition::Partition;
use crate::postgres::{PgError, PgPool};

use super::{DeadLetterError, Operator};

const LIST: &str = include_str!("../../sql/dead_letters/list.sql");
pub(super) const ONE: &str = include_str!("../../sql/dead_letters/one.sql");

/// An entry that could not be persisted.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// Where the entry stood.
    pub address: EntryAddress,
    /// The entry itself.
    pub raw: RawEntry,
    /// The sale, where the entry could be read when it was found.
    pub sale: Option<String>,
    /// The units that stay counted for it, as `{"sku": units}`.
    pub counted: Option<Value>,
    /// Why it could not be persisted, the last time.
    pub error: String,
    /// When that was first so.
    pub found_at: Timestamp,
    /// How often an operator has tried again in vain.
    pub retries: i32,
    /// When that was last so.
    pub tried_at: Option<Timestamp>,
    /// How it ended; `None` while it is open.
    pub ended: Option<Ended>,
}

/// How a letter ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Ended {
    /// When.
    pub at: Timestamp,
    /// Who ended it.
    pub by: String,
    /// How.
    pub outcome: Outcome,
    /// Why, where it was dropped.
    pub reason: Option<String>,
}

/// How a letter can end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It was persisted after all.
    Retried,
    /// It was given up; its units are on sale again.
    Dropped,
}

impl Outcome {
    /// The word for it in Postgres.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Retried => "retried",
            Self::Dropped => "dropped",
        }
    }
}

/// Which letters to list.
#[derive(Clone, Copy, Debug, Default)]
pub struct LetterQuery {
    /// Those of one partition; `None` for all.
    pub partition: Option<Partition>,
    /// Also those that were ended.
    pub ended: bool,
    /// At most so many; `None` for all.
    pub limit: Option<u32>,
}

impl DeadLetter {
    fn read(row: &Row) -> Option<Self> {
        let partition = Partition::new(u8::try_from(row.get::<_, i16>(0)).ok()?);
        let entry = EntryId::from_sql(row.get(1), row.get(2))?;
        let outcome = match row.get::<_, Option<&str>>(12) {
            Some("dropped") => Some(Outcome::Dropped),
            Some(_) => Some(Outcome::Retried),
            None => None,
        };
        let ended = outcome.map(|outcome| Ended {
            at: row.get::<_, Option<Timestamp>>(10).unwrap_or_default(),
            by: row.get::<_, Option<String>>(11).unwrap_or_default(),
            outcome,
            reason: row.get(13),
        });
        Some(Self {
            address: EntryAddress::new(partition, entry),
            raw: RawEntry::from_fields(entry, row.get(3)),
            sale: row.get(4),
            counted: row.get(5),
            error: row.get(6),
            found_at: row.get(7),
            retries: row.get(8),
            tried_at: row.get(9),
            ended,
        })
    }

    /// The id of the order that it holds, where it can be read as one.
    pub fn order(&self) -> Option<OrderId> {
        match self.raw.decode() {
            Ok(LogEntry::Order(order)) => {
                Some(OrderId::new(self.address.entry, self.address.partition, order.mark))
            }
            _ => None,
        }
    }
}

/// Letters, oldest first.
///
/// # Errors
/// [`PgError`].
pub async fn list(pool: &PgPool, query: LetterQuery) -> Result<Vec<DeadLetter>, PgError> {
    let db = pool.get().await?;
    let partition = query.partition.map(Partition::to_sql);
    let rows = db.query(LIST, &[&partition, &query.ended, &query.limit.map(i64::from)]).await?;
    Ok(rows.iter().filter_map(DeadLetter::read).collect())
}

/// One letter.
///
/// # Errors
/// [`DeadLetterError::NotFound`], or Postgres.
pub async fn find(pool: &PgPool, address: EntryAddress) -> Result<DeadLetter, DeadLetterError> {
    let db = pool.get().await.map_err(PgError::from)?;
    let (ms, seq) = (address.entry.ms_sql(), address.entry.seq_sql());
    let row = db.query_opt(ONE, &[&address.partition.to_sql(), &ms, &seq]).await?;
    read_named(row, address)
}

/// One letter, which nobody else ends before the transaction does.
pub(super) async fn lock(tx: &Transaction<'_>, address: EntryAddress) -> Result<DeadLetter, DeadLetterError> {
    let (ms, seq) = (address.entry.ms_sql(), address.entry.seq_sql());
    let row = tx.query_opt(&format!("{ONE}FOR UPDATE"), &[&address.partition.to_sql(), &ms, &seq]).await?;
    read_named(row, address)
}

/// The letter, if it is the one that was named: an order's id names one entry of one history.
fn read_named(row: Option<Row>, address: EntryAddress) -> Result<DeadLetter, DeadLetterError> {
    row.as_ref()
        .and_then(DeadLetter::read)
        .filter(|letter| address.mark.is_none() || letter.order().map(OrderId::mark) == address.mark)
        .ok_or(DeadLetterError::NotFound(address))
}

/// Ends a letter that [`lock`] has locked.
pub(super) async fn end(
    tx: &Transaction<'_>,
    letter: &DeadLetter,
    outcome: Outcome,
    by: &Operator,
    reason: Option<&str>,
) -> Result<(), DeadLetterError> {
    let entry = letter.address.entry;
    tx.execute(
        "UPDATE dead_letters SET ended_at = now(), ended_by = $4, outcome = $5, reason = $6
         WHERE partition = $1 AND entry_ms = $2 AND entry_seq = $3 AND ended_at IS NULL",
        &[
            &letter.address.partition.to_sql(),
            &entry.ms_sql(),
            &entry.seq_sql(),
            &by.as_str(),
            &outcome.as_str(),
            &reason,
        ],
    )
    .await?;
    Ok(())
}
