//! What the sandbox does with what is asked of it. Everything is done under one lock, and before anybody is answered.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::chance::{Draw, happens};
use super::charges::{Charges, SandboxCharge};
use super::rates::{Rates, RatesError};
use super::webhooks::Post;
use crate::http::BearerToken;
use crate::payment::protocol::{ChargeRequest, ChargeStatus};

pub(super) struct Desk {
    charges: Mutex<Charges>,
    rates: Mutex<Rates>,
    /// Requests about each order: what happens to one must not happen to all of them.
    turns: Mutex<HashMap<String, u64>>,
    seed: u64,
    requests: AtomicU64,
    pub token: Option<BearerToken>,
    post: OnceLock<Post>,
    background: (TaskTracker, CancellationToken),
}

/// What a charge came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Charged {
    Stands(SandboxCharge),
    /// The same order was asked for with another amount before.
    Differs,
}

/// What a refund came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refunded {
    Done,
    /// Nothing was taken.
    Nothing(ChargeStatus),
}

impl Desk {
    pub fn new(
        charges: Charges,
        rates: Rates,
        seed: u64,
        token: Option<BearerToken>,
        background: (TaskTracker, CancellationToken),
    ) -> Self {
        let (charges, rates, turns) = (Mutex::new(charges), Mutex::new(rates), Mutex::default());
        Self {
            charges,
            rates,
            turns,
            seed,
            requests: AtomicU64::new(0),
            token,
            post: OnceLock::new(),
            background,
        }
    }

    pub fn rates(&self) -> Rates {
        *lock(&self.rates)
    }

    pub fn set_rates(&self, rates: Rates) -> Result<(), RatesError> {
        rates.check()?;
        *lock(&self.rates) = rates;
        Ok(())
    }

    pub fn charges(&self) -> Vec<SandboxCharge> {
        lock(&self.charges).all().cloned().collect()
    }

    pub fn requests(&self) -> u64 {
        self.requests.load(Relaxed)
    }

    /// The number of this request about the order.
    pub fn turn(&self, order: &str) -> u64 {
        self.requests.fetch_add(1, Relaxed);
        let mut turns = lock(&self.turns);
        let turn = turns.entry(order.to_owned()).or_default();
        *turn += 1;
        *turn
    }

    pub fn draws(&self, draw: Draw, rate: f64, order: &str, number: u64) -> bool {
        happens(draw, rate, self.seed, order, number)
    }

    pub fn look_up(&self, order: &str) -> Option<SandboxCharge> {
        lock(&self.charges).get(order).cloned()
    }

    /// Takes the money, unless it was decided before.
    pub fn charge(self: &Arc<Self>, request: &ChargeRequest) -> io::Result<Charged> {
        let mut charges = lock(&self.charges);
        if let Some(known) = charges.get(&request.order_id) {
            let is_same = (known.amount, &known.currency) == (request.amount, &request.currency);
            return Ok(if is_same { Charged::Stands(known.clone()) } else { Charged::Differs });
        }
        let charge = self.decided_charge(request);
        charges.put(charge.clone())?;
        drop(charges);
        self.go_on(&charge);
        Ok(Charged::Stands(charge))
    }

    fn decided_charge(&self, request: &ChargeRequest) -> SandboxCharge {
        let (rates, order) = (self.rates(), &request.order_id);
        let mut charge = SandboxCharge {
            order_id: order.clone(),
            amount: request.amount,
            currency: request.currency.clone(),
            status: ChargeStatus::Undecided,
            is_lie: false,
            reference: format!("sandbox-{order}"),
            times_charged: 0,
            times_refunded: 0,
            is_told: false,
        };
        if self.draws(Draw::Undecided, rates.undecided_rate, order, 0) {
            return charge;
        }
        charge.is_lie = self.draws(Draw::Lie, rates.lie_rate, order, 0);
        charge.settle(if charge.is_lie { ChargeStatus::Paid } else { self.outcome(order) });
        charge
    }

    fn outcome(&self, order: &str) -> ChargeStatus {
        let declines = self.draws(Draw::Decline, self.rates().decline_rate, order, 0);
        if declines { ChargeStatus::Declined } else { ChargeStatus::Paid }
    }

    /// Pays back, once. `None`: there is no such charge.
    pub fn refund(&self, order: &str) -> io::Result<Option<Refunded>> {
        let mut charges = lock(&self.charges);
        let Some(mut charge) = charges.get(order).cloned() else { return Ok(None) };
        match charge.status {
            ChargeStatus::Refunded => Ok(Some(Refunded::Done)),
            ChargeStatus::Paid => {
                charge.status = ChargeStatus::Refunded;
                charge.times_refunded += 1;
                charges.put(charge)?;
                Ok(Some(Refunded::Done))
            }
            status => Ok(Some(Refunded::Nothing(status))),
        }
    }

    /// Goes on with what an earlier sandbox left.
    pub fn resume(self: &Arc<Self>) {
        for charge in self.charges() {
            self.go_on(&charge);
        }
    }

    /// Whom to tell; whoever was named first stays.
    pub fn tell_by(&self, post: Post) {
        let _ = self.post.set(post);
    }

    /// Tells of what was decided while there was nobody to be told.
    pub fn tell_rest(self: &Arc<Self>) {
        for charge in self.charges().iter().filter(|charge| charge.status != ChargeStatus::Undecided) {
            self.go_on(charge);
        }
    }

    /// What is still to be done with a charge: to decide it, or to tell of it.
    fn go_on(self: &Arc<Self>, charge: &SandboxCharge) {
        let (desk, order) = (self.clone(), charge.order_id.clone());
        if charge.status == ChargeStatus::Undecided {
            self.spawn(async move { desk.settle_later(&order).await });
        } else if !charge.is_told && self.post.get().is_some() {
            let charge = charge.clone();
            self.spawn(async move { desk.tell(charge).await });
        }
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let (tasks, stop) = &self.background;
        let stop = stop.clone();
        tasks.spawn(async move { stop.run_until_cancelled(task).await });
    }

    async fn settle_later(self: Arc<Self>, order: &str) {
        tokio::time::sleep(self.rates().settle()).await;
        let settled = {
            let mut charges = lock(&self.charges);
            let Some(mut charge) = charges.get(order).cloned() else { return };
            charge.settle(self.outcome(order));
            charges.put(charge.clone()).map(|()| charge)
        };
        match settled {
            Ok(charge) => self.tell(charge).await,
            Err(error) => {
                tracing::error!(%error, order, "the charge stays undecided: its outcome cannot be written down")
            }
        }
    }

    async fn tell(self: Arc<Self>, charge: SandboxCharge) {
        let Some(post) = self.post.get() else { return };
        let rate = self.rates().lost_webhook_rate;
        let is_lost = self.draws(Draw::LostWebhook, rate, &charge.order_id, 0);
        if !is_lost && !post.tell(&charge).await {
            return;
        }
        let mut charges = lock(&self.charges);
        let Some(mut charge) = charges.get(&charge.order_id).cloned() else { return };
        charge.is_told = true;
        if let Err(error) = charges.put(charge) {
            tracing::warn!(%error, "the webhook will be told once more after a restart");
        }
    }
}

/// Nothing under these locks can panic half-way.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
