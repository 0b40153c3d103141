//! Many claims on one sale, decided by one call of `claim.lua`.

use std::collections::HashMap;

use bytes::Bytes;
use fred::types::{Key, Value};

use crate::catalogue::Sku;
use crate::claim::decision::{ACCEPTED, DUPLICATE, ReplyContext};
use crate::claim::{Claim, ClaimError, Decision};
use crate::log::EntryId;
use crate::partition::Partition;
use crate::redis::{Keys, Redis, RedisError, ReplicaWait, Reply, SaleKeys, Script, Session, StampedScripts};

/// Lines of all claims of a batch, at most: bounds the work of one call and the arguments that Lua can unpack.
pub const BATCH_LINES_MAX: usize = 1024;

/// What one call of the script is given.
pub struct Batch {
    skus: Vec<Sku>,
    args: Vec<Value>,
}

impl Batch {
    /// Lays out `claims`, with the log's bound (entries not yet persisted).
    pub fn new<'a>(claims: impl Iterator<Item = &'a Claim> + Clone, backlog_max: u64) -> Self {
        let (skus, numbers) = number_skus(claims.clone().flat_map(|claim| &claim.lines));
        let count = claims.clone().count();
        let mut args = Vec::with_capacity(3 + skus.len() + 6 * count);
        args.push(Value::from(backlog_max as i64));
        args.push(Value::from(skus.len() as i64));
        args.push(Value::from(count as i64));
        args.extend(skus.iter().map(|sku| Value::from(sku.as_str())));
        let mut texts = Texts::default();
        claims.clone().for_each(|claim| texts.add(|text| text.push_str(claim.buyer.as_str())));
        for claim in claims.clone() {
            texts.add(|text| claim.write_head(text));
            texts.add(|text| claim.write_entry(text));
        }
        let mut texts = texts.into_values();
        args.extend(texts.by_ref().take(count));
        let mut numbers = numbers.into_iter();
        for claim in claims {
            let lines = claim.lines.len() as i64;
            args.extend(texts.by_ref().take(2));
            args.push(Value::from(if claim.over_rate { -lines } else { lines }));
            for ((_, quantity), number) in claim.lines.iter().zip(&mut numbers) {
                args.push(Value::from(number));
                args.push(Value::from(i64::from(*quantity)));
            }
        }
        Self { skus, args }
    }

    /// Calls the script. The outer error says that nothing was decided, or that it is not known.
    ///
    /// # Errors
    /// [`ClaimError`] for the batch as a whole.
    pub async fn decide(
        self,
        redis: &Redis,
        scripts: &StampedScripts,
        keys: &Keys,
        sale: &SaleKeys,
    ) -> Result<Decisions, ClaimError> {
        let reply = redis.run(scripts, Script::Claim, script_keys(keys, sale), self.args).await?;
        Decisions::new(reply, scripts.stamp.partition, self.skus)
    }

    /// As [`Batch::decide`]; the orders that the decisions tell of are told only where the replicas hold them.
    ///
    /// # Errors
    /// As [`Batch::decide`]. Behind any error the session is not to be used again.
    pub(super) async fn decide_and_wait(
        self,
        session: &Session,
        scripts: &StampedScripts,
        keys: &Keys,
        sale: &SaleKeys,
        wait: ReplicaWait,
    ) -> Result<Decisions, ClaimError> {
        let held =
            session.run_and_wait(scripts, Script::Claim, script_keys(keys, sale), self.args, wait).await?;
        let by_enough = held.by(wait);
        let mut decisions = Decisions::new(held.reply, scripts.stamp.partition, self.skus)?;
        decisions.orders_hidden = match decisions.tells() {
            Tells::New => !by_enough,
            // The script only read, so its WAIT told nothing of these orders.
            Tells::Known => !replicas_hold_all(session, scripts, keys, wait).await?,
            Tells::Nothing => false,
        };
        Ok(decisions)
    }
}

/// Texts in one piece of memory: a batch has hundreds, and an allocation for each costs more than to write it.
#[derive(Default)]
struct Texts {
    all: String,
    ends: Vec<usize>,
}

impl Texts {
    fn add(&mut self, write: impl FnOnce(&mut String)) {
        write(&mut self.all);
        self.ends.push(self.all.len());
    }

    fn into_values(self) -> impl Iterator<Item = Value> {
        let all = Bytes::from(self.all);
        let mut begin = 0;
        self.ends.into_iter().map(move |end| Value::Bytes(all.slice(std::mem::replace(&mut begin, end)..end)))
    }
}

