//! `doorbuster dev`: everything on one machine, for trying it out and for working on it.

mod demo_sale;
mod error;
mod gateway;
mod opening;
mod servers;
mod settings;
mod welcome;

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;

pub use error::DevError;

use self::gateway::DevGateway;
use self::opening::EarlierEpochs;
use self::servers::Servers;
use self::settings::DevSettings;
use self::welcome::{Welcome, reachable};
use super::CliError;
use super::run::make_room;
use super::runtime::block_on;
use super::stop_signals::StopSignals;
use crate::config::Effective;
use crate::node::Node;
use crate::telemetry;

/// Arguments of `doorbuster dev`.
#[derive(Debug, Args)]
#[command(
    long_about = "Start everything on this machine: a private Redis and a private Postgres with durable\n\
    settings, every role in one process, a stand-in payment gateway and a demo sale. Prints how to buy, then runs until\n\
    Ctrl-C, which stops all of it. The next start finds the data again."
)]
pub(super) struct DevCommand {
    /// Where the private servers keep their data [default: doorbuster in $XDG_DATA_HOME]
    #[arg(long, value_name = "DIR", conflicts_with = "external")]
    data_dir: Option<PathBuf>,
    /// Use the servers of redis_url and postgres_url instead of private ones
    #[arg(long)]
    external: bool,
}

impl DevCommand {
    pub(super) fn run(self, effective: &Effective) -> Result<(), CliError> {
        let mut dev = DevSettings::choose(effective, self.external)?;
        telemetry::init(&dev.settings)?;
        block_on(async {
            let mut signals = StopSignals::listen()?;
            let start = Servers::start(self.external, self.data_dir);
            let Some(servers) = signals.unless_signalled(start).await else { return Ok(()) };
            let servers = servers?;
            servers.set_urls(&mut dev.settings)?;
            make_room(&dev.settings);
            let gateway = DevGateway::start(&mut dev.settings, servers.data_dir()).await?;
            let ran = run_node(&dev, &servers, gateway.as_ref(), &mut signals).await;
            // After the node, which finishes the payments in hand.
            if let Some(gateway) = gateway {
                gateway.stop().await;
            }
            match ran {
                // At once: dropping the servers ends them.
                Err(CliError::EndedAtOnce) => Err(CliError::EndedAtOnce),
                outcome => outcome.and(stop_servers(servers, &mut signals).await),
            }
        })?
    }
}

/// Runs every role until a signal, or until something is wrong.
async fn run_node(
    dev: &DevSettings,
    servers: &Servers,
    gateway: Option<&DevGateway>,
    signals: &mut StopSignals,
) -> Result<(), CliError> {
    let start = async {
        let earlier = EarlierEpochs::read(&dev.settings).await?;
        Ok::<_, CliError>((Node::start(&dev.settings).await?, earlier))
    };
    let Some(started) = signals.unless_signalled(start).await else { return Ok(()) };
    let (node, earlier) = started?;
    if let (Some(gateway), Some(api)) = (gateway, node.api) {
        gateway.tell(reachable(api))?;
    }
    let outcome = match signals.unless_signalled(open(&node, dev, servers, earlier)).await {
        None => Ok(()),
        Some(Err(error)) => Err(error.into()),
        Some(Ok(note)) => {
            let shown = say(Welcome::new(&node, dev, servers, gateway, note));
            if shown.is_ok() {
                signals.next().await;
            }
            shown
        }
    };
    // What is said from here on is a courtesy: a terminal that is gone does not keep anything from stopping.
    let _ = say("\nStopping. Ctrl-C again ends at once.\n");
    let stopped = signals.unless_signalled(node.stop()).await.ok_or(CliError::EndedAtOnce)?;
    let (finished, cut) = (stopped.requests_finished, stopped.requests_cut);
    let _ = say(format_args!("  Node       stopped: {finished} requests in flight finished, {cut} cut\n"));
    outcome
}

/// Waits until orders can be taken; what the developer should know about the demo sale.
async fn open(
    node: &Node,
    dev: &DevSettings,
    servers: &Servers,
    earlier: EarlierEpochs,
) -> Result<Option<String>, DevError> {
    let demo = demo_sale::ensure(&dev.settings).await?;
    earlier.wait_past(node, servers).await?;
    Ok(demo.wait_published().await)
}

async fn stop_servers(servers: Servers, signals: &mut StopSignals) -> Result<(), CliError> {
    let stopped = signals.unless_signalled(servers.stop()).await.ok_or(CliError::EndedAtOnce)??;
    let _ = say(stopped);
    Ok(())
}

fn say(text: impl std::fmt::Display) -> Result<(), CliError> {
    let mut out = io::stdout();
    write!(out, "{text}")?;
    Ok(out.flush()?)
}
