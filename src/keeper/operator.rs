//! Openings that an operator asks for.

use super::lock::KeeperLock;
use super::memory::Memory;
use super::open_error::OpenError;
use super::opening::{OpenKind, Report};
use super::{Keeper, ProgressSink};

impl Keeper {
    /// Rebuilds Redis from Postgres and opens the partition: takes the lock from whoever has it, drains the log, replaces
    /// all that Redis holds, and leaves the partition to the next keeper.
    ///
    /// `accept_gap`: also where entries between the watermark and the beginning of the log exist nowhere. What the log
    /// still holds is drained; what it lost stays lost.
    ///
    /// # Errors
    /// [`OpenError`]; then the partition stays closed until a keeper opens it.
    pub async fn rebuild_as_operator(
        &self,
        accept_gap: bool,
        progress: ProgressSink<'_>,
    ) -> Result<Report, OpenError> {
        let lock = KeeperLock::take_over(&self.pool, self.partition).await?;
        let memory = Memory::default();
        let opened = self.open(&lock, &memory, OpenKind::Rebuild { accept_gap }, progress).await?;
        self.end_in_order(&memory).await;
        Ok(opened.report)
    }
}
