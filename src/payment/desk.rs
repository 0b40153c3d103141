//! The one door through which a payment moves: in one transaction with the step that its order takes.

use std::time::Duration;

use deadpool_postgres::{GenericClient, Transaction};
use tokio_postgres::Row;
use uuid::Uuid;

use super::error::PaymentError;
use super::list::{WaitingPayments, waiting_payments};
use super::record::PaymentRecord;
use super::rules::{Again, Alarm, News, PaymentState, Task, Verdict, task, verdict};
use crate::faults::{crash_point, weakened};
use crate::incidents;
use crate::order::OrderState;
use crate::order_id::OrderId;
use crate::order_life::{LifeError, OrderOf, Told, step_in};
use crate::postgres::{PgError, PgPool, within};
use crate::retry::RetryPolicy;

const LOCK_DUE: &str = include_str!("../../sql/payment/lock_due.sql");
const LOCK_NEW: &str = include_str!("../../sql/payment/lock_new.sql");
const LOCK_ORDER: &str = "SELECT FROM orders WHERE id = $1 FOR UPDATE";
const ENSURE: &str = include_str!("../../sql/payment/ensure.sql");
const FACTS: &str = include_str!("../../sql/payment/facts.sql");
const BEGIN: &str = include_str!("../../sql/payment/begin.sql");
const CONCLUDE: &str = include_str!("../../sql/payment/conclude.sql");
const BRING: &str = include_str!("../../sql/payment/bring.sql");
const POSTPONE: &str = include_str!("../../sql/payment/postpone.sql");
const NOTE: &str = include_str!("../../sql/payment/note.sql");
const TAKEN_WEBHOOK: &str =
    "INSERT INTO payment_webhooks (id, sent_at) VALUES ($1, $2) ON CONFLICT DO NOTHING";

/// Kept of what went wrong.
const ERROR_CHARACTERS: usize = 300;
/// Before a payment is looked at again at a Postgres that an opening has not brought up to date yet.
const NOT_DRAINED_PAUSE: Duration = Duration::from_secs(1);

/// States of payments that somebody has to look at; without a gateway only the first two are of use.
const LOOKED_AT: [&str; 7] = ["paid", "late", "due", "unknown", "refund_due", "awaited", "declined"];
const WITHOUT_GATEWAY: usize = 2;

/// The longest pause while an order holds its units.
const PENDING_PAUSE_MAX: Duration = Duration::from_secs(10);
/// Where something is on its way.
const SOON: Duration = Duration::from_millis(250);
/// Before a payment is looked at again that this version cannot read.
const UNREADABLE_PAUSE: Duration = Duration::from_secs(60);

/// The door to payments. Cheap to clone.
#[derive(Clone, Debug)]
pub struct PaymentDesk {
    pub(super) pool: PgPool,
    pub(super) limit: Duration,
    times: PaymentTimes,
}

/// What a payment waits for, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct PaymentTimes {
    /// How long somebody may work on one before he counts as lost.
    pub lease: Duration,
    /// The first pause before it is looked at again; doubled each time.
    pub pause_min: Duration,
    /// How long a request to charge may be on its way to the gateway, and a buyer may take to pay elsewhere after his hold.
    pub charge_lasts: Duration,
    /// After which a gateway that has declined is asked once more.
    pub recheck: Duration,
}

/// Which payments are wanted.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wanted<'a> {
    /// Those of orders that were just persisted.
    New(&'a [Uuid]),
    /// Whatever is due.
    Due {
        /// At most so many.
        most: i64,
        /// Whether the gateway can be asked.
        asks_gateway: bool,
    },
}

/// A payment that nobody else works on meanwhile.
#[derive(Clone, Debug)]
pub(super) struct TakenPayment {
    pub task: Task,
    pub record: PaymentRecord,
}

/// The signed name of a webhook.
#[derive(Clone, Copy, Debug)]
pub struct WebhookName<'a> {
    /// `webhook-id`.
    pub id: &'a str,
    /// `webhook-timestamp`, in seconds since the Unix epoch.
    pub sent_at: i64,
}

