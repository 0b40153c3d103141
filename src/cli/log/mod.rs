//! `doorbuster log`

mod line;

use std::io::{self, Write};
use std::time::Duration;

use clap::Args;

use super::CliError;
use super::servers::{Servers, with_servers};
use crate::buyer::{BuyerId, BuyerIdError};
use crate::config::Settings;
use crate::log::{
    Direction, EntryAddress, Fate, LogBound, LogEntry, LogRange, LogWalk, RawEntry, fates, read_entry,
};
use crate::partition::Partition;
use crate::redis::{Keys, RedisError};

pub(super) use line::entry_json;

/// How often new entries are looked for.
const FOLLOW_POLL: Duration = Duration::from_millis(200);
/// Entries whose fate is asked for at once.
const CHUNK: usize = 500;

/// Arguments of `doorbuster log`.
#[derive(Debug, Args)]
#[command(
    long_about = "Show entries of the log, oldest first: the newest ones, or the first ones of a stretch.\n\n\
        Every change of Redis stock is an entry: an order, an allotment, an adjustment, a return; and so is each opening. They are kept\n\
        for log_retention_s after they were persisted. An entry that cannot be read is shown as it is, escaped.",
    after_help = "Examples:\n  \
        doorbuster log --follow --state\n  \
        doorbuster log --from -15m --kind order --limit 0\n  \
        doorbuster log --buyer alice --from 2026-11-27T09:00:00Z --to 2026-11-27T10:00:00Z\n  \
        doorbuster log 01KAJ5R4ZX000000003QK6V8TM --state\n\n\
        Exit codes: 0 done, 1 failed or not in the log, 3 an entry is missing in Postgres (with --state)"
)]
pub(super) struct LogCommand {
    /// Order ids, or addresses such as p0:1800000000123-0: show only these
    #[arg(value_name = "ENTRY", conflicts_with_all = ["from", "to", "buyer", "kind", "partition", "follow"])]
    entries: Vec<EntryAddress>,
    /// Begin here: 2026-11-27T09:00:00Z, -15m (before now), or an entry id
    #[arg(long, value_name = "PLACE", allow_hyphen_values = true)]
    from: Option<LogBound>,
    /// End here, included
    #[arg(long, value_name = "PLACE", allow_hyphen_values = true, conflicts_with = "follow")]
    to: Option<LogBound>,
    /// Only orders of this buyer
    #[arg(long, value_name = "ID", value_parser = buyer)]
    buyer: Option<BuyerId>,
    /// Only entries of this kind: order, allotment, adjustment, confirmation, return, opening,
    /// or what else stands in the log
    #[arg(long)]
    kind: Option<String>,
    /// Only this partition
    #[arg(long, value_name = "NUMBER")]
    partition: Option<u8>,
    /// Show at most this many; 0 for all
    #[arg(long, default_value_t = 100)]
    limit: usize,
    /// Go on with what is appended, until Ctrl-C
    #[arg(long, short)]
    follow: bool,
    /// Also show what became of each entry in Postgres: its state, dead, applied, pending, or missing
    #[arg(long)]
    state: bool,
    /// Write JSON, one object on each line
    #[arg(long)]
    json: bool,
}

fn buyer(text: &str) -> Result<BuyerId, BuyerIdError> {
    BuyerId::parse(text.as_bytes())
}

type Found = (EntryAddress, RawEntry);

impl LogCommand {
    pub(super) fn run(&self, settings: &Settings) -> Result<(), CliError> {
        with_servers(settings, async |servers| {
            servers.redis.wait_ready().await?;
            let mut printer =
                Printer { servers: &servers, state: self.state, json: self.json, missing: false };
            if self.entries.is_empty() {
                self.walk(&mut printer).await?
            } else {
                self.named(&mut printer).await?
            }
            if printer.missing { Err(CliError::Attention) } else { Ok(()) }
        })
    }

    /// Entries that were named: each is read where it stands.
    async fn named(&self, printer: &mut Printer<'_>) -> Result<(), CliError> {
        let (mut found, mut absent) = (Vec::new(), Vec::new());
        for address in &self.entries {
            let keys = Keys::new(address.partition);
            let entry = read_entry(&printer.servers.redis, &keys, address.entry).await?;
            let is_named = |raw: &RawEntry| address.mark.is_none_or(|mark| raw.mark() == mark.text());
            match entry.filter(is_named) {
                Some(raw) => found.push((*address, raw)),
                None => absent.push(address.to_string()),
            }
        }
        printer.print(&found).await?;
        if absent.is_empty() { Ok(()) } else { Err(CliError::NotInLog(absent)) }
    }

