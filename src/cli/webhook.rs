//! `doorbuster webhook …`

use std::io::{self, Write};

use clap::{Args, Subcommand};
use serde_json::json;

use super::CliError;
use super::json::write_json;
use super::runtime::block_on;
use super::tables::{number, table, text};
use crate::config::Settings;
use crate::postgres::connect_pool;
use crate::telemetry;
use crate::webhooks::{DeadDelivery, Endpoint, NewEndpoint, WebhookStore};

/// `doorbuster webhook`
#[derive(Debug, Subcommand)]
pub(super) enum WebhookCommand {
    /// Register an address; prints the secret that signs, once
    Add(AddArgs),
    /// List the addresses, with what waits for each and what was given up
    List(Output),
    /// Remove an address with all its deliveries
    Remove(OneEndpoint),
    /// Send an event of the type webhook.test to one address
    Test(OneEndpoint),
    /// List deliveries that were given up
    Dead(DeadArgs),
    /// Try deliveries again that were given up, and send again to an address that had answered 410
    Redrive(RedriveArgs),
}

#[derive(Debug, Args)]
pub(super) struct AddArgs {
    /// Where events are sent: https:// or http://
    url: String,
    /// What it wants to know: order.pending, order.confirmed, order.cancelled, sale.opened, sale.paused, sale.resumed,
    /// sale.closed, sale.sold_out
    #[arg(long = "event", value_name = "TYPE", required = true)]
    events: Vec<String>,
    /// Its name; one is made without it
    #[arg(long)]
    id: Option<String>,
    /// whsec_ and base64; one is made without it
    #[arg(long)]
    secret: Option<String>,
    /// How the answer is written.
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
pub(super) struct OneEndpoint {
    /// The address's id
    id: String,
    /// How the answer is written.
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
pub(super) struct DeadArgs {
    /// Those of one address
    id: Option<String>,
    /// Show at most this many
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,
    /// How the answer is written.
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
pub(super) struct RedriveArgs {
    /// The address's id
    id: String,
    /// Only this event
    #[arg(long, value_name = "ID")]
    event: Option<String>,
    /// How the answer is written.
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
pub(super) struct Output {
    /// Write JSON instead of text
    #[arg(long)]
    json: bool,
}

impl WebhookCommand {
    pub(super) fn run(self, settings: &Settings) -> Result<(), CliError> {
        telemetry::init(settings)?;
        let timeout = settings.postgres_timeout_ms.duration();
        let pool = connect_pool(settings.postgres_url.expose(), 1, timeout)?;
        let store = WebhookStore::new(pool, timeout);
        block_on(self.run_on(&store, &mut io::stdout()))?
    }

    async fn run_on(self, store: &WebhookStore, out: &mut (impl Write + Send)) -> Result<(), CliError> {
        match self {
            Self::Add(args) => {
                let AddArgs { url, events, id, secret, output } = args;
                let new = NewEndpoint { id, url, event_types: events, secret };
                let (endpoint, secret) = store.add(new).await?;
                let secret = secret.expose();
                if output.json {
                    return write_json(out, &json!({ "webhook": endpoint, "secret": secret }));
                }
                writeln!(
                    out,
                    "webhook {}: added\nsecret: {secret}\nKeep it: it is not shown again.",
                    endpoint.id
                )?;
            }
            Self::List(output) => {
                let endpoints = store.list().await?;
                if output.json {
                    return write_json(out, &json!({ "webhooks": endpoints }));
                }
                writeln!(out, "{}", endpoint_table(&endpoints))?;
            }
            Self::Remove(OneEndpoint { id, output }) => {
                store.remove(&id).await?;
                say(out, &output, &json!({ "removed": id }), &format!("webhook {id}: removed"))?;
            }
            Self::Test(OneEndpoint { id, output }) => {
                let event = store.test(&id).await?;
                say(
                    out,
                    &output,
                    &json!({ "event": event }),
                    &format!("webhook {id}: {event} is on its way"),
                )?;
            }
            Self::Dead(DeadArgs { id, limit, output }) => {
                let dead = store.dead(id.as_deref(), limit).await?;
                if output.json {
                    return write_json(out, &json!({ "dead": dead }));
                }
                writeln!(out, "{}", dead_table(&dead))?;
            }
            Self::Redrive(RedriveArgs { id, event, output }) => {
                let redriven = store.redrive(&id, event.as_deref()).await?;
                let words = format!("webhook {id}: {redriven} deliveries are tried again");
                say(out, &output, &json!({ "redriven": redriven }), &words)?;
            }
        }
        Ok(())
    }
}

fn say(out: &mut impl Write, output: &Output, json: &serde_json::Value, words: &str) -> Result<(), CliError> {
    if output.json {
        return write_json(out, json);
    }
    Ok(writeln!(out, "{words}")?)
}

fn endpoint_table(endpoints: &[Endpoint]) -> comfy_table::Table {
    let mut table = table(&["ID", "URL", "EVENTS", "STATE", "WAITING", "DEAD"]);
    for endpoint in endpoints {
        table.add_row([
            text(&endpoint.id),
            text(&endpoint.url),
            text(endpoint.event_types.join(" ")),
            text(if endpoint.disabled_at.is_some() { "gone" } else { "on" }),
            number(endpoint.waiting),
            number(endpoint.dead),
        ]);
    }
    table
}

fn dead_table(dead: &[DeadDelivery]) -> comfy_table::Table {
    let mut table = table(&["ENDPOINT", "EVENT", "TYPE", "AT", "ATTEMPTS", "ERROR"]);
    for delivery in dead {
        table.add_row([
            text(&delivery.endpoint),
            text(&delivery.event),
            text(&delivery.event_type),
            text(delivery.at),
            number(delivery.attempts),
            text(&delivery.error),
        ]);
    }
    table
}