impl PaymentDesk {
    /// Over a pool that was made with `timeout`; each operation, of a few statements, is given twice of it.
    pub fn new(pool: PgPool, timeout: Duration, times: PaymentTimes) -> Self {
        Self { pool, limit: timeout * 2, times }
    }

    /// Takes payments to work on.
    pub(super) async fn take(&self, wanted: Wanted<'_>) -> Result<Vec<TakenPayment>, PaymentError> {
        within(self.limit, async {
            let mut db = self.pool.get().await.map_err(PgError::from)?;
            let tx = db.transaction().await?;
            let rows = match wanted {
                Wanted::New(orders) => tx.query(&tx.prepare_cached(LOCK_NEW).await?, &[&orders]).await?,
                Wanted::Due { most, asks_gateway } => {
                    let states = if asks_gateway { &LOOKED_AT[..] } else { &LOOKED_AT[..WITHOUT_GATEWAY] };
                    tx.query(&tx.prepare_cached(LOCK_DUE).await?, &[&most, &states]).await?
                }
            };
            if rows.is_empty() {
                return Ok(Vec::new());
            }
            let ids: Vec<Uuid> = rows.iter().map(|row| row.get(0)).collect();
            let taken = self.read(&tx, &ids).await?;
            let ids: Vec<Uuid> = taken.iter().map(|taken| taken.record.order.to_uuid()).collect();
            let charged: Vec<bool> = taken.iter().map(|taken| taken.task == Task::Charge).collect();
            let begin = tx.prepare_cached(BEGIN).await?;
            tx.execute(&begin, &[&ids, &charged, &self.times.lease.as_secs_f64()]).await?;
            tx.commit().await?;
            Ok(taken)
        })
        .await
    }

    /// What can be read of these; what cannot is said, and holds nobody up.
    async fn read(&self, tx: &Transaction<'_>, ids: &[Uuid]) -> Result<Vec<TakenPayment>, PaymentError> {
        let rows = self.facts(tx, ids).await?;
        let mut taken = Vec::with_capacity(rows.len());
        for row in &rows {
            let id: Uuid = row.get("order_id");
            let postponed = match PaymentRecord::read(row) {
                // A step that is taken there could be one that was taken long ago: nobody is asked to pay for that.
                Ok(record) if !record.is_drained => NOT_DRAINED_PAUSE,
                Ok(record) => {
                    taken.push(TakenPayment { task: task(&record.facts), record });
                    continue;
                }
                Err(error) => {
                    tracing::error!(%error, "a payment is left alone");
                    UNREADABLE_PAUSE
                }
            };
            let postpone = tx.prepare_cached(POSTPONE).await?;
            tx.execute(&postpone, &[&id, &postponed.as_secs_f64()]).await?;
        }
        Ok(taken)
    }

    /// Writes what was heard of the payment of `order`, and takes the step that follows for it.
    ///
    /// # Errors
    /// [`PaymentError`].
    pub async fn conclude(
        &self,
        order: OrderId,
        news: &News,
        actor: &str,
        webhook: Option<WebhookName<'_>>,
    ) -> Result<Verdict, PaymentError> {
        within(self.limit, async {
            let mut db = self.pool.get().await.map_err(PgError::from)?;
            let tx = db.transaction().await?;
            let verdict = self.conclude_in(&tx, order, news, actor, webhook.is_some()).await?;
            if let Some(name) = webhook
                && tx.execute(TAKEN_WEBHOOK, &[&name.id, &name.sent_at]).await? == 0
            {
                return Err(PaymentError::Replayed);
            }
            crash_point!("payment_before_commit");
            tx.commit().await?;
            tracing::info!(%order, payment = %verdict.payment, step = ?verdict.step, actor, "a payment was looked at");
            Ok(verdict)
        })
        .await
    }

