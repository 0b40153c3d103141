//! A buyer at the gateway's hosted checkout. The gateway's books tell what he paid.

use std::io;
use std::time::Duration;

use fastrand::Rng;
use tokio::task::JoinSet;

use crate::gateway::Checkout;
use crate::history::Lines;
use crate::occasion::PRICE;

/// Of the orders that a buyer was told of (percent): those that he does not pay for, and those that he pays for in time.
const UNPAID_PERCENT: u32 = 20;
const IN_TIME_PERCENT: u32 = 45;
/// Of those that he pays for: for which he does it twice.
const TWICE_PERCENT: u32 = 20;
/// After he was told of it (ms): well within the hold of a second, and past it.
const IN_TIME_MS: std::ops::Range<u64> = 0..500;
const LATE_MS: std::ops::Range<u64> = 1_200..2_500;
/// From the first payment to the second (ms).
const AGAIN_MS: std::ops::Range<u64> = 0..1_500;
/// How often he tries where the gateway does not answer, and after which pause (ms); then he gives up.
const TRIES: u32 = 5;
const RETRY_MS: u64 = 300;

/// Pays in the background, while the buyer goes on.
pub(super) struct Payer {
    checkout: Checkout,
    visits: JoinSet<()>,
}

impl Payer {
    pub(super) fn at(checkout: Checkout) -> Self {
        Self { checkout, visits: JoinSet::new() }
    }

    /// Begins to pay for an order, as its buyer likes.
    pub(super) fn pay(&mut self, order: &str, lines: &Lines, random: &mut Rng) {
        let amount = PRICE * lines.values().map(|units| i64::from(*units)).sum::<i64>();
        for after in visits(random) {
            self.visits.spawn(visit(self.checkout.clone(), order.to_owned(), amount, after));
        }
        while self.visits.try_join_next().is_some() {}
    }

    /// Waits until all is paid that will be.
    pub(super) async fn finish(mut self) -> io::Result<()> {
        while let Some(ended) = self.visits.join_next().await {
            ended.map_err(io::Error::other)?;
        }
        Ok(())
    }
}

/// When a buyer goes to the checkout with one order (ms after he was told of it).
fn visits(random: &mut Rng) -> Vec<u64> {
    let percent = random.u32(..100);
    if percent < UNPAID_PERCENT {
        return Vec::new();
    }
    let is_in_time = percent < UNPAID_PERCENT + IN_TIME_PERCENT;
    let first = random.u64(if is_in_time { IN_TIME_MS } else { LATE_MS });
    let is_twice = random.u32(..100) < TWICE_PERCENT;
    let second = is_twice.then(|| first + random.u64(AGAIN_MS));
    [Some(first), second].into_iter().flatten().collect()
}

async fn visit(checkout: Checkout, order: String, amount: i64, after_ms: u64) {
    tokio::time::sleep(Duration::from_millis(after_ms)).await;
    for _ in 0..TRIES {
        if checkout.pay(&order, amount).await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(RETRY_MS)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_pay_in_time_and_some_too_late_twice_or_never() {
        let mut random = Rng::with_seed(1);
        let all: Vec<Vec<u64>> = (0..1_000).map(|_| visits(&mut random)).collect();
        let count = |is: fn(&[u64]) -> bool| all.iter().filter(|visits| is(visits)).count();
        assert!((150..250).contains(&count(<[u64]>::is_empty)));
        assert!(
            (350..550).contains(&count(|visits| visits.first().is_some_and(|at| IN_TIME_MS.contains(at))))
        );
        assert!((250..450).contains(&count(|visits| visits.first().is_some_and(|at| LATE_MS.contains(at)))));
        assert!((100..250).contains(&count(|visits| visits.len() == 2)));
    }
}
