//! `doorbuster incidents …`

use std::io::{self, Write};

use clap::{Args, Subcommand};
use comfy_table::Table;
use serde_json::{Value, json};

use super::CliError;
use super::json::write_json;
use super::login_name::By;
use super::servers::{Servers, with_servers};
use super::tables::{number, table, text};
use crate::config::Settings;
use crate::incidents::{Answer, Incident, acknowledge, list};

/// At most so many are acknowledged by `--all`.
const ALL_MAX: u32 = 100_000;

/// `doorbuster incidents`
#[derive(Debug, Subcommand)]
pub(super) enum IncidentsCommand {
    /// List the open ones, newest first
    List(ListArgs),
    /// Say that incidents were looked at; `status` counts the others
    #[command(after_help = "Exit codes: 0 all are acknowledged, 1 failed, or there is no such incident")]
    Ack(AckArgs),
}

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// Also those that were acknowledged, with who did it and why
    #[arg(long)]
    all: bool,
    /// Those of one partition
    #[arg(long, value_name = "NUMBER")]
    partition: Option<u8>,
    /// Show at most this many
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,
    /// Write JSON instead of a table
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct AckArgs {
    /// Numbers as `incidents list` shows them
    #[arg(required_unless_present = "all", conflicts_with = "all", value_name = "ID")]
    incidents: Vec<i64>,
    /// Every open one
    #[arg(long)]
    all: bool,
    /// What came of it; kept with the incident
    #[arg(long, value_parser = clap::builder::NonEmptyStringValueParser::new())]
    reason: String,
    #[command(flatten)]
    by: By,
    /// Write JSON instead of text
    #[arg(long)]
    json: bool,
}

impl IncidentsCommand {
    pub(super) fn run(self, settings: &Settings) -> Result<(), CliError> {
        with_servers(settings, async |servers| match self {
            Self::List(args) => run_list(&servers, &args).await,
            Self::Ack(args) => run_ack(&servers, &args).await,
        })
    }
}

async fn run_list(servers: &Servers, args: &ListArgs) -> Result<(), CliError> {
    let partition = servers.checked(args.partition).await?;
    // One more than is shown tells whether there are more.
    let mut found = list(&servers.pool, partition, args.all, args.limit.saturating_add(1)).await?;
    let more = found.len() > args.limit as usize;
    found.truncate(args.limit as usize);
    let mut out = io::stdout();
    if args.json {
        return write_json(&mut out, &json!({ "incidents": found, "more": more }));
    }
    if found.is_empty() {
        return Ok(writeln!(out, "no incidents")?);
    }
    writeln!(out, "{}", incidents(&found, args.all))?;
    if more {
        writeln!(out, "There are more: raise --limit")?;
    }
    Ok(())
}

async fn run_ack(servers: &Servers, args: &AckArgs) -> Result<(), CliError> {
    let by = args.by.operator()?;
    let ids = match args.all {
        true => list(&servers.pool, None, false, ALL_MAX).await?.iter().map(|incident| incident.id).collect(),
        false => args.incidents.clone(),
    };
    let mut out = io::stdout();
    let mut answers: Vec<Value> = Vec::new();
    let mut all_found = true;
    for id in ids {
        let (word, detail) = match acknowledge(&servers.pool, id, &by, &args.reason).await? {
            Answer::Done => ("acknowledged", String::new()),
            Answer::Already(before) => {
                ("already acknowledged", format!("by {} at {}: {}", before.by, before.at, before.reason))
            }
            Answer::NotFound => {
                all_found = false;
                ("not found", String::new())
            }
        };
        match (args.json, detail.is_empty()) {
            (true, _) => answers.push(json!({ "incident": id, "outcome": word, "detail": detail })),
            (false, true) => writeln!(out, "{id}  {word}")?,
            (false, false) => writeln!(out, "{id}  {word} {detail}")?,
        }
    }
    if args.json {
        write_json(&mut out, &json!({ "incidents": answers }))?;
    }
    if all_found { Ok(()) } else { Err(CliError::Incomplete) }
}

fn incidents(all: &[Incident], acknowledged: bool) -> Table {
    let mut header = vec!["ID", "HAPPENED", "PARTITION", "KIND", "SUBJECT", "DETAIL"];
    if acknowledged {
        header.push("ACKNOWLEDGED");
    }
    let mut table = table(&header);
    for incident in all {
        let mut row = vec![
            number(incident.id),
            text(incident.happened_at.strftime("%Y-%m-%dT%H:%M:%SZ")),
            text(format!("p{}", incident.partition)),
            text(&incident.kind),
            text(&incident.subject),
            text(&incident.detail),
        ];
        if acknowledged {
            let by = incident.acknowledged.as_ref().map(|ack| format!("by {}: {}", ack.by, ack.reason));
            row.push(text(by.unwrap_or_else(|| "-".to_owned())));
        }
        table.add_row(row);
    }
    table
}
