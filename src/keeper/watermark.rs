//! The persisted watermark of a partition, in Postgres.

use crate::log::EntryId;
use crate::partition::Partition;
use crate::postgres::{PgError, PgPool};

const RAISE: &str = include_str!("../../sql/keeper/raise_watermark.sql");

/// Every entry at or below `entry` is in Postgres.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watermark {
    /// Where.
    pub entry: EntryId,
    /// The mark of the entry there: two histories may share a position, never this.
    pub mark: String,
}

impl Watermark {
    /// Reads it.
    pub async fn read(pool: &PgPool, partition: Partition) -> Result<Self, PgError> {
        let db = pool.get().await?;
        let row = db
            .query_one(
                "SELECT watermark_ms, watermark_seq, watermark_mark FROM partitions WHERE partition = $1",
                &[&partition.to_sql()],
            )
            .await?;
        let entry = EntryId::from_sql(row.get(0), row.get(1)).unwrap_or(EntryId::ZERO);
        Ok(Self { entry, mark: row.get(2) })
    }

    /// Raises it from this one, which its keeper wrote or read last, to `next`; never lowers it. `false`: the row says
    /// otherwise. Another keeper is at work, or Postgres is another one, or came back older: what lies between is not
    /// known to be in it.
    pub async fn raise(
        &self,
        next: &Self,
        pool: &PgPool,
        partition: Partition,
        epoch: i64,
    ) -> Result<bool, PgError> {
        if next.entry <= self.entry {
            return Ok(true);
        }
        let db = pool.get().await?;
        let raised = db
            .execute(
                RAISE,
                &[
                    &partition.to_sql(),
                    &epoch,
                    &self.entry.ms_sql(),
                    &self.entry.seq_sql(),
                    &self.mark,
                    &next.entry.ms_sql(),
                    &next.entry.seq_sql(),
                    &next.mark,
                ],
            )
            .await?;
        Ok(raised == 1)
    }
}
