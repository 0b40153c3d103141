//! `doorbuster rebuild`

use std::io::{self, Write};
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::CliError;
use super::confirm::confirm;
use super::json::write_json;
use super::login_name::By;
use super::servers::{Servers, operators_keeper, with_servers};
use super::tables::{number, table, text};
use crate::config::Settings;
use crate::dead_letters::Operator;
use crate::keeper::{OpenError, Progress};
use crate::partition::Partition;

/// Arguments of `doorbuster rebuild`.
#[derive(Debug, Args)]
#[command(
    long_about = "Rebuild Redis from Postgres: sales, stock, and every order that a retry may ask for.\n\n\
        Each partition in turn is closed, its log is drained into Postgres, all that Redis holds of its sales is \
        replaced, and it is opened again. Meanwhile its claims are answered 503, and buyers try again; nothing that was \
        accepted is lost. Nodes may run: their keeper goes on behind it. Keepers do the same by themselves where Redis is \
        not intact; this is for the case that an operator knows better.",
    after_help = "Exit codes: 0 every partition is rebuilt and open, 1 one is not, 2 wrong usage or settings"
)]
pub(super) struct RebuildCommand {
    /// Only this partition
    #[arg(long, value_name = "NUMBER")]
    partition: Option<u8>,
    /// Also where Postgres is older than the log: entries between them exist nowhere, and are given up for lost. An
    /// incident says by whom
    #[arg(long)]
    accept_gap: bool,
    #[command(flatten)]
    by: By,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Write JSON instead of a table
    #[arg(long)]
    json: bool,
}

/// What was done to a partition.
struct Rebuilt {
    partition: Partition,
    epoch: i64,
    orders: u64,
    took: Duration,
}

impl Rebuilt {
    fn per_second(&self) -> u64 {
        (self.orders as f64 / self.took.as_secs_f64().max(0.001)) as u64
    }
}

impl RebuildCommand {
    pub(super) fn run(&self, settings: &Settings) -> Result<(), CliError> {
        with_servers(settings, async |servers| {
            let partitions = servers.chosen(self.partition).await?;
            let by = self.accept_gap.then(|| self.by.operator()).transpose()?;
            confirm(&self.question(&partitions), self.yes)?;
            servers.redis.wait_ready().await?;
            let mut done = Vec::new();
            for partition in partitions {
                match self.rebuild(&servers, settings, partition, by.as_ref()).await {
                    Ok(rebuilt) => done.push(rebuilt),
                    Err(error) => {
                        self.report(&done)?;
                        return Err(CliError::NotRebuilt { partition, error: Box::new(error) });
                    }
                }
            }
            self.report(&done)
        })
    }

    fn question(&self, partitions: &[Partition]) -> String {
        let list = partitions.iter().map(Partition::to_string).collect::<Vec<_>>().join(", ");
        let gap = if self.accept_gap { " Entries that exist nowhere are given up for lost" } else { "" };
        format!(
            "This closes {list}, drains the log into Postgres, and replaces what Redis holds by what Postgres knows. \
             Claims are answered 503 meanwhile.{gap}"
        )
        .trim_end_matches('.')
        .to_owned()
    }

    async fn rebuild(
        &self,
        servers: &Servers,
        settings: &Settings,
        partition: Partition,
        gap_accepted_by: Option<&Operator>,
    ) -> Result<Rebuilt, OpenError> {
        let keeper = operators_keeper(&servers.redis, &servers.pool, settings, partition);
        let bar = progress_bar(partition);
        let orders = std::sync::atomic::AtomicU64::new(0);
        let told = |progress: Progress| {
            orders.store(progress.done, std::sync::atomic::Ordering::Relaxed);
            bar.set_length(progress.total);
            bar.set_position(progress.done);
        };
        let started = Instant::now();
        let report = keeper.rebuild_as_operator(gap_accepted_by, &told).await;
        bar.finish_and_clear();
        let epoch = report?.epoch;
        Ok(Rebuilt { partition, epoch, orders: orders.into_inner(), took: started.elapsed() })
    }

    fn report(&self, done: &[Rebuilt]) -> Result<(), CliError> {
        let mut out = io::stdout();
        if self.json {
            let partitions: Vec<Value> = done
                .iter()
                .map(|one| {
                    json!({
                        "partition": one.partition.number(),
                        "epoch": one.epoch,
                        "orders": one.orders,
                        "took_ms": one.took.as_millis() as u64,
                        "orders_per_second": one.per_second(),
                    })
                })
                .collect();
            return write_json(&mut out, &json!({ "partitions": partitions }));
        }
        let mut table = table(&["PARTITION", "ORDERS", "SECONDS", "ORDERS/S", "EPOCH"]);
        for one in done {
            table.add_row([
                text(one.partition),
                number(one.orders),
                number(format!("{:.2}", one.took.as_secs_f64())),
                number(one.per_second()),
                number(one.epoch),
            ]);
        }
        Ok(writeln!(out, "{table}")?)
    }
}

/// On standard error, and only where that is a terminal.
fn progress_bar(partition: Partition) -> ProgressBar {
    let bar = ProgressBar::new(0);
    if let Ok(style) =
        ProgressStyle::with_template("{prefix} {wide_bar} {human_pos}/{human_len} orders {per_sec} {eta}")
    {
        bar.set_style(style);
    }
    bar.set_prefix(partition.to_string());
    bar
}
