//! The role `payment`: any number of processes side by side.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::desk::{PaymentDesk, TakenPayment, Wanted};
use super::gateway::{Charge, ChargeState, Gateway, GatewayError};
use super::hints::{HINT_BLOCK, HintReader};
use super::reclaim::reclaim;
use super::rules::{Again, News, PaymentState, Sum, Task};
use crate::buyer::BuyerId;
use crate::claim::Decider;
use crate::faults::{crash_point, weakened};
use crate::gate::Gate;
use crate::metrics::PaymentMetrics;
use crate::order_id::OrderId;
use crate::postgres::PgPool;
use crate::redis::{Keys, Redis, RedisError, RedisOptions};

const ACTOR: &str = "payment worker";
/// Lists of hints that wait.
const HINTS_MAX: usize = 8;
/// Between two times that old webhooks are forgotten.
const FORGET: Duration = Duration::from_secs(60);
/// Between two times that it is counted what waits.
const COUNT: Duration = Duration::from_secs(10);

/// How a worker works.
#[derive(Clone, Copy, Debug)]
pub struct PaymentOptions {
    /// Whether there is a gateway to be asked. Without one only what is known already is concluded.
    pub asks_gateway: bool,
    /// Payments worked on at once.
    pub at_once: usize,
    /// Between two looks for what is due.
    pub poll: Duration,
    /// For a claim for money that came late.
    pub backlog_max: u64,
    /// How long webhooks are remembered.
    pub webhooks_kept: Duration,
}

/// Asks the gateway, and writes what it says.
pub struct PaymentWorker<G> {
    /// Where payments are.
    pub desk: PaymentDesk,
    /// Who takes the money.
    pub gateway: Arc<G>,
    /// Where units are claimed again.
    pub claims: Decider,
    /// The same as the desk's.
    pub pool: PgPool,
    /// The partitions, in their order.
    pub gates: Vec<Gate>,
    /// For the hints.
    pub redis: RedisOptions,
    /// How.
    pub options: PaymentOptions,
    /// What it has done.
    pub metrics: PaymentMetrics,
}

impl<G> Clone for PaymentWorker<G> {
    fn clone(&self) -> Self {
        Self {
            desk: self.desk.clone(),
            gateway: self.gateway.clone(),
            claims: self.claims.clone(),
            pool: self.pool.clone(),
            gates: self.gates.clone(),
            redis: self.redis.clone(),
            options: self.options,
            metrics: self.metrics.clone(),
        }
    }
}

