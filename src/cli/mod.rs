//! The command line: `doorbuster <command>`, with every setting as a flag of every command.

pub mod catalogue;
mod config;
mod confirm;
mod dead;
mod dev;
mod error;
mod gateway_sandbox;
mod incidents;
mod json;
mod log;
mod login_name;
mod migrate;
mod order;
mod payment;
mod rebuild;
pub mod reconcile;
mod replay;
mod run;
mod runtime;
mod servers;
mod settings_flags;
mod status;
mod stop_signals;
mod tables;
mod webhook;

use std::env;
use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::config::Effective;

pub use confirm::NotConfirmed;
pub use dev::DevError;
pub use error::CliError;

/// A Redis-first flash-sale engine: never oversells, loses nothing it acknowledged.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Every setting is a flag, a DOORBUSTER_* variable or a key of a TOML file (--config FILE):\n\
                  `doorbuster config --help` lists them, `doorbuster config` shows their values."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// One variant for each command; its arguments and its `run` live in a file of their own.
#[derive(Debug, Subcommand)]
enum Command {
    /// Start everything on this machine: Redis, Postgres, every role and a demo sale
    Dev(dev::DevCommand),
    /// Run a node until SIGINT or SIGTERM, in the role that the settings give
    Run,
    /// Bring the database's schema up to date
    Migrate,
    /// Persist the retained log once more, into a Postgres that was restored from a backup
    Replay(replay::ReplayCommand),
    /// Put and list products
    #[command(subcommand)]
    Product(catalogue::ProductCommand),
    /// Create, list, show, open, pause and close sales
    #[command(subcommand)]
    Sale(catalogue::SaleCommand),
    /// Hold the stock in Redis against Postgres, exactly, while orders flow
    Reconcile(reconcile::ReconcileCommand),
    /// Show how every partition stands: open, keeper, backlog, lag, dead letters
    Status(status::StatusCommand),
    /// Show entries of the log: by id, order, buyer or time
    Log(log::LogCommand),
    /// List, show, retry and drop entries that could not be persisted
    #[command(subcommand)]
    Dead(dead::DeadCommand),
    /// List and acknowledge what went wrong although the engine went on
    #[command(subcommand)]
    Incidents(incidents::IncidentsCommand),
    /// Show and cancel orders that are stored
    #[command(subcommand)]
    Order(order::OrderCommand),
    /// List payments that wait for an answer of the gateway, and have them looked at again
    #[command(subcommand)]
    Payment(payment::PaymentCommand),
    /// Register, list, test and remove addresses that are told what happens; redrive what was given up
    #[command(subcommand)]
    Webhook(webhook::WebhookCommand),
    /// Run a stand-in payment gateway that takes no money
    GatewaySandbox(gateway_sandbox::GatewaySandboxCommand),
    /// Rebuild Redis from Postgres
    Rebuild(rebuild::RebuildCommand),
    /// Show the settings in effect and where each comes from, secrets masked
    Config(config::ConfigCommand),
}

impl Command {
    /// Runs it. A command that waits for servers makes its runtime itself; the others need none.
    fn run(self, effective: &Effective) -> Result<(), CliError> {
        match self {
            Self::Dev(command) => command.run(effective),
            Self::Run => run::run(&effective.settings),
            Self::Migrate => migrate::run(&effective.settings),
            Self::Replay(command) => command.run(&effective.settings),
            Self::Product(command) => catalogue::product(command, &effective.settings),
            Self::Sale(command) => catalogue::sale(command, &effective.settings),
            Self::Reconcile(command) => reconcile::run(command, &effective.settings),
            Self::Status(command) => command.run(&effective.settings),
            Self::Log(command) => command.run(&effective.settings),
            Self::Dead(command) => command.run(&effective.settings),
            Self::Incidents(command) => command.run(&effective.settings),
            Self::Order(command) => command.run(&effective.settings),
            Self::Payment(command) => command.run(&effective.settings),
            Self::Webhook(command) => command.run(&effective.settings),
            Self::GatewaySandbox(command) => command.run(&effective.settings),
            Self::Rebuild(command) => command.run(&effective.settings),
            Self::Config(command) => command.run(effective),
        }
    }
}

/// Runs the command line of this process. Exit codes: 0 done, 1 failed, 2 wrong usage or settings, 3 done, and
/// something wants attention.
pub fn main() -> ExitCode {
    match run(env::args_os(), env::vars_os()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => error.report(),
    }
}

/// Runs one command line.
///
/// # Errors
/// [`CliError`], by which door the command failed.
fn run(
    arguments: impl IntoIterator<Item = OsString>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<(), CliError> {
    let (cli, effective) = parse(arguments, environment)?;
    cli.command.run(&effective)
}

fn parse(
    arguments: impl IntoIterator<Item = OsString>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<(Cli, Effective), CliError> {
    let matches = settings_flags::add_to(Cli::command()).try_get_matches_from(arguments)?;
    let cli = Cli::from_arg_matches(&matches)?;
    let effective = settings_flags::sources(&matches, environment.into_iter().collect()).load()?;
    Ok((cli, effective))
}

#[cfg(test)]
mod tests;
