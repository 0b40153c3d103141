//! What became of log entries in Postgres.

use std::collections::HashMap;
use std::fmt;

use uuid::Uuid;

use crate::log::{EntryAddress, EntryId, LogEntry, RawEntry};
use crate::order_id::OrderId;
use crate::partition::Partition;
use crate::postgres::{PgError, PgPool};

const FATES: &str = include_str!("../../sql/log/fates.sql");

/// What Postgres has made of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// An order in this state, a dead letter, or an applied change of stock.
    Stored(String),
    /// Not there yet.
    Pending,
    /// It should be there, since Postgres says that everything up to here is. Look into it.
    Missing,
    /// An entry that leaves nothing behind, such as an opening.
    Nothing,
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stored(what) => what,
            Self::Pending => "pending",
            Self::Missing => "missing",
            Self::Nothing => "-",
        })
    }
}

/// The fate of each entry, in their order.
///
/// # Errors
/// [`PgError`].
pub async fn fates(pool: &PgPool, entries: &[(EntryAddress, RawEntry)]) -> Result<Vec<Fate>, PgError> {
    let decoded: Vec<Option<LogEntry>> = entries.iter().map(|(_, raw)| raw.decode().ok()).collect();
    let order_of = |(address, _): &(EntryAddress, _), entry: &Option<LogEntry>| match entry {
        Some(LogEntry::Order(order)) => {
            Some(OrderId::new(address.entry, address.partition, order.mark).to_uuid())
        }
        _ => None,
    };
    let partitions: Vec<i16> = entries.iter().map(|(address, _)| address.partition.to_sql()).collect();
    let ms: Vec<i64> = entries.iter().map(|(address, _)| address.entry.ms_sql()).collect();
    let seq: Vec<i64> = entries.iter().map(|(address, _)| address.entry.seq_sql()).collect();
    let orders: Vec<Option<Uuid>> =
        entries.iter().zip(&decoded).map(|(entry, what)| order_of(entry, what)).collect();

    let db = pool.get().await?;
    // The watermark first: what lies below it was there before the second question.
    let watermarks = db.query("SELECT partition, watermark_ms, watermark_seq FROM partitions", &[]).await?;
    let watermarks: HashMap<i16, EntryId> = watermarks
        .iter()
        .filter_map(|row| Some((row.get(0), EntryId::from_sql(row.get(1), row.get(2))?)))
        .collect();
    let rows = db.query(FATES, &[&partitions, &ms, &seq, &orders]).await?;
    let stored: HashMap<EntryAddress, String> = rows
        .iter()
        .filter_map(|row| {
            let partition = Partition::new(u8::try_from(row.get::<_, i16>(0)).ok()?);
            let entry = EntryId::from_sql(row.get(1), row.get(2))?;
            Some((EntryAddress::new(partition, entry), row.get(3)))
        })
        .collect();
    let fate_of = |((address, _), entry): (&(EntryAddress, RawEntry), &Option<LogEntry>)| {
        let persisted =
            watermarks.get(&address.partition.to_sql()).is_some_and(|mark| address.entry <= *mark);
        let place = EntryAddress { mark: None, ..*address };
        match (stored.get(&place).cloned(), entry) {
            (Some(what), _) => Fate::Stored(what),
            (None, Some(LogEntry::Sale(_) | LogEntry::Opening { .. } | LogEntry::Confirmation { .. })) => {
                Fate::Nothing
            }
            (None, _) if persisted => Fate::Missing,
            (None, _) => Fate::Pending,
        }
    };
    Ok(entries.iter().zip(&decoded).map(fate_of).collect())
}
