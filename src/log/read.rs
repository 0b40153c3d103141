//! Reads entries out of Redis replies.

use bytes::Bytes;
use fred::types::Value;

use crate::log::{EntryError, EntryId, LogEntry};
use crate::order_id::Mark;
use crate::redis::{Keys, Redis, RedisError, Reply};

/// An entry of the log as Redis holds it, readable or not.
#[derive(Clone, Debug, PartialEq)]
pub struct RawEntry {
    /// Its position.
    pub id: EntryId,
    /// The entry of the stream that holds it: the orders of one call of `claim.lua` share one, which stands at the position
    /// of the last of them.
    pub held_by: EntryId,
    /// Its fields and their values.
    pub fields: Vec<(Bytes, Bytes)>,
}

impl RawEntry {
    /// One that is pending, but no longer in the log: nothing tells what it said.
    pub fn vanished(id: EntryId) -> Self {
        Self { id, held_by: id, fields: Vec::new() }
    }

    /// Whether it is pending, but no longer in the log.
    pub fn is_vanished(&self) -> bool {
        self.fields.is_empty()
    }

    /// From what a dead letter kept: field, value, field, value.
    pub fn from_fields(id: EntryId, words: Vec<Vec<u8>>) -> Self {
        let mut words = words.into_iter().map(Bytes::from);
        let mut fields = Vec::new();
        while let (Some(field), Some(value)) = (words.next(), words.next()) {
            fields.push((field, value));
        }
        Self { id, held_by: id, fields }
    }

    /// What it says.
    ///
    /// # Errors
    /// [`EntryError`] where this version cannot read it.
    pub fn decode(&self) -> Result<LogEntry, EntryError> {
        let [(field, value)] = self.fields.as_slice() else {
            return Err(EntryError::Kind(format!("{} fields", self.fields.len())));
        };
        let field = str::from_utf8(field).map_err(|_| EntryError::Kind("not UTF-8".into()))?;
        LogEntry::decode(field, str::from_utf8(value).map_err(|_| EntryError::Word("UTF-8"))?)
    }

    /// What tells this entry from another at the same position: the start of its value, as `position.lua` cuts it.
    pub fn mark(&self) -> &[u8] {
        self.fields.last().map(|(_, value)| &value[..value.len().min(Mark::LENGTH)]).unwrap_or_default()
    }
}

/// One entry of the stream.
struct StreamEntry {
    id: EntryId,
    fields: Vec<(Bytes, Bytes)>,
}

impl StreamEntry {
    /// The entries of the log in it, in their order.
    fn unpack(self, into: &mut Vec<RawEntry>) {
        let Self { id: held_by, fields } = self;
        let first =
            fields.len().checked_sub(1).and_then(|later| held_by.seq.checked_sub(u32::try_from(later).ok()?));
        match first {
            Some(first) if fields.len() > 1 && fields.iter().all(|(field, _)| field == LogEntry::ORDER) => {
                let order =
                    |(field, seq)| RawEntry { id: EntryId { seq, ..held_by }, held_by, fields: vec![field] };
                into.extend(fields.into_iter().zip(first..=held_by.seq).map(order));
            }
            // Of several fields nothing else is written: it is for the dead letters, as it stands.
            _ => into.push(RawEntry { id: held_by, held_by, fields }),
        }
    }
}

/// The entries of the log in a reply to XRANGE, or in one stream of XREADGROUP or XAUTOCLAIM.
///
/// # Errors
/// [`RedisError::Unexpected`] where the reply has another shape.
pub fn read_entries(reply: Reply) -> Result<Vec<RawEntry>, RedisError> {
    Ok(read_page(reply)?.entries)
}

/// What one reply holds.
pub(super) struct Page {
    /// Entries of the stream.
    pub held_by: usize,
    /// Entries of the log in them.
    pub entries: Vec<RawEntry>,
}

pub(super) fn read_page(reply: Reply) -> Result<Page, RedisError> {
    let unexpected = || RedisError::Unexpected("not a list of log entries".into());
    let Value::Array(replies) = reply else {
        return if reply.is_null() {
            Ok(Page { held_by: 0, entries: Vec::new() })
        } else {
            Err(unexpected())
        };
    };
    let mut page = Page { held_by: replies.len(), entries: Vec::with_capacity(replies.len()) };
    for entry in replies {
        let Value::Array(parts) = entry else { return Err(unexpected()) };
        let mut parts = parts.into_iter();
        let id =
            parts.next().and_then(|id| id.as_str().and_then(|id| id.parse().ok())).ok_or_else(unexpected)?;
        let words = match parts.next() {
            Some(Value::Array(words)) => words,
            // Pending, but deleted from the log: a consumer that asks for its own entries is told so.
            Some(Value::Null) => Vec::new(),
            _ => return Err(unexpected()),
        };
        let mut fields = Vec::with_capacity(words.len() / 2);
        let mut words = words.into_iter().map(|word| word.into_bytes());
        while let (Some(Some(field)), Some(Some(value))) = (words.next(), words.next()) {
            fields.push((field, value));
        }
        StreamEntry { id, fields }.unpack(&mut page.entries);
    }
    Ok(page)
}

