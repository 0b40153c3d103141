//! `doorbuster dead …`

mod show;
mod table;

use std::io::{self, Write};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::CliError;
use super::confirm::confirm;
use super::json::write_json;
use super::login_name::By;
use super::servers::{Servers, with_servers};
use crate::config::Settings;
use crate::dead_letters::{
    DeadLetter, DeadLetterError, Dropped, Ended, LetterQuery, Outcome, Retried, drop_letter, find, list,
    retry,
};
use crate::log::EntryAddress;

/// `doorbuster dead`
#[derive(Debug, Subcommand)]
pub(super) enum DeadCommand {
    /// List the open ones, oldest first
    List(ListArgs),
    /// Show one: its raw fields, what they say, the error, and what can be done
    Show(ShowArgs),
    /// Persist entries again that could not be persisted before; run twice it changes nothing
    #[command(after_help = "Exit codes: 0 all are persisted, 1 failed, 3 some stay dead letters")]
    Retry(RetryArgs),
    /// Give entries up: an order ends as cancelled (operator), its units go back on sale
    Drop(DropArgs),
}

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// Also those that were ended, with who ended them and why
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
pub(super) struct ShowArgs {
    /// The order's id, or the entry's address as `dead list` shows it
    letter: EntryAddress,
    /// Write JSON instead of text
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct RetryArgs {
    /// Order ids, or addresses as `dead list` shows them
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    letters: Vec<EntryAddress>,
    /// Every open one
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    by: By,
    /// Write JSON instead of text
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct DropArgs {
    /// Order ids, or addresses as `dead list` shows them
    #[arg(required = true)]
    letters: Vec<EntryAddress>,
    /// Why; kept with the letter
    #[arg(long, value_parser = clap::builder::NonEmptyStringValueParser::new())]
    reason: String,
    #[command(flatten)]
    by: By,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Write JSON instead of text
    #[arg(long)]
    json: bool,
}

impl DeadCommand {
    pub(super) fn run(self, settings: &Settings) -> Result<(), CliError> {
        with_servers(settings, async |servers| match self {
            Self::List(args) => run_list(&servers, &args).await,
            Self::Show(args) => run_show(&servers, &args).await,
            Self::Retry(args) => run_retry(&servers, &args).await,
            Self::Drop(args) => run_drop(&servers, &args).await,
        })
    }
}

async fn run_list(servers: &Servers, args: &ListArgs) -> Result<(), CliError> {
    let partition = servers.checked(args.partition).await?;
    // One more than is shown tells whether there are more.
    let query = LetterQuery { partition, ended: args.all, limit: Some(args.limit.saturating_add(1)) };
    let mut letters = list(&servers.pool, query).await?;
    let more = letters.len() > args.limit as usize;
    letters.truncate(args.limit as usize);
    let mut out = io::stdout();
    if args.json {
        let letters: Vec<Value> = letters.iter().map(show::as_json).collect();
        return write_json(&mut out, &json!({ "dead_letters": letters, "more": more }));
    }
    if letters.is_empty() {
        return Ok(writeln!(out, "no dead letters")?);
    }
    writeln!(out, "{}", table::letters(&letters, args.all))?;
    if more {
        writeln!(out, "There are more: raise --limit")?;
    }
    Ok(())
}

async fn run_show(servers: &Servers, args: &ShowArgs) -> Result<(), CliError> {
    let letter = find(&servers.pool, args.letter).await?;
    let mut out = io::stdout();
    if args.json {
        write_json(&mut out, &show::as_json(&letter))
    } else {
        Ok(show::write(&mut out, &letter)?)
    }
}

async fn run_retry(servers: &Servers, args: &RetryArgs) -> Result<(), CliError> {
    let by = args.by.operator()?;
    let letters = match args.all {
        true => list(&servers.pool, LetterQuery::default()).await?.iter().map(|l| l.address).collect(),
        false => args.letters.clone(),
    };
    let mut answers = Answers::new(args.json);
    for letter in letters {
        let (word, detail) = match retry(&servers.pool, &servers.redis, letter, &by, servers.timeout).await {
            Ok(Retried::Persisted) => ("persisted", String::new()),
            Ok(Retried::OverAllotment) => {
                ("cancelled", "over_allotment: Postgres has no units for it".to_owned())
            }
            Ok(Retried::Returned) => ("cancelled", "its units went back before".to_owned()),
            Ok(Retried::StillDead(error)) => {
                answers.attention = true;
                ("still dead", error)
            }
            Ok(Retried::AlreadyEnded(ended)) => answers.already(&ended, Outcome::Retried),
            Err(error) => answers.failed(error)?,
        };
        answers.add(letter, word, &detail)?;
    }
    answers.finish()
}

async fn run_drop(servers: &Servers, args: &DropArgs) -> Result<(), CliError> {
    let by = args.by.operator()?;
    for letter in &args.letters {
        find(&servers.pool, *letter).await?;
    }
    let (n, s) = (args.letters.len(), if args.letters.len() == 1 { "" } else { "s" });
    confirm(
        &format!("This gives {n} dead letter{s} up: orders end as cancelled, and cannot be brought back"),
        args.yes,
    )?;
    let mut answers = Answers::new(args.json);
    for letter in &args.letters {
        let dropped =
            drop_letter(&servers.pool, &servers.redis, *letter, &by, &args.reason, servers.timeout).await;
        let (word, detail) = match dropped {
            Ok(Dropped::Cancelled { order, returned: Some(units) }) => {
                ("dropped", format!("order {order} is cancelled, back on sale: {units}"))
            }
            Ok(Dropped::Cancelled { order, returned: None }) => {
                ("dropped", format!("order {order} is cancelled; redis holds no units for it"))
            }
            Ok(Dropped::OrderKnown(order)) => {
                ("dropped", format!("order {order} was stored before and stays as it is"))
            }
            Ok(Dropped::Marked) => ("dropped", "it holds no order".to_owned()),
            Ok(Dropped::AlreadyEnded(ended)) => answers.already(&ended, Outcome::Dropped),
            Err(error) => answers.failed(error)?,
        };
        answers.add(*letter, word, &detail)?;
    }
    answers.finish()
}

/// What became of each letter, said as soon as it is known.
struct Answers {
    json: Option<Vec<Value>>,
    attention: bool,
    failed: bool,
}

impl Answers {
    fn new(json: bool) -> Self {
        Self { json: json.then(Vec::new), attention: false, failed: false }
    }

    fn add(&mut self, letter: EntryAddress, word: &str, detail: &str) -> io::Result<()> {
        let mut out = io::stdout();
        match &mut self.json {
            Some(all) => all.push(json!({ "letter": letter, "outcome": word, "detail": detail })),
            None if detail.is_empty() => writeln!(out, "{letter}  {word}")?,
            None => writeln!(out, "{letter}  {word}: {detail}")?,
        }
        Ok(())
    }

    /// A letter that was ended before: as it was to be, or otherwise.
    fn already(&mut self, ended: &Ended, wanted: Outcome) -> (&'static str, String) {
        self.failed |= ended.outcome != wanted;
        ("already ended", format!("{} by {} at {}", ended.outcome.as_str(), ended.by, ended.at))
    }

    /// One letter's failure does not stop the others; a server's does.
    fn failed(&mut self, error: DeadLetterError) -> Result<(&'static str, String), CliError> {
        match error {
            DeadLetterError::NotFound(_) | DeadLetterError::StockChange { .. } => {
                self.failed = true;
                Ok(("failed", error.to_string()))
            }
            error => Err(error.into()),
        }
    }

    fn finish(self) -> Result<(), CliError> {
        if let Some(all) = &self.json {
            write_json(&mut io::stdout(), &json!({ "dead_letters": all }))?;
        }
        match (self.failed, self.attention) {
            (true, _) => Err(CliError::Incomplete),
            (false, true) => Err(CliError::Attention),
            (false, false) => Ok(()),
        }
    }
}

/// The units that a letter keeps counted, as `2 TEE, 1 MUG`.
fn units(letter: &DeadLetter) -> String {
    let Some(lines) = letter.counted.as_ref().and_then(Value::as_object) else { return "-".to_owned() };
    lines.iter().map(|(sku, units)| format!("{units} {sku}")).collect::<Vec<_>>().join(", ")
}
