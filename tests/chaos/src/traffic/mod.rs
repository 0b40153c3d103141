//! The buyers of one event: honest ones, impatient ones, and some who misuse their keys.

mod buyer;
mod payer;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fastrand::Rng;
use tokio::task::JoinSet;

use crate::client::Client;
use crate::deployment::Item;
use crate::gateway::Checkout;
use crate::occasion::Occasion;
use buyer::Buyer;
use payer::Payer;

/// Buyers at once.
const BUYERS: u32 = 12;

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
    /// Starts the buyers of one sale; what they do follows from `random`. Where there is a checkout they pay there.
    pub fn start(
        client: &Client,
        checkout: Option<Checkout>,
        sale: &str,
        occasion: Occasion,
        random: &mut Rng,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut buyers = JoinSet::new();
        for number in 0..BUYERS {
            let payer = checkout.clone().map(Payer::at);
            let buyer = Buyer::new(client, payer, sale, number, occasion, random.fork(), stop.clone());
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
