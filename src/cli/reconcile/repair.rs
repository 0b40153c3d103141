//! `doorbuster reconcile --repair`: Redis made anew from Postgres, where it drifts.

use std::time::Instant;

use super::{Desk, PartitionReport, Report};
use crate::cli::CliError;
use crate::cli::servers::operators_keeper;
use crate::partition::Partition;
use crate::reconcile::Balance;

/// The partitions whose Redis does not hold what Postgres computes. What is wrong within Postgres a rebuild does not
/// mend.
pub(super) fn repairable(report: &Report) -> Vec<Partition> {
    let drifts = |one: &&PartitionReport| one.balances.iter().flatten().any(Balance::is_off_in_redis);
    report.partitions.iter().filter(drifts).map(|one| one.partition).collect()
}

/// What a repair of these partitions does, as a question.
pub(super) fn question(partitions: &[Partition]) -> String {
    let list = partitions.iter().map(Partition::to_string).collect::<Vec<_>>().join(", ");
    format!(
        "{list}: claims are refused while redis is rebuilt from postgres; what the log holds is persisted first"
    )
}

impl Desk<'_> {
    /// Fences a partition, rebuilds it, and opens it. A keeper that was at work begins anew behind it.
    pub(super) async fn repair(&self, partition: Partition) -> Result<(), CliError> {
        let begun = Instant::now();
        let keeper =
            operators_keeper(&self.reconciler.redis, &self.reconciler.pool, self.settings, partition);
        keeper
            .rebuild_as_operator(None, &|_| {})
            .await
            .map_err(|error| CliError::NotRebuilt { partition, error: Box::new(error) })?;
        eprintln!("partition {partition}: rebuilt from postgres and opened in {:.1?}", begun.elapsed());
        Ok(())
    }
}
