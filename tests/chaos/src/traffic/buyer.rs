//! What one buyer does.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fastrand::Rng;

use super::payer::Payer;
use super::{ITEMS, PLENTY_FROM};
use crate::client::Client;
use crate::history::{CancelOrder, CancelOutcome, CancelledBy, Lines, Outcome, Purchase};
use crate::occasion::Occasion;

/// The pause of each between two purchases (ms): with all buyers some 200 requests in a second.
const PAUSE_MS: std::ops::Range<u64> = 20..70;
/// Between two attempts with one key, or to cancel one order.
const RETRY_MS: std::ops::Range<u64> = 40..120;
/// Attempts with one key while the sale runs, and how long a purchase is followed up once it is over.
const RETRIES_MAX: u32 = 200;
const RESOLVE: Duration = Duration::from_secs(30);
/// Orders of one buyer that he remembers for later.
const REMEMBERED_MAX: usize = 200;
/// Of what a buyer does in a cancel storm.
const CANCELS_PERCENT: u32 = 40;

/// One of them; he buys under many names.
pub(super) struct Buyer {
    client: Client,
    payer: Option<Payer>,
    sale: String,
    number: u32,
    occasion: Occasion,
    purchases: u32,
    orders: Vec<Bought>,
    random: Rng,
    stop: Arc<AtomicBool>,
    resolve_until: Option<Instant>,
}

/// An order that he was told of.
#[derive(Clone)]
struct Bought {
    purchase: Purchase,
    lines: Lines,
    order: String,
}

impl Buyer {
    pub(super) fn new(
        client: &Client,
        payer: Option<Payer>,
        sale: &str,
        number: u32,
        occasion: Occasion,
        random: Rng,
        stop: Arc<AtomicBool>,
    ) -> Self {
        Self {
            client: client.clone(),
            payer,
            sale: sale.to_owned(),
            number,
            occasion,
            purchases: 0,
            orders: Vec::new(),
            random,
            stop,
            resolve_until: None,
        }
    }

    pub(super) async fn run(mut self) -> io::Result<()> {
        while !self.stop.load(Ordering::Relaxed) {
            match self.random.u32(..100) {
                _ if self.occasion.has_cancels() && self.random.u32(..100) < CANCELS_PERCENT => {
                    self.give_up().await?;
                }
                0..12 => self.send_again(false).await?,
                12..16 => self.send_again(true).await?,
                16..22 => self.buy_twice_at_once().await?,
                _ => self.buy().await?,
            }
            tokio::time::sleep(Duration::from_millis(self.random.u64(PAUSE_MS))).await;
        }
        match self.payer {
            Some(payer) => payer.finish().await,
            None => Ok(()),
        }
    }

    /// A new purchase, followed up until its outcome is known.
    async fn buy(&mut self) -> io::Result<()> {
        let (purchase, lines) = self.new_purchase();
        let node = self.random.usize(..);
        let outcome = self.client.claim(&purchase, &lines, node).await?;
        self.follow_up(purchase, lines, outcome).await
    }

    /// An impatient buyer, or a proxy that sends again what takes long: two attempts at once, on two nodes.
    async fn buy_twice_at_once(&mut self) -> io::Result<()> {
        let (purchase, lines) = self.new_purchase();
        let node = self.random.usize(..1000);
        let both = tokio::join!(
            self.client.claim(&purchase, &lines, node),
            self.client.claim(&purchase, &lines, node + 1)
        );
        let (first, second) = (both.0?, both.1?);
        let outcome = if matches!(first, Outcome::Unknown { .. }) { second } else { first };
        self.follow_up(purchase, lines, outcome).await
    }

    async fn follow_up(&mut self, purchase: Purchase, lines: Lines, mut outcome: Outcome) -> io::Result<()> {
        let mut attempts = 1;
        while matches!(outcome, Outcome::Unknown { .. }) && attempts < RETRIES_MAX && !self.is_too_late() {
            tokio::time::sleep(Duration::from_millis(self.random.u64(RETRY_MS))).await;
            outcome = self.client.claim(&purchase, &lines, self.random.usize(..)).await?;
            attempts += 1;
        }
        let Outcome::Order { id, .. } = outcome else { return Ok(()) };
        if let Some(payer) = &mut self.payer {
            payer.pay(&id, &lines, &mut self.random);
        }
        if self.orders.len() < REMEMBERED_MAX {
            self.orders.push(Bought { purchase, lines, order: id });
        }
        Ok(())
    }

