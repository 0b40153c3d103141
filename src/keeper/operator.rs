//! Openings that an operator asks for.

use crate::dead_letters::Operator;
use crate::incidents;
use crate::log::EntryId;
use crate::persist::Applied;
use crate::postgres::PgError;

use super::lock::KeeperLock;
use super::memory::Memory;
use super::open_error::OpenError;
use super::opening::{OpenKind, Report};
use super::{Keeper, ProgressSink};

impl Keeper {
    /// Rebuilds Redis from Postgres and opens the partition: takes the lock from whoever has it, drains the log, replaces
    /// all that Redis holds, and leaves the partition to the next keeper.
    ///
    /// `gap_accepted_by`: also where entries between the watermark and the beginning of the log exist nowhere. What the
    /// log still holds is drained; what it lost stays lost, and an incident says who gave it up.
    ///
    /// # Errors
    /// [`OpenError`]; then the partition stays closed until a keeper opens it.
    pub async fn rebuild_as_operator(
        &self,
        gap_accepted_by: Option<&Operator>,
        progress: ProgressSink<'_>,
    ) -> Result<Report, OpenError> {
        let lock = KeeperLock::take_over(&self.pool, self.partition).await?;
        let memory = Memory::default();
        let opened = self.open(&lock, &memory, OpenKind::Rebuild { gap_accepted_by }, progress).await?;
        self.end_in_order(&memory).await;
        Ok(opened.report)
    }
    /// Says, before anything is replaced, who gave up what. Once for each gap, however often the opening is tried.
    pub(super) async fn report_given_up(
        &self,
        by: &Operator,
        gaps: &[(EntryId, EntryId)],
        drained: &Applied,
        lost: u64,
    ) -> Result<(), OpenError> {
        let db = self.pool.get().await.map_err(PgError::from)?;
        for (persisted, first) in gaps {
            let subject = format!("{} {persisted} to {first}", self.partition);
            let detail = format!(
                "{} gave up what the log held between {persisted} and {first}: {lost} entries are known to be lost since \
                 the last opening; of what is left {} orders and {} changes of stock were persisted",
                by.as_str(),
                drained.new_orders,
                drained.new_ledger_rows,
            );
            let raised = incidents::raise(&db, "entries_lost", self.partition, &subject, &detail).await;
            raised.map_err(PgError::from)?;
        }
        Ok(())
    }
}
