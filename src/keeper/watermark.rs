//! The persisted watermark of a partition, in Postgres.

use crate::log::EntryId;
use crate::partition::Partition;
use crate::postgres::{PgError, PgPool};

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

    /// Raises it; never lowers it, and only for the keeper of this epoch.
    pub async fn raise(&self, pool: &PgPool, partition: Partition, epoch: i64) -> Result<(), PgError> {
        let db = pool.get().await?;
        db.execute(
            "UPDATE partitions SET watermark_ms = $3, watermark_seq = $4, watermark_mark = $5
             WHERE partition = $1 AND epoch = $2 AND (watermark_ms, watermark_seq) < ($3, $4)",
            &[&partition.to_sql(), &epoch, &self.entry.ms_sql(), &self.entry.seq_sql(), &self.mark],
        )
        .await?;
        Ok(())
    }
}
