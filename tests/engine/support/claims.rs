//! Claims that are handed in without a node.

use std::time::Duration;

use doorbuster::buyer::BuyerId;
use doorbuster::catalogue::SaleId;
use doorbuster::claim::{Claim, IdempotencyKey, Intake, IntakeLimits, sorted_lines};
use doorbuster::gate::Gate;
use doorbuster::metrics::Metrics;
use doorbuster::redis::Redis;

/// One call at a time.
pub fn intake(redis: &Redis, gate: &Gate, sale: &SaleId) -> Intake {
    let limits = IntakeLimits {
        batch_max: 10,
        calls_max: 1,
        queue_max: 100,
        wait_max: Duration::from_secs(10),
        backlog_max: 1_000_000,
    };
    Intake::start(redis.clone(), gate.clone(), sale, limits, Metrics::new().claims.clone())
}

/// Of one TEE.
pub fn claim(sale: &SaleId, buyer: &str, key: &str) -> Claim {
    let lines = sorted_lines(vec![("TEE".parse().unwrap(), 1)]).unwrap();
    let (buyer, key) = (BuyerId::parse(buyer.as_bytes()), IdempotencyKey::parse(key.as_bytes()));
    Claim::new(sale.clone(), buyer.unwrap(), key.unwrap(), lines)
}
