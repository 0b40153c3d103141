//! `doorbuster reconcile --repair`: Redis made anew from Postgres, where it drifts.

use std::io::{self, BufRead, IsTerminal, Write};
use std::time::Instant;

use super::{Desk, PartitionReport, Report};
use crate::cli::CliError;
use crate::gate::Gate;
use crate::keeper::Keeper;
use crate::metrics::Metrics;
use crate::node::keeper_options;
use crate::partition::Partition;
use crate::reconcile::Balance;

/// The partitions whose Redis does not hold what Postgres computes. What is wrong within Postgres a rebuild does not
/// mend.
pub(super) fn repairable(report: &Report) -> Vec<Partition> {
    let drifts = |one: &&PartitionReport| one.balances.iter().flatten().any(Balance::is_off_in_redis);
    report.partitions.iter().filter(drifts).map(|one| one.partition).collect()
}

/// Asks on the terminal, unless `--yes` has answered.
///
/// # Errors
/// [`CliError::NotConfirmed`].
pub(super) fn confirm(partitions: &[Partition], is_sure: bool) -> Result<(), CliError> {
    if is_sure {
        return Ok(());
    }
    let list = partitions.iter().map(Partition::to_string).collect::<Vec<_>>().join(", ");
    let warning = format!(
        "{list}: claims are refused while redis is rebuilt from postgres; what the log holds is persisted first."
    );
    if !io::stdin().is_terminal() {
        return Err(CliError::NotConfirmed(warning));
    }
    let mut err = io::stderr();
    write!(err, "{warning}\nRepair? [y/N] ")?;
    err.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(CliError::NotConfirmed("nothing was changed.".to_owned())),
    }
}

impl Desk<'_> {
    /// Fences a partition, rebuilds it, and opens it. A keeper that was at work begins anew behind it.
    pub(super) async fn repair(&self, partition: Partition) -> Result<(), CliError> {
        let begun = Instant::now();
        let redis = self.reconciler.redis.clone();
        let keeper = Keeper {
            partition,
            gate: Gate::watch(redis.clone(), partition),
            redis,
            pool: self.reconciler.pool.clone(),
            options: keeper_options(self.settings),
            metrics: Metrics::new(),
        };
        keeper
            .rebuild_as_operator(false, &|_| {})
            .await
            .map_err(|error| CliError::Repair { partition, error: Box::new(error) })?;
        eprintln!("partition {partition}: rebuilt from postgres and opened in {:.1?}", begun.elapsed());
        Ok(())
    }
}
