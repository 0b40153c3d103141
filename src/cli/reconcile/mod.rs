//! `doorbuster reconcile`: Redis held against Postgres, from a terminal, beside running nodes.

mod repair;
mod report;

use std::io::{self, Write};
use std::time::Duration;

use clap::Args;
use futures_util::future::join_all;

use super::CliError;
use super::confirm::confirm;
use super::runtime::block_on;
use crate::catalogue::SaleId;
use crate::config::Settings;
use crate::gate::Gate;
use crate::partition::Partition;
use crate::postgres::{PgError, PgPool, connect_pool};
use crate::reconcile::{Balance, Depth, ReconcileError, Reconciler};
use crate::redis::{Redis, RedisError, RedisOptions};
use crate::telemetry;

pub use report::{PartitionReport, Report};

/// How long a partition may take to be found open.
const OPEN_WAIT: Duration = Duration::from_secs(3);
/// Openings that a reconcile may meet.
const TRIES_MAX: usize = 3;
/// Commands that may wait for the connection to Redis.
const QUEUE_MAX: usize = 256;

/// `doorbuster reconcile`
#[derive(Debug, Clone, Args)]
#[command(after_help = "Exit codes: 0 Redis holds what Postgres computes; 3 drift; 1 it could not be told.")]
pub struct ReconcileCommand {
    /// Only this sale
    #[arg(long, value_name = "ID")]
    pub sale: Option<SaleId>,
    /// Write JSON instead of a table
    #[arg(long)]
    pub json: bool,
    /// Wait at most so many seconds for the log to be persisted
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub wait: u64,
    /// Where redis drifts: refuse claims, rebuild it from postgres, and sell again
    #[arg(long)]
    pub repair: bool,
    /// Repair without asking
    #[arg(long, requires = "repair")]
    pub yes: bool,
}

/// Reconciles on the terminal.
pub(super) fn run(command: ReconcileCommand, settings: &Settings) -> Result<(), CliError> {
    telemetry::init(settings)?;
    let report = block_on(run_reconcile(&command, settings, &mut io::stdout()))??;
    report.verdict()
}

/// Reconciles every partition, repairs what drifts where that was asked for, and writes the report to `out`.
///
/// # Errors
/// [`CliError`] where nothing can be reported at all; what is known of each partition is in the report.
pub async fn run_reconcile(
    command: &ReconcileCommand,
    settings: &Settings,
    out: &mut (impl Write + Send),
) -> Result<Report, CliError> {
    let desk = Desk::open(command, settings)?;
    let report = desk.look().await?;
    let drifting = repair::repairable(&report);
    if !command.repair || drifting.is_empty() {
        report.write(out, command.json)?;
        return Ok(report);
    }
    if !command.json {
        report.write(out, false)?;
    }
    confirm(&repair::question(&drifting), command.yes)?;
    for partition in drifting {
        desk.repair(partition).await?;
    }
    // Seen, not believed.
    let report = desk.look().await?;
    report.write(out, command.json)?;
    Ok(report)
}

/// What a reconcile needs.
struct Desk<'a> {
    command: &'a ReconcileCommand,
    settings: &'a Settings,
    reconciler: Reconciler,
}

impl<'a> Desk<'a> {
    fn open(command: &'a ReconcileCommand, settings: &'a Settings) -> Result<Self, CliError> {
        let timeout = settings.postgres_timeout_ms.duration();
        let pool = connect_pool(settings.postgres_url.expose(), settings.postgres_pool_max, timeout)?;
        let redis = Redis::connect(&RedisOptions {
            url: settings.redis_url.expose().to_owned(),
            timeout: settings.redis_timeout_ms.duration(),
            queue_max: QUEUE_MAX,
        })
        .map_err(ReconcileError::from)?;
        let patience = Some(Duration::from_secs(command.wait));
        Ok(Self { command, settings, reconciler: Reconciler { redis, pool, patience, depth: Depth::Orders } })
    }

    async fn look(&self) -> Result<Report, CliError> {
        let partitions = partitions(&self.reconciler.pool).await?;
        self.reconciler.redis.wait_ready().await.map_err(ReconcileError::from)?;
        let looks = partitions.into_iter().map(async |partition| {
            let balances = self.reconcile(partition).await;
            PartitionReport { partition, balances }
        });
        Ok(Report { partitions: join_all(looks).await })
    }

    /// Looks at a partition, and where it does not balance, once more: what is reported was seen twice.
    async fn reconcile(&self, partition: Partition) -> Result<Vec<Balance>, ReconcileError> {
        let balances = self.reconcile_once(partition).await?;
        if balances.iter().all(Balance::is_good) {
            return Ok(balances);
        }
        self.reconcile_once(partition).await
    }

    async fn reconcile_once(&self, partition: Partition) -> Result<Vec<Balance>, ReconcileError> {
        let mut gate = Gate::watch(self.reconciler.redis.clone(), partition);
        let mut tries = 1;
        loop {
            let open = tokio::time::timeout(OPEN_WAIT, gate.wait_open()).await;
            let scripts = open.map_err(|_| ReconcileError::Closed(partition))?;
            match self.reconciler.check(&scripts, self.command.sale.as_ref()).await {
                Err(ReconcileError::Redis(RedisError::Fenced(_)) | ReconcileError::Reopened(_))
                    if tries < TRIES_MAX =>
                {
                    gate.refused(&scripts.stamp);
                    tries += 1;
                }
                known => return known,
            }
        }
    }
}

async fn partitions(pool: &PgPool) -> Result<Vec<Partition>, PgError> {
    let db = pool.get().await?;
    let rows = db.query("SELECT partition FROM partitions ORDER BY partition", &[]).await?;
    Ok(rows.iter().filter_map(|row| u8::try_from(row.get::<_, i16>(0)).ok()).map(Partition::new).collect())
}
