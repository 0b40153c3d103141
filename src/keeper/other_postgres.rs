//! A Postgres that comes back as another process: restarted, or with older data (a restored backup, a promoted replica
//! that was behind). What was settled since may be missing, and the log holds it.

use crate::log::{EntryId, last_generated, read_range};
use crate::persist::{Fence, Foreseen, persist_again};
use crate::postgres::PgError;

use super::judge::{Verdict, judge};
use super::lock::KeeperLock;
use super::memory::Memory;
use super::open_error::OpenError;
use super::opening::Opened;
use super::watermark::Watermark;
use super::{Keeper, drain};

impl Keeper {
    /// Whether the row is as this opening left it, in the Postgres where it left it.
    pub(super) async fn is_postgres_as_opened(&self, opened: &Opened) -> Result<bool, PgError> {
        let db = self.pool.get().await?;
        let row = db
            .query_opt(
                "SELECT epoch = $2 AND coalesce(postgres = postgres_identity(), false)
                 FROM partitions WHERE partition = $1",
                &[&self.partition.to_sql(), &opened.scripts.stamp.epoch],
            )
            .await?;
        Ok(row.is_some_and(|row| row.get(0)))
    }

    /// Brings another Postgres up to where the log is now, before the partition is closed for a new opening: after a long
    /// absence that takes a while, and buyers need not wait for it. From the watermark that this Postgres has, and under
    /// an epoch that no worker knows: nothing else moves that watermark.
    ///
    /// Only where the log goes on from there; else there is nothing that could be done with the partition open.
    pub(super) async fn catch_up(
        &self,
        opened: &Opened,
        lock: &KeeperLock,
        memory: &Memory,
    ) -> Result<(), OpenError> {
        let watermark = Watermark::read(&self.pool, self.partition).await?;
        if judge(&self.history(&watermark).await?) != Verdict::Intact {
            return Ok(());
        }
        let epoch = self.raise_epoch(opened.scripts.stamp.epoch, lock, memory).await?;
        let fence = Fence::new(self.partition, epoch);
        let keys = self.keys();
        // What comes after it is left to the opening.
        let end = last_generated(&self.redis, &keys).await?;
        let (mut next, mut reached): (EntryId, Option<Watermark>) = (watermark.entry.next(), None);
        // Workers have decided about some of these before, and buyers were told.
        let foreseen = Foreseen::read(&self.redis, &keys, next).await?;
        let mut new_orders = 0;
        while next <= end {
            let batch = read_range(&self.redis, &keys, next, drain::STEP).await?;
            let Some(last) = batch.last() else { break };
            next = last.id.next();
            let limit = self.options.postgres_timeout;
            for batch in batch.chunks(drain::STEP) {
                new_orders += persist_again(&self.pool, fence, batch, &foreseen, limit).await?.new_orders;
            }
            reached =
                Some(Watermark { entry: last.id, mark: String::from_utf8_lossy(last.mark()).into_owned() });
        }
        if let Some(reached) = reached {
            watermark.raise(&reached, &self.pool, self.partition, epoch).await?;
        }
        tracing::warn!(
            partition = %self.partition, from = %watermark.entry, new_orders,
            "postgres is another process: caught up with the log, opens anew"
        );
        Ok(())
    }
}
