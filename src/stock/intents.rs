//! Changes of stock that Postgres has decided and Redis has not logged yet.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use fred::types::Value;
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio_postgres::Row;
use uuid::Uuid;

use crate::catalogue::{SaleId, Sku};
use crate::claim::{IdempotencyKey, record_head};
use crate::faults::{crash_point, weakened};
use crate::live::publish_order_changes;
use crate::log::{DecidedEntry, StockEntry};
use crate::order::CancelReason;
use crate::order_id::{Mark, OrderId};
use crate::partition::Partition;
use crate::persist::{Fence, WriteError, begin};
use crate::postgres::{PgError, PgPool};
use crate::redis::{Keys, Redis, Script, StampedScripts};

use super::ApplyError;

const OPEN_INTENTS: &str = include_str!("../../sql/stock/open_intents.sql");
const REFUSED: &str = include_str!("../../sql/stock/refused.sql");
/// Changes in one round.
const ROUND: usize = 500;
/// Of those, calls in flight: one fsync of Redis then covers many. They are sent in the order of the changes, over one
/// connection.
const AT_ONCE: usize = 256;
/// Rounds in one go: published sales wait meanwhile.
const ROUNDS: usize = 8;
/// How long a change that Redis has logged may take to be persisted before it is sent again.
const PERSISTED_WITHIN: Duration = Duration::from_secs(10);
/// When a change of which nothing came is tried again: its sale is not there, it was refused, or it cannot be read.
const AGAIN: Duration = Duration::from_secs(1);
/// Changes that are remembered; with more all are forgotten, and sent again.
const REMEMBERED_MAX: usize = 100_000;

/// Sends the open changes of one partition, while one opening lasts. A later opening may find a Redis that lost what this
/// one was sent.
#[derive(Debug, Default)]
pub struct IntentSender {
    /// Changes that Redis has answered, and until when they are not sent again: their entries are on the way through the log,
    /// which takes as long as the entries before them. Others are not to wait for that.
    answered: Mutex<HashMap<i64, Instant>>,
}

impl IntentSender {
    /// Sends every open change. Each takes effect once, however often it is sent; it is over when its log entry is
    /// persisted, and that alone ends it.
    ///
    /// # Errors
    /// [`ApplyError`]; what was sent stays sent.
    pub async fn send(
        &self,
        redis: &Redis,
        scripts: &StampedScripts,
        pool: &PgPool,
    ) -> Result<(), ApplyError> {
        for _ in 0..ROUNDS {
            if self.send_some(redis, scripts, pool).await? < ROUND {
                break;
            }
        }
        Ok(())
    }

    /// A round of them; how many there were.
    async fn send_some(
        &self,
        redis: &Redis,
        scripts: &StampedScripts,
        pool: &PgPool,
    ) -> Result<usize, ApplyError> {
        let partition = scripts.stamp.partition;
        let db = pool.get().await.map_err(PgError::from)?;
        let statement = db.prepare_cached(OPEN_INTENTS).await.map_err(PgError::from)?;
        let at_most = i64::try_from(ROUND).unwrap_or(i64::MAX);
        let rows = db.query(&statement, &[&partition.to_sql(), &at_most, &self.on_their_way()]).await;
        let rows = rows.map_err(PgError::from)?;
        drop(db);
        let changes: Vec<Change> = rows.iter().filter_map(|row| Change::read(partition, row)).collect();
        let sent = stream::iter(changes).map(|change| send(redis, scripts, change)).buffered(AT_ONCE);
        let sent: Vec<(i64, Sent)> = sent.try_collect().await?;
        self.remember(rows.iter().map(|row| row.get("sequence")), AGAIN);
        let is_logged = |sent: &Sent| matches!(sent, Sent::Logged(_) | Sent::Known);
        let logged = sent.iter().filter(|(_, sent)| is_logged(sent)).map(|(sequence, _)| *sequence);
        self.remember(logged, PERSISTED_WITHIN);
        let mut moved = Vec::new();
        for (_, sent) in sent {
            match sent {
                Sent::Logged(order) => moved.extend(order),
                Sent::Refused(cause) => end_refused(pool, scripts, &cause).await?,
                Sent::Known | Sent::Absent => {}
            }
        }
        // Every step of a stored order leaves an intent: this is where those who watch the order are told, whoever took it.
        if let Err(error) = publish_order_changes(redis, partition, &moved).await {
            tracing::debug!(%partition, %error, "nobody was told of steps of orders; who watches looks again");
        }
        Ok(rows.len())
    }

    /// Those that are not sent again now.
    fn on_their_way(&self) -> Vec<i64> {
        let (mut answered, now) = (self.answered(), Instant::now());
        answered.retain(|_, until| *until > now);
        if answered.len() > REMEMBERED_MAX {
            answered.clear();
        }
        answered.keys().copied().collect()
    }

    fn remember(&self, sequences: impl Iterator<Item = i64>, time: Duration) {
        let until = Instant::now() + time;
        self.answered().extend(sequences.map(|sequence| (sequence, until)));
    }

