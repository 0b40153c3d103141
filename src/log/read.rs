//! Reads entries out of Redis replies.

use bytes::Bytes;
use fred::types::Value;

use crate::log::{EntryError, EntryId, LogEntry};
use crate::order_id::Mark;
use crate::redis::{Keys, Redis, RedisError, Reply};

/// An entry as Redis holds it, readable or not.
#[derive(Clone, Debug, PartialEq)]
pub struct RawEntry {
    /// Where it stands.
    pub id: EntryId,
    /// Its fields and their values.
    pub fields: Vec<(Bytes, Bytes)>,
}

impl RawEntry {
    /// Whether it is pending, but no longer in the log: nothing tells what it said.
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
        Self { id, fields }
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
        self.fields.first().map(|(_, value)| &value[..value.len().min(Mark::LENGTH)]).unwrap_or_default()
    }
}

/// Entries of a reply to XRANGE, or of one stream of XREADGROUP or XAUTOCLAIM.
///
/// # Errors
/// [`RedisError::Unexpected`] where the reply has another shape.
pub fn read_entries(reply: Reply) -> Result<Vec<RawEntry>, RedisError> {
    let unexpected = || RedisError::Unexpected("not a list of log entries".into());
    let Value::Array(entries) = reply else {
        return if reply.is_null() { Ok(Vec::new()) } else { Err(unexpected()) };
    };
    entries
        .into_iter()
        .map(|entry| {
            let Value::Array(parts) = entry else { return Err(unexpected()) };
            let mut parts = parts.into_iter();
            let id = parts
                .next()
                .and_then(|id| id.as_str().and_then(|id| id.parse().ok()))
                .ok_or_else(unexpected)?;
            let words = match parts.next() {
                Some(Value::Array(words)) => words,
                // Pending, but deleted from the log: a consumer that asks for its own entries is told so.
                Some(Value::Null) => Vec::new(),
                _ => return Err(unexpected()),
            };
            let mut words = words.into_iter().map(|word| word.into_bytes());
            let mut fields = Vec::with_capacity(1);
            while let (Some(Some(field)), Some(Some(value))) = (words.next(), words.next()) {
                fields.push((field, value));
            }
            Ok(RawEntry { id, fields })
        })
        .collect()
}

/// At most `count` entries from `from` on.
///
/// # Errors
/// Those of any command.
pub async fn read_range(
    redis: &Redis,
    keys: &Keys,
    from: EntryId,
    count: i64,
) -> Result<Vec<RawEntry>, RedisError> {
    let args = vec![from.to_string().into(), "+".into(), "COUNT".into(), count.into()];
    read_entries(redis.on_key("XRANGE", &keys.log, args).await?)
}

/// The entry at this very position.
///
/// # Errors
/// Those of any command.
pub async fn read_entry(redis: &Redis, keys: &Keys, id: EntryId) -> Result<Option<RawEntry>, RedisError> {
    let id = id.to_string();
    let args = vec![id.as_str().into(), id.as_str().into()];
    Ok(read_entries(redis.on_key("XRANGE", &keys.log, args).await?)?.pop())
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