    async fn conclude_in(
        &self,
        tx: &Transaction<'_>,
        order: OrderId,
        news: &News,
        actor: &str,
        is_webhook: bool,
    ) -> Result<Verdict, PaymentError> {
        let record = self.hold(tx, order).await?;
        let changed = match news {
            News::Reclaimed(other) if record.facts.payment == PaymentState::Late => {
                Some(bring(tx, order, *other).await?)
            }
            // Of the order's own charge, where it was bought with other money: asked, the gateway tells of that one's.
            News::Paid { sum, reference } if is_webhook && record.charged_as != order => {
                Some(News::PaidTwice { sum: sum.clone(), reference: reference.clone() })
            }
            News::Declined(_) if is_webhook && record.charged_as != order => Some(News::None),
            _ => None,
        };
        let news = changed.as_ref().unwrap_or(news);
        let verdict = verdict(&record.facts, news);
        if is_webhook && verdict.payment == record.facts.payment {
            // Nothing new; somebody may be at work on it, by a lease that is not to be cut short.
            if let Some(alarm) = verdict.alarm {
                raise(tx, alarm, order, news).await?;
            }
            return Ok(verdict);
        }
        self.follow(tx, &record, news, &verdict, actor).await?;
        Ok(verdict)
    }

    /// The payment of `order`, which nobody else moves until this transaction ends.
    pub(super) async fn hold(
        &self,
        tx: &Transaction<'_>,
        order: OrderId,
    ) -> Result<PaymentRecord, PaymentError> {
        let id = order.to_uuid();
        // The order first, as whoever cancels it does.
        let lock_order = tx.prepare_cached(LOCK_ORDER).await?;
        if tx.execute(&lock_order, &[&id]).await? == 0 {
            return Err(PaymentError::None(order));
        }
        let mut rows = self.facts(tx, &[id]).await?;
        if rows.is_empty() {
            let ensure = tx.prepare_cached(ENSURE).await?;
            tx.execute(&ensure, &[&id]).await?;
            rows = self.facts(tx, &[id]).await?;
        }
        let record = PaymentRecord::read(rows.first().ok_or(PaymentError::None(order))?)?;
        if !record.is_drained {
            return Err(LifeError::NotDrained(order.partition()).into());
        }
        Ok(record)
    }

    /// Of these orders, those that have a payment, which is held until this transaction ends.
    async fn facts(&self, tx: &Transaction<'_>, orders: &[Uuid]) -> Result<Vec<Row>, PgError> {
        let facts = tx.prepare_cached(FACTS).await?;
        Ok(tx.query(&facts, &[&orders, &self.times.charge_lasts.as_secs_f64()]).await?)
    }

    /// Writes a verdict, and takes its step.
    pub(super) async fn follow(
        &self,
        tx: &Transaction<'_>,
        record: &PaymentRecord,
        news: &News,
        verdict: &Verdict,
        actor: &str,
    ) -> Result<(), PaymentError> {
        let words = verdict.note.as_deref();
        match (verdict.step, words) {
            (Some(step), words) => {
                let told = Told { actor, reason: words.unwrap_or("payment") };
                step_in(tx, record.order, OrderOf::Anyone, step, told).await?;
            }
            (None, Some(words)) => {
                let note = tx.prepare_cached(NOTE).await?;
                tx.execute(&note, &[&record.order.to_uuid(), &actor, &words]).await?;
            }
            (None, None) => {}
        }
        if let Some(alarm) = verdict.alarm {
            raise(tx, alarm, record.order, news).await?;
        }
        self.write(tx, record, news, verdict).await
    }

