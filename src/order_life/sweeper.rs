//! The role that cancels orders which were not paid in time.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::{OrderLife, Told};
use crate::metrics::OrderMetrics;

/// Orders in one transaction.
const BATCH: i64 = 500;
const TOLD: Told<'static> = Told { actor: "sweeper", reason: "not paid in time" };

/// Looks for holds that are over. Any number may run, in any processes: each order is some one's.
#[derive(Clone)]
pub struct Sweeper {
    /// The door.
    pub orders: OrderLife,
    /// Between two looks. With what the keeper takes to tell Redis, a hold's units are for sale again within a second.
    pub pause: Duration,
    /// What it did.
    pub metrics: OrderMetrics,
}

impl Sweeper {
    /// Sweeps until `stop`; a batch in hand is finished. What fails is tried again.
    pub async fn run(self, stop: CancellationToken) {
        let mut ticks = interval(self.pause);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = stop.cancelled() => return,
            }
            self.sweep(&stop).await;
        }
    }

    async fn sweep(&self, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            match self.orders.expire(BATCH, TOLD).await {
                Ok(expired) => {
                    self.metrics.expired(expired);
                    // A full batch: there may be more.
                    if expired < BATCH.unsigned_abs() {
                        return;
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "expired orders could not be cancelled; it will be tried again");
                    return;
                }
            }
        }
    }
}
