//! Payment workers with a gateway that does what a test says.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use doorbuster::buyer::BuyerId;
use doorbuster::catalogue::SaleId;
use doorbuster::claim::{Claim, Decider, Decision, IdempotencyKey, sorted_lines};
use doorbuster::gate::Gate;
use doorbuster::log::EntryId;
use doorbuster::metrics::Metrics;
use doorbuster::order_id::{Mark, OrderId};
use doorbuster::partition::Partitions;
use doorbuster::payment::{
    Charge, ChargeState, Gateway, GatewayError, News, PaymentDesk, PaymentError, PaymentOptions,
    PaymentTimes, PaymentWorker, Sum, Verdict,
};
use doorbuster::postgres::connect_pool;
use doorbuster::redis::{Redis, RedisOptions};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{World, until};

/// For [`World::paid_sale`]: the engine asks the gateway for the money.
pub fn gateway() -> Value {
    json!({ "payment": "gateway" })
}

pub fn paid(amount: i64) -> News {
    News::Paid { sum: Sum { amount, currency: "EUR".into() }, reference: "ref".into() }
}

/// What the desk concludes from news that no webhook brought.
pub async fn hear(desk: &PaymentDesk, order: OrderId, news: &News) -> Result<Verdict, PaymentError> {
    desk.conclude(order, news, "test", None).await
}

/// An id of the partition of `order`, which no order has.
pub fn id_of_nobody(order: OrderId, ms: u64) -> OrderId {
    OrderId::new(EntryId { ms, seq: 0 }, order.partition(), Mark::random())
}

/// What the gateway does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conduct {
    Pays,
    Declines,
    /// Takes this sum, whatever was asked for.
    PaysOnly(i64),
    /// Takes the money, and gives no answer.
    PaysInSilence,
    /// Does nothing, and gives no answer.
    Loses,
    /// Cannot be reached.
    IsDown,
    /// Has not decided.
    Ponders,
}

#[derive(Clone, Debug, Default)]
pub struct Books {
    pub charges: HashMap<OrderId, ChargeState>,
    /// Requests to charge, also repeated ones.
    pub asked: HashMap<OrderId, u32>,
    pub looked_up: HashMap<OrderId, u32>,
    pub refunds: HashMap<OrderId, u32>,
}

#[derive(Debug)]
pub struct ScriptedGateway {
    conduct: Mutex<Conduct>,
    pub books: Mutex<Books>,
}

impl ScriptedGateway {
    pub fn new(conduct: Conduct) -> Arc<Self> {
        Arc::new(Self { conduct: Mutex::new(conduct), books: Mutex::default() })
    }

    pub fn conducts(&self, conduct: Conduct) {
        *self.conduct.lock().unwrap() = conduct;
    }

    fn conduct(&self) -> Conduct {
        *self.conduct.lock().unwrap()
    }

    pub fn books(&self) -> Books {
        self.books.lock().unwrap().clone()
    }

    /// Waits until it was asked to charge for this order.
    pub async fn until_asked(&self, order: OrderId) {
        until(&format!("{order} was asked for"), || async { self.books().asked.contains_key(&order) }).await;
    }

    fn silence<T>() -> Result<T, GatewayError> {
        Err(GatewayError::Unknown("no answer".into()))
    }

    fn down<T>() -> Result<T, GatewayError> {
        Err(GatewayError::NotAsked("nobody listens".into()))
    }
}

impl Gateway for ScriptedGateway {
    async fn charge(&self, charge: &Charge) -> Result<ChargeState, GatewayError> {
        let conduct = self.conduct();
        let mut books = self.books.lock().unwrap();
        *books.asked.entry(charge.order).or_default() += 1;
        let paid = |amount| ChargeState::Paid {
            amount,
            currency: charge.currency.clone(),
            reference: format!("ref-{}", charge.order),
        };
        let decided = match conduct {
            Conduct::Pays | Conduct::PaysInSilence => paid(charge.amount),
            Conduct::PaysOnly(amount) => paid(amount),
            Conduct::Declines => ChargeState::Declined { reason: "no cover".into() },
            Conduct::Loses => return Self::silence(),
            Conduct::IsDown => return Self::down(),
            Conduct::Ponders => return Ok(ChargeState::Undecided),
        };
        let state = books.charges.entry(charge.order).or_insert(decided).clone();
        if conduct == Conduct::PaysInSilence { Self::silence() } else { Ok(state) }
    }

    async fn look_up(&self, order: OrderId) -> Result<Option<ChargeState>, GatewayError> {
        *self.books.lock().unwrap().looked_up.entry(order).or_default() += 1;
        match self.conduct() {
            Conduct::IsDown => Self::down(),
            Conduct::Loses | Conduct::PaysInSilence => Self::silence(),
            Conduct::Ponders => Ok(Some(ChargeState::Undecided)),
            _ => {
                let books = self.books.lock().unwrap();
                let is_refunded = books.refunds.contains_key(&order);
                Ok(books.charges.get(&order).map(|state| match is_refunded {
                    true => ChargeState::Refunded,
                    false => state.clone(),
                }))
            }
        }
    }

    async fn refund(&self, order: OrderId) -> Result<(), GatewayError> {
        match self.conduct() {
            Conduct::IsDown => Self::down(),
            Conduct::Loses => Self::silence(),
            _ => {
                let mut books = self.books.lock().unwrap();
                match books.charges.get(&order) {
                    Some(ChargeState::Paid { .. }) => {
                        *books.refunds.entry(order).or_default() += 1;
                        Ok(())
                    }
                    _ => Err(GatewayError::Refused("nothing was paid".into())),
                }
            }
        }
    }
}

/// A running worker.
pub struct Running {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    pub async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }

    /// As a process that dies: nothing is finished.
    pub async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

