//! `doorbuster status`

mod tables;

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use clap::Args;
use jiff::Timestamp;

use super::CliError;
use super::runtime::block_on;
use super::servers::Servers;
use crate::config::{LogFilter, Settings};
use crate::status::Status;
use crate::telemetry;

/// A server that is away is told in the table; the clients' own warnings would stand between its lines.
const QUIET: &str = "error,fred=off";

/// Arguments of `doorbuster status`.
#[derive(Debug, Args)]
#[command(
    long_about = "Show how every partition stands in Redis and in Postgres, and what wants attention.\n\n\
        Works beside running nodes, from any machine that reaches both servers. It changes nothing.",
    after_help = "Exit codes: 0 all is well, 1 a server does not answer, 2 wrong usage or settings, 3 something wants \
        attention:\n  a partition that is closed or without keeper, a stuck backlog or change of stock, drift, dead letters, \
        open incidents"
)]
pub(super) struct StatusCommand {
    /// Look again every so many seconds, until Ctrl-C
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2",
          value_parser = clap::value_parser!(u64).range(1..=86_400))]
    watch: Option<u64>,
    /// Age in seconds from which an entry, or a change of stock, counts as stuck
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    lag_max: u64,
    /// Write JSON instead of tables
    #[arg(long)]
    json: bool,
}

impl StatusCommand {
    pub(super) fn run(&self, settings: &Settings) -> Result<(), CliError> {
        let mut quiet = settings.clone();
        if settings.log_filter == LogFilter::info() {
            quiet.log_filter = LogFilter::new(QUIET).unwrap_or(quiet.log_filter);
        }
        telemetry::init(&quiet)?;
        block_on(async {
            let servers = Servers::of(settings)?;
            let Some(pause) = self.watch else { return self.once(&servers, settings).await };
            loop {
                let shown = self.once(&servers, settings).await;
                if let Err(error @ CliError::Output(_)) = shown {
                    return Err(error);
                }
                tokio::time::sleep(Duration::from_secs(pause)).await;
            }
        })?
    }

    async fn once(&self, servers: &Servers, settings: &Settings) -> Result<(), CliError> {
        let lag_max = Duration::from_secs(self.lag_max);
        let status =
            Status::collect(&servers.redis, &servers.pool, settings.partitions, servers.timeout, lag_max)
                .await;
        let mut out = io::stdout();
        if self.json {
            let text = serde_json::to_string(&status).map_err(io::Error::from)?;
            writeln!(out, "{text}")?;
        } else {
            if self.watch.is_some() && out.is_terminal() {
                // Home, and clear: https://en.wikipedia.org/wiki/ANSI_escape_code
                write!(out, "\x1b[H\x1b[2J")?;
            }
            tables::write(&mut out, &status, Timestamp::now())?;
        }
        out.flush()?;
        match () {
            () if !status.is_complete() => Err(CliError::Incomplete),
            () if !status.attention.is_empty() => Err(CliError::Attention),
            () => Ok(()),
        }
    }
}