    /// Cancels one of his orders, and follows up until it is said what became of it: himself, by an operator, or both at
    /// once on two nodes. It may be one that was bought a moment ago and is in the log alone, or one that was given up.
    async fn give_up(&mut self) -> io::Result<()> {
        let last = self.orders.len().checked_sub(1);
        let index = if self.random.bool() { last } else { last.map(|last| self.random.usize(..=last)) };
        let Some(Bought { purchase, order, .. }) = index.map(|index| self.orders[index].clone()) else {
            return Ok(());
        };
        let himself = CancelOrder { order: order.clone(), by: CancelledBy::Buyer(purchase.buyer) };
        let operator = CancelOrder { order, by: CancelledBy::Operator };
        match self.random.u32(..10) {
            0..6 => self.cancel(&himself).await,
            6..8 => self.cancel(&operator).await,
            _ => {
                let node = self.random.usize(..1000);
                let other = self.client.clone();
                let (_, both) = tokio::join!(other.cancel(&operator, node + 1), self.cancel(&himself));
                both
            }
        }
    }

    async fn cancel(&mut self, cancel: &CancelOrder) -> io::Result<()> {
        for _ in 0..RETRIES_MAX {
            let outcome = self.client.cancel(cancel, self.random.usize(..)).await?;
            let is_open = match outcome {
                CancelOutcome::Done => false,
                // To a buyer it is said so; an operator is told that there is no such order yet.
                CancelOutcome::Refused { problem, .. } => {
                    ["not-stored-yet", "not-found"].contains(&&*problem)
                }
                CancelOutcome::Unknown { .. } => true,
            };
            if !is_open || self.is_too_late() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(self.random.u64(RETRY_MS))).await;
        }
        Ok(())
    }

    /// After the end of the sale a purchase is followed up for a while, not for ever.
    fn is_too_late(&mut self) -> bool {
        if !self.stop.load(Ordering::Relaxed) {
            return false;
        }
        let until = *self.resolve_until.get_or_insert_with(|| Instant::now() + RESOLVE);
        Instant::now() > until
    }

    /// A retry of an order that exists, or a misuse of its key. The checker knows what must come.
    async fn send_again(&mut self, other_body: bool) -> io::Result<()> {
        let Some(index) = (!self.orders.is_empty()).then(|| self.random.usize(..self.orders.len())) else {
            return Ok(());
        };
        let Bought { purchase, mut lines, .. } = self.orders[index].clone();
        if other_body {
            lines.values_mut().for_each(|units| *units += 1);
        }
        self.client.claim(&purchase, &lines, self.random.usize(..)).await.map(drop)
    }

    fn new_purchase(&mut self) -> (Purchase, Lines) {
        self.purchases += 1;
        // Some come again, and meet their limit.
        let buyer = match self.random.u32(..5) {
            0 => format!("regular-{}-{}", self.number, self.random.u32(..3)),
            _ => format!("buyer-{}-{}", self.number, self.purchases),
        };
        let key = format!("{}-{}", self.number, self.purchases);
        let mut lines = Lines::new();
        match self.random.u32(..10) {
            0..2 => _ = lines.insert(ITEMS[0].0.to_owned(), self.random.u32(1..=2)),
            2 => _ = lines.insert(ITEMS[1].0.to_owned(), 1),
            3..6 => {
                // Not sorted: whoever locks rows in the order of the lines is found out.
                for _ in 0..self.random.u32(2..=5) {
                    let item = self.random.usize(PLENTY_FROM..ITEMS.len());
                    lines.insert(ITEMS[item].0.to_owned(), self.random.u32(1..=3));
                }
            }
            _ => {
                let item = self.random.usize(PLENTY_FROM..ITEMS.len());
                lines.insert(ITEMS[item].0.to_owned(), 1);
            }
        }
        (Purchase { sale: self.sale.clone(), buyer, key }, lines)
    }
}