    fn answered(&self) -> MutexGuard<'_, HashMap<i64, Instant>> {
        self.answered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends a lowering that Redis refused: under the epoch of that Redis, so that no later opening can have sent it again, and
/// with success.
async fn end_refused(pool: &PgPool, scripts: &StampedScripts, cause: &str) -> Result<(), ApplyError> {
    let mut db = pool.get().await.map_err(PgError::from)?;
    let fence = Fence::new(scripts.stamp.partition, scripts.stamp.epoch);
    let ended = async {
        let tx = begin(&mut db, fence).await?;
        tx.execute(REFUSED, &[&cause]).await?;
        tx.commit().await?;
        Ok::<_, WriteError>(())
    };
    match ended.await {
        Ok(()) => tracing::warn!(cause, "an allotment was not lowered: its units are sold"),
        Err(WriteError::Postgres(error)) => return Err(error.into()),
        Err(error) => {
            tracing::debug!(cause, %error, "whether an allotment is lowered is left to the next opening")
        }
    }
    Ok(())
}

/// What became of a change that was sent.
enum Sent {
    /// It took effect now; the order whose step it follows from, if any.
    Logged(Option<OrderId>),
    /// It had taken effect before.
    Known,
    /// Its sale is not there.
    Absent,
    /// There are not so many units: the change of this cause.
    Refused(String),
}

/// Its sequence, and what became of it.
async fn send(redis: &Redis, scripts: &StampedScripts, change: Change) -> Result<(i64, Sent), ApplyError> {
    let partition = scripts.stamp.partition;
    let keys = Keys::new(partition);
    let sale = keys.sale(&change.stock.sale);
    let all = vec![keys.meta, sale.sale, sale.buyers, sale.causes, keys.log];
    let (sequence, cause, order) = (change.sequence, change.stock.cause.clone(), change.order);
    let reply = redis.run(scripts, Script::ChangeStock, all, change.args()).await?;
    crash_point!("stock_before_ledger");
    let sent = match reply.as_str().as_deref() {
        Some("absent") => {
            tracing::warn!(%partition, cause, "the sale or its stock is not in redis yet, or was lost");
            Sent::Absent
        }
        Some("short") => Sent::Refused(cause),
        Some("known") => Sent::Known,
        entry => {
            tracing::debug!(%partition, cause, entry, "stock change logged");
            Sent::Logged(order)
        }
    };
    Ok((sequence, sent))
}

struct Change {
    sequence: i64,
    stock: StockEntry,
    kind: Kind,
    /// Whose step it follows from.
    order: Option<OrderId>,
}

enum Kind {
    Allotment,
    /// `adjustment` or `confirmation`.
    Decided {
        field: &'static str,
        actor: String,
        reason: String,
    },
    Return {
        buyer: String,
        /// Head and entry id of the buyer's record.
        record: String,
        reason: CancelReason,
    },
}

impl Change {
    /// `None`, and said, where this version cannot read it: the others are not to wait for it.
    fn read(partition: Partition, row: &Row) -> Option<Self> {
        let change = Self::parse(row);
        if change.is_none() {
            tracing::error!(%partition, cause = row.get::<_, &str>(0), "a stock intent cannot be read");
        }
        change
    }

    fn parse(row: &Row) -> Option<Self> {
        let sale: SaleId = row.get::<_, &str>(2).parse().ok()?;
        let lines: BTreeMap<Sku, i64> = serde_json::from_value(row.get(3)).ok()?;
        let mut lines: Vec<(Sku, i64)> = lines.into_iter().collect();
        let kind = match row.get::<_, &str>(1) {
            "allotment" => Kind::Allotment,
            adjustment @ ("raise" | "lower") => {
                if adjustment == "lower" {
                    lines.iter_mut().for_each(|(_, units)| *units = -*units);
                }
                Kind::Decided { field: "adjustment", actor: row.get(9), reason: row.get(4) }
            }
            "confirmation" => Kind::Decided { field: "confirmation", actor: row.get(9), reason: row.get(4) },
            "return" => {
                let id = OrderId::from_uuid(row.get::<_, Option<Uuid>>(5)?);
                let key = IdempotencyKey::from_content(row.get(7)).ok()?;
                if weakened!("return_without_units") {
                    lines.clear();
                }
                let head = record_head(&key, row.get::<_, i64>(8).cast_unsigned(), id.mark());
                Kind::Return {
                    buyer: row.get(6),
                    record: format!("{head}{}", id.entry()),
                    reason: row.get::<_, &str>(4).parse().ok()?,
                }
            }
            // Of a newer version, which sends it.
            _ => return None,
        };
        let order = row.get::<_, Option<Uuid>>(5).map(OrderId::from_uuid);
        Some(Self {
            sequence: row.get("sequence"),
            order,
            stock: StockEntry { mark: Mark::random(), sale, cause: row.get(0), lines },
            kind,
        })
    }

    fn args(self) -> Vec<Value> {
        let stock = self.stock;
        let (cause, lines) = (stock.cause.clone(), stock.lines.clone());
        let (field, entry, buyer, record) = match self.kind {
            Kind::Allotment => ("allotment", stock.encode(), String::new(), String::new()),
            Kind::Decided { field, actor, reason } => {
                let entry = DecidedEntry { stock, actor, reason };
                (field, entry.encode(), String::new(), String::new())
            }
            Kind::Return { buyer, record, reason } => ("return", stock.encode_return(reason), buyer, record),
        };
        let mut args: Vec<Value> =
            vec![field.into(), entry.into(), cause.into(), buyer.into(), record.into()];
        for (sku, units) in lines {
            args.extend([sku.as_str().into(), units.into()]);
        }
        args
    }
}
