//! `doorbuster replay`.

use std::io::{self, Write};

use clap::Args;
use comfy_table::{Cell, CellAlignment, Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use tokio_util::sync::CancellationToken;

use super::CliError;
use super::runtime::block_on;
use super::stop_signals::StopSignals;
use crate::config::Settings;
use crate::log::{LogBound, LogRange};
use crate::partition::{Partition, Partitions};
use crate::postgres::connect_pool;
use crate::redis::{Redis, RedisOptions};
use crate::replay::{Replay, Replayed};
use crate::telemetry;

/// Commands that may wait for a connection.
const REDIS_QUEUE_MAX: usize = 16;

/// Arguments of `doorbuster replay`.
#[derive(Debug, Args)]
#[command(
    long_about = "Persist the retained log once more, into a Postgres that was restored from a backup.\n\n\
    Orders come back with the same ids and times. What is known already is left as it is, so a replay may be \
    repeated, and may run while orders are taken. Ctrl-C ends it after the batch in hand; a second one at once.\n\n\
    FROM and TO are a time (2026-11-27T09:00:00Z), how long ago (-15m; s, m, h or d) or the id of an entry \
    (1795000000000-0). Exit codes: 0 done, 1 failed or stopped, 2 wrong usage or settings."
)]
pub(super) struct ReplayCommand {
    /// Begin here; the beginning of the log by default
    #[arg(long, allow_hyphen_values = true)]
    from: Option<LogBound>,
    /// End here; the end of the log by default
    #[arg(long, allow_hyphen_values = true)]
    to: Option<LogBound>,
    /// Only this partition; all by default
    #[arg(long, value_name = "N")]
    partition: Option<u8>,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Write JSON instead of a table
    #[arg(long)]
    json: bool,
}

impl ReplayCommand {
    pub(super) fn run(self, settings: &Settings) -> Result<(), CliError> {
        telemetry::init(settings)?;
        let replayed = block_on(self.replay(settings))??;
        let mut out = io::stdout();
        if self.json {
            let answer = serde_json::json!({ "dry_run": self.dry_run, "partitions": replayed });
            serde_json::to_writer_pretty(&mut out, &answer).map_err(io::Error::from)?;
            writeln!(out)?;
        } else {
            self.write_report(&replayed, &mut out)?;
        }
        match replayed.iter().any(|one| one.is_stopped) {
            true => Err(CliError::Stopped),
            false => Ok(()),
        }
    }

    async fn replay(&self, settings: &Settings) -> Result<Vec<Replayed>, CliError> {
        let mut signals = StopSignals::listen()?;
        let stop = CancellationToken::new();
        let work = self.replay_all(settings, &stop);
        let mut work = std::pin::pin!(work);
        tokio::select! {
            replayed = &mut work => return replayed,
            _ = signals.next() => stop.cancel(),
        }
        signals.unless_signalled(work).await.ok_or(CliError::Stopped)?
    }

    async fn replay_all(
        &self,
        settings: &Settings,
        stop: &CancellationToken,
    ) -> Result<Vec<Replayed>, CliError> {
        let timeout = settings.postgres_timeout_ms.duration();
        let pool = connect_pool(settings.postgres_url.expose(), 2, timeout)?;
        let redis = Redis::connect(&RedisOptions {
            url: settings.redis_url.expose().to_owned(),
            timeout: settings.redis_timeout_ms.duration(),
            queue_max: REDIS_QUEUE_MAX,
        })?;
        redis.wait_ready().await?;
        let mut replayed = Vec::new();
        for partition in self.partitions(settings)? {
            let bar = progress_bar(partition);
            let replay =
                Replay { redis: &redis, pool: &pool, partition, limit: timeout * 2, dry_run: self.dry_run };
            let range = LogRange { from: self.from, to: self.to };
            let told = |progress: crate::replay::Progress| {
                bar.set_length(progress.total_ms.max(1));
                bar.set_position(progress.done_ms);
                bar.set_message(format!("{} entries", progress.read));
            };
            let one = replay.run(range, &told, stop).await;
            bar.finish_and_clear();
            replayed.push(one?);
        }
        redis.close().await;
        Ok(replayed)
    }

    fn partitions(&self, settings: &Settings) -> Result<Vec<Partition>, CliError> {
        let mut all: Vec<Partition> =
            Partitions::new(settings.partitions).into_iter().flat_map(|all| all.all()).collect();
        if let Some(number) = self.partition {
            all.retain(|partition| partition.number() == number);
        }
        if all.is_empty() {
            let problem = format!("--partition must be below partitions, which is {}\n", settings.partitions);
            return Err(clap::Error::raw(clap::error::ErrorKind::ValueValidation, problem).into());
        }
        Ok(all)
    }

    fn write_report(&self, replayed: &[Replayed], out: &mut impl Write) -> io::Result<()> {
        for one in replayed {
            write_notes(one, out)?;
        }
        writeln!(out, "{}", table(replayed))?;
        if self.dry_run {
            writeln!(out, "A dry run: nothing was written.")?;
        }
        Ok(())
    }
}

fn write_notes(one: &Replayed, out: &mut impl Write) -> io::Result<()> {
    let partition = one.partition;
    let Some(retained) = one.retained_from else {
        return writeln!(out, "partition {partition}: the log is empty");
    };
    writeln!(out, "partition {partition}: the log is retained from {retained} ({})", retained.time())?;
    if one.begins_before_the_log {
        writeln!(
            out,
            "partition {partition}: the range begins before that; what stood there is not in the log any more"
        )?;
    }
    if one.has_gap {
        writeln!(
            out,
            "partition {partition}: WARNING: postgres had not persisted all that stood there: those entries exist \
             nowhere; restore a newer backup"
        )?;
    }
    Ok(())
}

const COLUMNS: [&str; 12] = [
    "PARTITION",
    "READ",
    "NEW ORDERS",
    "KNOWN",
    "CANCELLED",
    "DUPLICATES",
    "OVER ALLOTMENT",
    "NEW LEDGER",
    "KNOWN LEDGER",
    "NEW SALES",
    "DEAD LETTERS",
    "UNREADABLE",
];

fn table(replayed: &[Replayed]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(COLUMNS);
    for one in replayed {
        let applied = &one.applied;
        let numbers = [
            u64::from(one.partition),
            one.read,
            applied.new_orders,
            applied.known_orders,
            applied.cancelled,
            applied.duplicates,
            applied.over_allotment,
            applied.new_ledger_rows,
            applied.known_ledger_rows,
            applied.new_sales,
            applied.dead_letters + applied.known_dead_letters,
            applied.unreadable,
        ];
        table.add_row(numbers.map(|number| Cell::new(number).set_alignment(CellAlignment::Right)));
    }
    table
}

/// On standard error, and only where that is a terminal.
fn progress_bar(partition: Partition) -> ProgressBar {
    let bar = ProgressBar::new(1);
    if let Ok(style) = ProgressStyle::with_template("{prefix} {wide_bar} {percent}% {msg} {eta}") {
        bar.set_style(style);
    }
    bar.set_prefix(format!("partition {}", partition.number()));
    bar
}