impl<G: Gateway> PaymentWorker<G> {
    /// Works until `stop`, and finishes the payments in hand.
    pub async fn run(self, stop: CancellationToken) {
        let (hints, mut hinted) = mpsc::channel(HINTS_MAX);
        // Kept open: without readers it would tell of its end for ever.
        let mut readers = match self.options.asks_gateway {
            true => self.read_hints(&hints, &stop),
            false => JoinSet::new(),
        };
        let room = Arc::new(Semaphore::new(self.options.at_once));
        // Something that was concluded is due at once.
        let again = Arc::new(Notify::new());
        let mut looks = interval(self.options.poll);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut forgets, mut counts) = (interval(FORGET), interval(COUNT));
        for ticks in [&mut forgets, &mut counts] {
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        }
        let mut tasks = JoinSet::new();
        loop {
            // What is taken is worked on at once: its lease runs. Hints that there is no room for are found in seconds.
            tokio::select! {
                place = room.acquire() => drop(place),
                () = stop.cancelled() => break,
            }
            let orders = tokio::select! {
                Some(orders) = hinted.recv() => Some(orders),
                _ = looks.tick() => None,
                () = again.notified() => None,
                _ = forgets.tick() => {
                    if let Err(error) = self.desk.forget_webhooks(self.options.webhooks_kept).await {
                        tracing::warn!(%error, "old webhooks of the gateway are kept for now");
                    }
                    continue;
                }
                _ = counts.tick() => {
                    match self.desk.waiting().await {
                        Ok(waiting) => self.metrics.waiting(&waiting),
                        Err(error) => tracing::debug!(%error, "payments that wait are not counted"),
                    }
                    continue;
                }
                () = stop.cancelled() => break,
            };
            let most = room.available_permits().max(1);
            let taken = match &orders {
                Some(orders) => self.desk.take(Wanted::New(&orders[..orders.len().min(most)])).await,
                None => {
                    let asks_gateway = self.options.asks_gateway;
                    self.desk.take(Wanted::Due { most: most as i64, asks_gateway }).await
                }
            };
            let taken = match taken {
                Ok(taken) => taken,
                Err(error) => {
                    tracing::warn!(%error, "payments wait for postgres");
                    tokio::time::sleep(self.options.poll).await;
                    continue;
                }
            };
            // There may be more.
            if orders.is_none() && taken.len() == most {
                again.notify_one();
            }
            for payment in taken {
                let Ok(place) = room.clone().acquire_owned().await else { break };
                let (worker, again) = (self.clone(), again.clone());
                tasks.spawn(async move {
                    worker.work(payment, &again).await;
                    drop(place);
                });
            }
            while tasks.try_join_next().is_some() {}
        }
        while tasks.join_next().await.is_some() {}
        while readers.join_next().await.is_some() {}
    }

    fn read_hints(&self, hints: &mpsc::Sender<Vec<uuid::Uuid>>, stop: &CancellationToken) -> JoinSet<()> {
        let mut readers = JoinSet::new();
        for gate in &self.gates {
            let connect = || -> Result<HintReader, RedisError> {
                Ok(HintReader {
                    reader: Redis::connect_blocking(&self.redis, HINT_BLOCK)?,
                    redis: Redis::connect(&self.redis)?,
                    keys: Keys::new(gate.partition()),
                    consumer: format!("{:016x}", fastrand::u64(..)),
                    hints: hints.clone(),
                })
            };
            match connect() {
                Ok(reader) => drop(readers.spawn(reader.run(stop.clone()))),
                Err(error) => tracing::warn!(%error, "no hints of payments: they wait for the next look"),
            }
        }
        readers
    }

    /// What fails here is found again once the lease of the payment is over.
    async fn work(&self, payment: TakenPayment, again: &Notify) {
        let order = payment.record.order;
        crash_point!("payment_before_ask");
        let news = self.ask(&payment).await;
        crash_point!("payment_before_conclude");
        self.metrics.heard(payment.task, &news);
        match self.desk.conclude(order, &news, ACTOR, None).await {
            Ok(verdict) => {
                self.metrics.moved(verdict.payment);
                if let (News::Reclaimed(other), PaymentState::Moved) = (&news, verdict.payment) {
                    crash_point!("payment_before_brought");
                    self.conclude_brought(*other).await;
                }
                if verdict.again == Again::Now {
                    again.notify_one();
                }
            }
            Err(error) => {
                tracing::warn!(%order, %error, "what was heard of a payment is not written; it is asked again")
            }
        }
        crash_point!("payment_after_conclude");
    }

    /// Confirms the order that late money was just brought to. It is due: where this fails, the next look finds it.
    async fn conclude_brought(&self, order: OrderId) {
        match self.desk.conclude(order, &News::None, ACTOR, None).await {
            Ok(verdict) => self.metrics.moved(verdict.payment),
            Err(error) => {
                tracing::warn!(%order, %error, "an order that late money has bought waits for the next look")
            }
        }
    }

    async fn ask(&self, payment: &TakenPayment) -> News {
        let record = &payment.record;
        match payment.task {
            Task::Charge => match charge_of(payment) {
                Some(charge) => match self.gateway.charge(&charge).await {
                    Ok(state) => heard(state),
                    Err(_) if weakened!("no_answer_is_paid") => {
                        let Charge { amount, currency, .. } = charge;
                        heard(ChargeState::Paid { amount, currency, reference: "none".into() })
                    }
                    Err(error) => no_answer(error),
                },
                None => {
                    News::NotAsked("the order has no one price: its items are of several currencies".into())
                }
            },
            Task::LookUp => match self.gateway.look_up(record.charged_as).await {
                Ok(Some(state)) => heard(state),
                Ok(None) => News::NeverHeard,
                Err(error) => no_answer(error),
            },
            Task::Refund if weakened!("refund_forgotten") => News::Refunded,
            Task::Refund => match self.gateway.refund(record.charged_as).await {
                Ok(()) => News::Refunded,
                Err(GatewayError::Refused(why)) => News::RefundRefused(why),
                Err(error) => no_answer(error),
            },
            Task::Reclaim => self.reclaim(record.order, payment).await,
            Task::Conclude => News::None,
        }
    }

    async fn reclaim(&self, order: OrderId, payment: &TakenPayment) -> News {
        let gate = self.gates.iter().find(|gate| gate.partition() == order.partition());
        let Some(gate) = gate else { return News::None };
        let (bought, backlog_max) = (&payment.record.bought, self.options.backlog_max);
        let claimed = reclaim(&self.claims, gate, &self.pool, order, bought, backlog_max).await;
        crash_point!("payment_after_reclaim");
        claimed.unwrap_or_else(|error| {
            tracing::warn!(%order, %error, "units for a late payment are claimed again later");
            News::None
        })
    }
}

fn charge_of(payment: &TakenPayment) -> Option<Charge> {
    let record = &payment.record;
    let cost = record.facts.cost.clone()?;
    let buyer = BuyerId::parse(record.bought.buyer.as_bytes()).ok()?;
    Some(Charge { order: record.order, buyer, amount: cost.amount, currency: cost.currency })
}

fn heard(state: ChargeState) -> News {
    match state {
        ChargeState::Paid { amount, currency, reference } => {
            News::Paid { sum: Sum { amount, currency }, reference }
        }
        ChargeState::Declined { reason } => News::Declined(reason),
        ChargeState::Refunded => News::Refunded,
        ChargeState::Undecided => News::Undecided,
    }
}

fn no_answer(error: GatewayError) -> News {
    match error {
        GatewayError::NotAsked(why) => News::NotAsked(why),
        // A request that it will not carry out was not carried out; but nobody can know that of the one before.
        GatewayError::Unknown(why) | GatewayError::Refused(why) => News::NoAnswer(why),
    }
}