    async fn write(
        &self,
        tx: &Transaction<'_>,
        record: &PaymentRecord,
        news: &News,
        verdict: &Verdict,
    ) -> Result<(), PaymentError> {
        let id = record.order.to_uuid();
        let pause = match verdict.again {
            Again::Never => None,
            Again::Now => Some(Duration::ZERO),
            Again::Soon => Some(SOON),
            Again::Later => Some(self.pause(record)),
            Again::Once => Some(self.times.recheck),
        };
        let (sum, reference) = match news {
            News::Paid { sum, reference } => (Some(sum), Some(reference.as_str())),
            _ => (None, None),
        };
        let (amount, currency) = (sum.map(|sum| sum.amount), sum.map(|sum| sum.currency.as_str()));
        // Of what is over it does not matter what failed beside it.
        let error: Option<String> = match news {
            _ if pause.is_none() => None,
            News::NoAnswer(why) | News::NotAsked(why) | News::RefundRefused(why) => {
                Some(why.chars().filter(|c| *c != '\0').take(ERROR_CHARACTERS).collect())
            }
            News::Undecided => Some("the gateway has not decided".into()),
            _ => None,
        };
        let moved_to = match news {
            News::Reclaimed(other) if verdict.payment == PaymentState::Moved => Some(other.to_uuid()),
            _ => None,
        };
        let conclude = tx.prepare_cached(CONCLUDE).await?;
        let seconds = pause.map(|pause| pause.as_secs_f64());
        let state = verdict.payment.as_str();
        tx.execute(&conclude, &[&id, &state, &seconds, &amount, &currency, &reference, &error, &moved_to])
            .await?;
        Ok(())
    }

    fn pause(&self, record: &PaymentRecord) -> Duration {
        let policy = RetryPolicy { pause_min: self.times.pause_min, give_up: Duration::MAX };
        let pause = policy.pause(record.attempts, Duration::ZERO, None, fastrand::f64());
        let pause = pause.unwrap_or(policy.pause_min);
        let is_pending = record.facts.order.state == OrderState::Pending;
        if is_pending { pause.min(PENDING_PAUSE_MAX) } else { pause }
    }

    /// Tells operators of money for an order that is nowhere.
    ///
    /// # Errors
    /// [`PaymentError`].
    pub async fn report_unknown(&self, order: OrderId, news: &News) -> Result<(), PaymentError> {
        within(self.limit, async {
            let db = self.pool.get().await.map_err(PgError::from)?;
            raise(&db, Alarm::NoOrder, order, news).await
        })
        .await
    }

    /// As [`waiting_payments`], also where Postgres hangs.
    ///
    /// # Errors
    /// [`PgError`].
    pub async fn waiting(&self) -> Result<Vec<WaitingPayments>, PgError> {
        within(self.limit, waiting_payments(&self.pool)).await
    }

    /// Forgets webhooks that nobody can send again, since their time is over.
    ///
    /// # Errors
    /// [`PaymentError`].
    pub async fn forget_webhooks(&self, older_than: Duration) -> Result<(), PaymentError> {
        within(self.limit, async {
            let db = self.pool.get().await.map_err(PgError::from)?;
            let forget = "DELETE FROM payment_webhooks WHERE received_at < now() - make_interval(secs => $1)";
            db.execute(forget, &[&older_than.as_secs_f64()]).await?;
            Ok(())
        })
        .await
    }
}

/// Brings money to the order that has claimed the units again: only once that order is stored, since what Redis alone has
/// may be lost with it.
async fn bring(tx: &Transaction<'_>, order: OrderId, other: OrderId) -> Result<News, PaymentError> {
    let bring = tx.prepare_cached(BRING).await?;
    let row = tx.query_opt(&bring, &[&order.to_uuid(), &other.to_uuid()]).await?;
    Ok(match row.map(|row| row.get::<_, bool>(0)) {
        Some(true) => News::Reclaimed(other),
        Some(false) if weakened!("late_claim_is_charged") => News::Reclaimed(other),
        Some(false) => News::NoUnits("the order that has claimed its units was cancelled or paid for itself"),
        None => News::NotYet,
    })
}

async fn raise(
    db: &impl GenericClient,
    alarm: Alarm,
    order: OrderId,
    news: &News,
) -> Result<(), PaymentError> {
    let detail = match news {
        News::Paid { sum, reference } | News::PaidTwice { sum, reference } => {
            format!("the gateway took {} {} (reference {reference})", sum.amount, sum.currency)
        }
        News::Declined(why) => format!("the gateway says declined: {why}"),
        News::RefundRefused(why) => format!("the gateway does not pay back: {why}"),
        news => format!("{news:?}"),
    };
    Ok(incidents::raise(db, alarm.kind(), order.partition(), &order.to_string(), &detail).await?)
}
