//! The buyers of one event: honest ones, impatient ones, and some who misuse their keys.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fastrand::Rng;
use tokio::task::JoinSet;

use crate::client::Client;
use crate::deployment::Item;
use crate::history::{Lines, Outcome, Purchase};

/// Buyers at once, and the pause of each between two purchases (ms): some 200 requests in a second.
const BUYERS: u32 = 12;
const PAUSE_MS: std::ops::Range<u64> = 20..70;
/// Between two attempts with one key.
const RETRY_MS: std::ops::Range<u64> = 40..120;
/// Attempts with one key while the sale runs, and how long a purchase is followed up once it is over.
const RETRIES_MAX: u32 = 200;
const RESOLVE: Duration = Duration::from_secs(30);
/// Orders of one buyer that he remembers for later.
const REMEMBERED_MAX: usize = 200;

/// Enough of most items, too little of one, and a limit on one.
pub const ITEMS: [Item; 10] = [
    ("SCARCE", 60, None),
    ("LIMITED", 1_000_000, Some(2)),
    ("PLENTY-A", 1_000_000, None),
    ("PLENTY-B", 1_000_000, None),
    ("PLENTY-C", 1_000_000, None),
    ("PLENTY-D", 1_000_000, None),
    ("PLENTY-E", 1_000_000, None),
    ("PLENTY-F", 1_000_000, None),
    ("PLENTY-G", 1_000_000, None),
    ("PLENTY-H", 1_000_000, None),
];
const PLENTY_FROM: usize = 2;

/// Traffic under way.
pub struct Traffic {
    stop: Arc<AtomicBool>,
    buyers: JoinSet<io::Result<()>>,
}

impl Traffic {
    /// Starts the buyers of one sale; what they do follows from `random`.
    pub fn start(client: &Client, sale: &str, random: &mut Rng) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut buyers = JoinSet::new();
        for number in 0..BUYERS {
            let buyer = Buyer {
                client: client.clone(),
                sale: sale.to_owned(),
                number,
                purchases: 0,
                orders: Vec::new(),
                random: random.fork(),
                stop: stop.clone(),
                resolve_until: None,
            };
            buyers.spawn(buyer.run());
        }
        Self { stop, buyers }
    }

    /// Lets no new purchase begin, and waits until each has its answer or the patience is over.
    ///
    /// # Errors
    /// Where the history could not be written.
    pub async fn finish(mut self) -> io::Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.buyers.join_next().await {
            ended.map_err(io::Error::other)??;
        }
        Ok(())
    }
}

struct Buyer {
    client: Client,
    sale: String,
    number: u32,
    purchases: u32,
    orders: Vec<(Purchase, Lines)>,
    random: Rng,
    stop: Arc<AtomicBool>,
    resolve_until: Option<Instant>,
}

impl Buyer {
    async fn run(mut self) -> io::Result<()> {
        while !self.stop.load(Ordering::Relaxed) {
            match self.random.u32(..100) {
                0..12 => self.send_again(false).await?,
                12..16 => self.send_again(true).await?,
                16..22 => self.buy_twice_at_once().await?,
                _ => self.buy().await?,
            }
            tokio::time::sleep(Duration::from_millis(self.random.u64(PAUSE_MS))).await;
        }
        Ok(())
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
        if matches!(outcome, Outcome::Order { .. }) && self.orders.len() < REMEMBERED_MAX {
            self.orders.push((purchase, lines));
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
        let (purchase, mut lines) = self.orders[index].clone();
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