fn script_keys(keys: &Keys, sale: &SaleKeys) -> Vec<Key> {
    vec![keys.meta.clone(), sale.sale.clone(), sale.buyers.clone(), keys.log.clone()]
}

/// Whether the replicas hold everything that this server knows at this moment.
pub(super) async fn replicas_hold_all(
    session: &Session,
    scripts: &StampedScripts,
    keys: &Keys,
    wait: ReplicaWait,
) -> Result<bool, RedisError> {
    let touched =
        session.run_and_wait(scripts, Script::Touch, vec![keys.meta.clone()], Vec::new(), wait).await?;
    Ok(touched.by(wait))
}

/// Each SKU once, and for each line the number of its SKU, from 1.
pub(super) fn number_skus<'a>(lines: impl Iterator<Item = &'a (Sku, u32)>) -> (Vec<Sku>, Vec<i64>) {
    let mut skus: Vec<Sku> = Vec::new();
    let mut number_of = HashMap::new();
    let number = |(sku, _): &'a (Sku, u32)| {
        // One SKU is the usual case: no hashing for it.
        if skus.first() == Some(sku) {
            return 1;
        }
        *number_of.entry(sku).or_insert_with(|| {
            skus.push(sku.clone());
            skus.len() as i64
        })
    };
    let numbers = lines.map(number).collect();
    (skus, numbers)
}

/// The replies of a batch, in the order of its claims.
pub struct Decisions {
    partition: Partition,
    skus: Vec<Sku>,
    now_ms: u64,
    opens_at_ms: u64,
    /// Where the next accepted order stands in the log: those of one call stand one behind the other.
    place: Option<EntryId>,
    replies: std::vec::IntoIter<Reply>,
    /// Too few replicas hold the orders that the replies tell of.
    orders_hidden: bool,
}

/// What a batch's replies say of orders.
enum Tells {
    /// Some were accepted: the script has written, behind all orders that it knew.
    New,
    /// None was accepted, but some were known.
    Known,
    Nothing,
}

impl Decisions {
    fn new(reply: Reply, partition: Partition, skus: Vec<Sku>) -> Result<Self, ClaimError> {
        let Value::Array(replies) = reply else {
            return Err(ClaimError::Unexpected(format!("{reply:?}").chars().take(60).collect()));
        };
        let mut replies = replies.into_iter();
        let mut number = || replies.next().and_then(|value| value.as_u64()).unwrap_or_default();
        let (now_ms, opens_at_ms) = (number(), number());
        let place = replies.next().and_then(|place| place.as_str()?.parse().ok());
        Ok(Self { partition, skus, now_ms, opens_at_ms, place, replies, orders_hidden: false })
    }

    fn tells(&self) -> Tells {
        let has = |code: &str| {
            self.replies
                .as_slice()
                .iter()
                .any(|reply| reply.as_str().is_some_and(|text| text.starts_with(code)))
        };
        if has(ACCEPTED) {
            Tells::New
        } else if has(DUPLICATE) {
            Tells::Known
        } else {
            Tells::Nothing
        }
    }

    /// The decision of the next claim, which is `claim`.
    ///
    /// # Errors
    /// [`ClaimError::Unexpected`] where script and binary do not belong together; [`ClaimError::Unreplicated`].
    pub fn next(&mut self, claim: &Claim) -> Result<Decision, ClaimError> {
        let context = ReplyContext {
            partition: self.partition,
            now_ms: self.now_ms,
            opens_at_ms: self.opens_at_ms,
            place: self.place,
            skus: &self.skus,
        };
        let Some(reply) = self.replies.next() else {
            return Err(ClaimError::Unexpected("a reply is missing".into()));
        };
        let decision = Decision::parse(reply.as_str().as_deref().unwrap_or_default(), claim.mark, &context)?;
        if let Decision::Accepted(_) = decision {
            self.place = self.place.map(EntryId::next);
        }
        match decision {
            Decision::Accepted(_) | Decision::Duplicate(_) if self.orders_hidden => {
                Err(ClaimError::Unreplicated)
            }
            _ => Ok(decision),
        }
    }
}

impl From<RedisError> for ClaimError {
    fn from(error: RedisError) -> Self {
        match error {
            RedisError::Fenced(_) | RedisError::Superseded(_) => Self::Fenced,
            RedisError::Timeout | RedisError::Disconnected(_) => Self::Indeterminate,
            RedisError::Unexpected(text) => Self::Unexpected(text),
            RedisError::Refused(text) | RedisError::Config(text) | RedisError::Layout(text) => {
                Self::Refused(text)
            }
        }
    }
}