impl World {
    /// A world, and a worker that asks a gateway of this conduct.
    pub async fn with_gateway(conduct: Conduct) -> (Self, Arc<ScriptedGateway>, Running) {
        let world = Self::new().await;
        let bank = ScriptedGateway::new(conduct);
        let worker = world.payments(&bank);
        (world, bank, worker)
    }

    /// What a worker that is lost had in hand is free after three seconds.
    pub fn payment_desk(&self) -> PaymentDesk {
        let pool = connect_pool(&self.postgres_url, 8, Duration::from_secs(10)).unwrap();
        let times = PaymentTimes {
            lease: Duration::from_secs(3),
            pause_min: Duration::from_millis(100),
            charge_lasts: Duration::from_secs(2),
            recheck: Duration::from_secs(1),
        };
        PaymentDesk::new(pool, Duration::from_secs(10), times)
    }

    /// Starts a worker.
    pub fn payments(&self, gateway: &Arc<ScriptedGateway>) -> Running {
        let redis = RedisOptions {
            url: self.settings.redis_url.expose().to_owned(),
            timeout: Duration::from_secs(5),
            queue_max: 1_000,
        };
        let connection = Redis::connect(&redis).unwrap();
        let partitions = Partitions::new(self.settings.partitions).unwrap();
        let worker = PaymentWorker {
            desk: self.payment_desk(),
            gateway: gateway.clone(),
            claims: Decider::from(connection.clone()),
            pool: connect_pool(&self.postgres_url, 4, Duration::from_secs(10)).unwrap(),
            gates: partitions.all().map(|partition| Gate::watch(connection.clone(), partition)).collect(),
            redis,
            options: PaymentOptions {
                asks_gateway: true,
                at_once: 16,
                poll: Duration::from_millis(100),
                backlog_max: 1_000_000,
                webhooks_kept: Duration::from_secs(600),
            },
            metrics: Metrics::new().payments.clone(),
        };
        let stop = CancellationToken::new();
        let task = tokio::spawn(worker.run(stop.clone()));
        Running { stop, task }
    }

    /// Claims the units of an order again, as a worker does for late money.
    pub async fn claim_for_late_money(&self, order: OrderId, buyer: &str, sale: &SaleId) -> OrderId {
        let connection = self.redis_client().await;
        let gate = Gate::watch(connection.clone(), order.partition());
        let scripts = gate.clone().wait_open().await;
        let key = IdempotencyKey::from_content(&format!("doorbuster:paid-late:{order}")).unwrap();
        let lines = sorted_lines(vec![("TEE".parse().unwrap(), 1)]).unwrap();
        let claim = Claim::new(sale.clone(), BuyerId::parse(buyer.as_bytes()).unwrap(), key, lines);
        match Decider::from(connection).decide_alone(&scripts, &claim, 1_000).await {
            Ok(Decision::Accepted(other)) => other,
            refused => panic!("{refused:?}"),
        }
    }

    /// Stops the worker: each unit is then where it belongs.
    pub async fn stop_balanced(&self, worker: Running, sale: &SaleId) {
        worker.stop().await;
        self.no_intents_open().await;
        self.assert_balanced(sale, "TEE").await;
    }

    /// Waits until so many units can be claimed.
    pub async fn until_for_sale(&self, sale: &SaleId, units: i64) {
        let what = format!("{units} units are for sale");
        self.until(&what, || async { self.stock(sale, "TEE").await == units }).await;
    }

    pub async fn state_of(&self, order: OrderId) -> String {
        self.orders().read(order).await.unwrap().state
    }

    /// Why an order was cancelled; panics where it was not.
    pub async fn cancelled_for(&self, order: OrderId) -> String {
        self.orders().read(order).await.unwrap().cancel_reason.unwrap()
    }

    /// Waits until its hold is over and the sweeper came.
    pub async fn until_expired(&self, order: OrderId) {
        self.until(&format!("the hold of {order} is over"), || async {
            self.orders().read(order).await.unwrap().cancel_reason.as_deref() == Some("expired")
        })
        .await;
    }

    /// Ends its hold now, and waits until the sweeper came.
    pub async fn end_hold(&self, order: OrderId) {
        let expire = "UPDATE orders SET expires_at = now() - interval '1 second' WHERE id = $1";
        self.db.execute(expire, &[&order.to_uuid()]).await.unwrap();
        self.until_expired(order).await;
    }

    /// Waits until it is stored and confirmed.
    pub async fn until_confirmed(&self, order: OrderId) {
        self.until(&format!("{order} is confirmed"), || async {
            self.orders().read(order).await.is_ok_and(|order| order.state == "confirmed")
        })
        .await;
    }

    pub async fn orders_confirmed(&self) -> i64 {
        self.count("SELECT count(*) FROM orders WHERE state = 'confirmed'").await
    }

    pub async fn incidents(&self, kind: &str) -> i64 {
        let query = "SELECT count(*) FROM incidents WHERE kind = $1";
        self.db.query_one(query, &[&kind]).await.unwrap().get(0)
    }

    /// How the payment of an order stands.
    pub async fn payment_of(&self, order: OrderId) -> String {
        let row =
            self.db.query_one("SELECT state FROM payments WHERE order_id = $1", &[&order.to_uuid()]).await;
        row.unwrap().get(0)
    }

    pub async fn until_payment(&self, order: OrderId, state: &str) {
        self.until(&format!("the payment of {order} is {state}"), || async {
            self.payment_of(order).await == state
        })
        .await;
    }

    /// Its steps and what else happened to it: the state after each, and by whom.
    pub async fn history_of(&self, order: OrderId) -> Vec<(String, String)> {
        let events = self.orders().read(order).await.unwrap().events;
        events.into_iter().map(|event| (event.state, event.actor)).collect()
    }
}