/// Entries of the stream in the first reply, before it is known how much they hold: one order, or hundreds.
const PROBE: usize = 8;
/// And in any reply: it stays bounded also where single orders are followed by crowded entries.
const REPLY_MAX: usize = 128;
/// At each end of the log, to learn how much its entries hold.
const SAMPLE: usize = 16;

/// Entries from `from` on: about `count`, and as many more as the last of the stream's entries hold that hold these. Fewer
/// only at the end of the log.
///
/// # Errors
/// Those of any command.
pub async fn read_range(
    redis: &Redis,
    keys: &Keys,
    from: EntryId,
    count: usize,
) -> Result<Vec<RawEntry>, RedisError> {
    let (mut entries, mut next, mut asked) = (Vec::new(), from, count.min(PROBE));
    while entries.len() < count {
        let mut page = read_forward(redis, keys, next, asked).await?;
        let Some(last) = page.entries.last() else { break };
        next = last.id.next();
        // It may stand in the middle of what shares an entry.
        page.entries.retain(|entry| entry.id >= from);
        let (held_by, held) = (page.held_by, page.entries.len());
        entries.append(&mut page.entries);
        if held_by < asked {
            break;
        }
        asked = (count.saturating_sub(entries.len()) * held_by / held).clamp(1, REPLY_MAX);
    }
    Ok(entries)
}

async fn read_forward(redis: &Redis, keys: &Keys, from: EntryId, count: usize) -> Result<Page, RedisError> {
    let args = vec![from.to_string().into(), "+".into(), "COUNT".into(), (count as i64).into()];
    read_page(redis.on_key("XRANGE", &keys.log, args).await?)
}

/// The entry at this very position.
///
/// # Errors
/// Those of any command.
pub async fn read_entry(redis: &Redis, keys: &Keys, id: EntryId) -> Result<Option<RawEntry>, RedisError> {
    // Whatever holds it stands in the same millisecond.
    let args = vec![id.to_string().into(), id.last_of_ms().to_string().into(), "COUNT".into(), 1.into()];
    let entries = read_entries(redis.on_key("XRANGE", &keys.log, args).await?)?;
    Ok(entries.into_iter().find(|entry| entry.id == id))
}

/// How many entries of the log an entry of the stream holds: the mean of the oldest and the newest ones.
///
/// # Errors
/// Those of any command.
pub async fn mean_held(redis: &Redis, keys: &Keys) -> Result<f64, RedisError> {
    let (mut held_by, mut entries) = (0, 0);
    for (command, first, last) in [("XRANGE", "-", "+"), ("XREVRANGE", "+", "-")] {
        let args = vec![first.into(), last.into(), "COUNT".into(), (SAMPLE as i64).into()];
        let page = read_page(redis.on_key(command, &keys.log, args).await?)?;
        held_by += page.held_by;
        entries += page.entries.len();
    }
    Ok(entries.max(1) as f64 / held_by.max(1) as f64)
}

/// The last id that the log gave out, also where that entry was deleted since; [`EntryId::ZERO`] without a log.
///
/// # Errors
/// Those of any command.
pub async fn last_generated(redis: &Redis, keys: &Keys) -> Result<EntryId, RedisError> {
    let args = vec!["STREAM".into(), keys.log.clone().into()];
    let info = match redis.command("XINFO", &keys.log, args).await {
        Err(RedisError::Refused(why)) if why.contains("no such key") => return Ok(EntryId::ZERO),
        info => info?.into_array(),
    };
    let mut words = info.iter();
    while let (Some(name), Some(value)) = (words.next(), words.next()) {
        if name.as_str().as_deref() == Some("last-generated-id") {
            let id = value.as_str().and_then(|id| id.parse().ok());
            return id.ok_or_else(|| RedisError::Unexpected("last-generated-id of the log".into()));
        }
    }
    Err(RedisError::Unexpected("XINFO STREAM without last-generated-id".into()))
}
