//! How a command can fail, and the exit code of each way.

use std::io;
use std::process::ExitCode;

use super::DevError;
use super::catalogue::CatalogueCliError;
use super::confirm::NotConfirmed;
use crate::config::ConfigErrors;
use crate::dead_letters::DeadLetterError;
use crate::keeper::OpenError;
use crate::node::NodeError;
use crate::order_life::LifeError;
use crate::partition::Partition;
use crate::payment::{PaymentError, SandboxError};
use crate::postgres::{MigrateError, PartitionsError, PgError};
use crate::reconcile::ReconcileError;
use crate::redis::RedisError;
use crate::replay::ReplayError;
use crate::telemetry::TelemetryError;
use crate::webhooks::WebhookError;

/// Why a command did not succeed. Each command that can fail in its own way adds a variant.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The arguments cannot be used, or ask for help.
    #[error(transparent)]
    Usage(#[from] clap::Error),
    /// The settings cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// Logging cannot be set up.
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    /// The process cannot have the threads or signal handlers that it needs.
    #[error("cannot start the runtime ({0}); check the limits of this process (ulimit -a)")]
    Runtime(io::Error),
    /// The node cannot start.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// The schema cannot be brought up to date.
    #[error(transparent)]
    Migrate(#[from] MigrateError),
    /// The number of partitions does not stand.
    #[error(transparent)]
    Partitions(#[from] PartitionsError),
    /// The way to Postgres.
    #[error(transparent)]
    Postgres(#[from] PgError),
    /// The catalogue, or a definition for it.
    #[error(transparent)]
    Catalogue(#[from] CatalogueCliError),
    /// Redis, where a command needs it.
    #[error("redis: {0}")]
    Redis(#[from] RedisError),
    /// A replay cannot go on.
    #[error("{0}. What was replayed stays; run it again to go on")]
    Replay(#[from] ReplayError),
    /// A command that can be run again was told to stop before it was done.
    #[error("stopped before it was done: what was done stays, run it again to go on")]
    Stopped,
    /// Redis and Postgres could not be compared at all.
    #[error(transparent)]
    Reconcile(#[from] ReconcileError),
    /// Nothing is known of some partitions.
    #[error("{0} of the partitions could not be reconciled: see above")]
    NotReconciled(usize),
    /// Redis does not hold what Postgres computes.
    #[error("the stock of {0} items is not what postgres computes")]
    Drift(usize),
    /// `doorbuster dev` cannot go on.
    #[error(transparent)]
    Dev(#[from] DevError),
    /// A dead letter was not ended.
    #[error(transparent)]
    DeadLetter(#[from] DeadLetterError),
    /// An order did not move, or cannot be shown.
    #[error(transparent)]
    Order(Box<LifeError>),
    /// A payment did not move.
    #[error(transparent)]
    Payment(Box<PaymentError>),
    /// A webhook command was not done.
    #[error(transparent)]
    Webhook(#[from] WebhookError),
    /// The stand-in gateway cannot start.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// What would be destroyed stays.
    #[error(transparent)]
    NotConfirmed(#[from] NotConfirmed),
    /// The database is new.
    #[error("the database has no partitions yet: run `doorbuster migrate`, or start a node")]
    NotMigrated,
    /// There are fewer.
    #[error("there is no partition {number}: they are numbered from 0 to {}", count - 1)]
    NoSuchPartition {
        /// The one that was asked for.
        number: u8,
        /// How many there are.
        count: u8,
    },
    /// Entries that were asked for by their address are not in the log.
    #[error("not in the log: {}. It may have been trimmed (log_retention_s); an order is then in Postgres", .0.join(", "))]
    NotInLog(Vec<String>),
    /// A partition was not rebuilt.
    #[error("partition {partition} was not rebuilt: {error}. It stays closed until a keeper opens it")]
    NotRebuilt {
        /// Which.
        partition: Partition,
        /// Why.
        error: Box<OpenError>,
    },
    /// The command was done, and said what wants attention.
    #[error("something wants attention")]
    Attention,
    /// The command was done as far as it could be, and said what it does not know.
    #[error("a server does not answer")]
    Incomplete,
    /// A further signal came while the first was being obeyed.
    #[error(
        "ended at once by a second signal: requests in flight may have been cut; their clients learn the \
         outcome by a retry with the same key"
    )]
    EndedAtOnce,
    /// The result could not be printed.
    #[error("cannot write to stdout ({0}); check where it is redirected to")]
    Output(#[from] io::Error),
}

/// Wrong usage or settings: trying again does not help.
const EXIT_USAGE: u8 = 2;
/// Done; but what was found wants someone's attention.
const EXIT_ATTENTION: u8 = 3;

impl CliError {
    /// Tells the operator, and gives the exit code: 2 for wrong usage or settings, 3 for a command that
    /// was done and found what wants attention, 1 for a failure.
    /// Help that was asked for, or a reader that closed the pipe, is a success.
    pub(super) fn report(&self) -> ExitCode {
        match self {
            Self::Usage(error) => {
                // Nothing is left to do where the terminal is gone.
                let _ = error.print();
                u8::try_from(error.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from)
            }
            Self::Output(error) | Self::Catalogue(CatalogueCliError::Write(error))
                if error.kind() == io::ErrorKind::BrokenPipe =>
            {
                ExitCode::SUCCESS
            }
            // It was said where it belongs, on stdout.
            Self::Attention => ExitCode::from(EXIT_ATTENTION),
            Self::Incomplete => ExitCode::FAILURE,
            Self::Config(_) => {
                eprintln!("error: {self}");
                ExitCode::from(EXIT_USAGE)
            }
            Self::Drift(_) => {
                eprintln!("error: {self}");
                ExitCode::from(EXIT_ATTENTION)
            }
            _ => {
                eprintln!("error: {self}");
                ExitCode::FAILURE
            }
        }
    }
}