    async fn walk(&self, printer: &mut Printer<'_>) -> Result<(), CliError> {
        let redis = &printer.servers.redis;
        let partitions = self.partitions(printer.servers).await?;
        let now_ms = now_ms(printer.servers, &partitions).await?;
        let range = LogRange { from: self.from, to: self.to }.resolve(now_ms);
        let mut shown_to = range.0;
        let mut count = 0;
        if self.from.is_none() && self.limit > 0 {
            // The newest ones: backwards until there are enough, then in their order.
            let mut walk = LogWalk::new(redis.clone(), &partitions, range, Direction::Backward);
            let mut newest = Vec::new();
            while newest.len() < self.limit
                && let Some(found) = walk.next().await?
            {
                shown_to = shown_to.max(found.0.entry.next());
                if self.wants(&found.1) {
                    newest.push(found);
                }
            }
            newest.reverse();
            printer.print(&newest).await?;
        } else {
            let mut walk = LogWalk::new(redis.clone(), &partitions, range, Direction::Forward);
            count = self.stream(printer, &mut walk, count).await?;
            if self.follow {
                return self.follow(printer, walk, count).await;
            }
        }
        if self.follow {
            let rest = (shown_to, crate::log::EntryId::MAX);
            let walk = LogWalk::new(redis.clone(), &partitions, rest, Direction::Forward);
            return self.follow(printer, walk, count).await;
        }
        Ok(())
    }

    /// A buyer's claims are all in one partition.
    async fn partitions(&self, servers: &Servers) -> Result<Vec<Partition>, CliError> {
        let chosen = servers.chosen(self.partition).await?;
        let Some(buyer) = &self.buyer else { return Ok(chosen) };
        let home = servers.partitions().await?.of(buyer);
        Ok(chosen.into_iter().filter(|partition| *partition == home).collect())
    }

    /// Prints what a forward walk finds, in chunks.
    async fn stream(
        &self,
        printer: &mut Printer<'_>,
        walk: &mut LogWalk,
        mut count: usize,
    ) -> Result<usize, CliError> {
        let mut chunk = Vec::new();
        while (self.follow || self.limit == 0 || count < self.limit)
            && let Some(found) = walk.next().await?
        {
            if self.wants(&found.1) {
                count += 1;
                chunk.push(found);
            }
            if chunk.len() == CHUNK {
                printer.print(&std::mem::take(&mut chunk)).await?;
            }
        }
        printer.print(&chunk).await?;
        Ok(count)
    }

    async fn follow(
        &self,
        printer: &mut Printer<'_>,
        mut walk: LogWalk,
        mut count: usize,
    ) -> Result<(), CliError> {
        loop {
            match self.stream(printer, &mut walk, count).await {
                Ok(printed) => count = printed,
                // A server that comes back goes on being followed.
                Err(CliError::Redis(RedisError::Timeout | RedisError::Disconnected(_))) => {}
                Err(error) => return Err(error),
            }
            tokio::time::sleep(FOLLOW_POLL).await;
            walk.go_on();
        }
    }

    fn wants(&self, raw: &RawEntry) -> bool {
        let kind = || raw.fields.first().map(|(field, _)| &field[..]).unwrap_or_default();
        if self.kind.as_ref().is_some_and(|wanted| wanted.as_bytes() != kind()) {
            return false;
        }
        let Some(buyer) = &self.buyer else { return true };
        matches!(raw.decode(), Ok(LogEntry::Order(order)) if order.buyer == *buyer)
    }
}

/// By the clock that gives the entries their ids.
async fn now_ms(servers: &Servers, partitions: &[Partition]) -> Result<u64, CliError> {
    let Some(first) = partitions.first() else { return Ok(0) };
    let reply = servers.redis.command("TIME", &Keys::new(*first).meta, Vec::new()).await?;
    let (seconds, micros): (u64, u64) = reply.convert().map_err(RedisError::from)?;
    Ok(seconds * 1000 + micros / 1000)
}

struct Printer<'a> {
    servers: &'a Servers,
    state: bool,
    json: bool,
    /// Whether an entry was found that Postgres should have, and has not.
    missing: bool,
}

impl Printer<'_> {
    async fn print(&mut self, found: &[Found]) -> Result<(), CliError> {
        for chunk in found.chunks(CHUNK) {
            let fates = match self.state {
                true => fates(&self.servers.pool, chunk).await?.into_iter().map(Some).collect(),
                false => vec![None; chunk.len()],
            };
            self.missing |= fates.contains(&Some(Fate::Missing));
            let mut out = io::stdout().lock();
            for ((address, raw), fate) in chunk.iter().zip(&fates) {
                match self.json {
                    true => writeln!(out, "{}", entry_json(*address, raw, fate.as_ref()))?,
                    false => line::write(&mut out, *address, raw, fate.as_ref())?,
                }
            }
            out.flush()?;
        }
        Ok(())
    }
}
