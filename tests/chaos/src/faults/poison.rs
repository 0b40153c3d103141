//! Entries in the log that no claim wrote.

use std::time::{Duration, Instant};

use async_trait::async_trait;

use crate::ChaosError;
use crate::deployment::{Deployment, PATIENCE};
use crate::fault::{Evidence, Fault, Scene};
use crate::history::Purchase;

const POLL: Duration = Duration::from_millis(20);

/// As `claim.lua` counts an entry, so that the backlog comes out even.
/// KEYS: meta, log.  ARGV: field, value.
const ADD_ENTRY: &str = "
redis.call('HINCRBY', KEYS[1], 'appended', 1)
return redis.call('XADD', KEYS[2], '*', ARGV[1], ARGV[2])";

/// As a Redis that was rewound would sell a key's order again: takes the units, and logs it.
/// KEYS: meta, log, sale.  ARGV: field, value, stock field, units.
const SELL_AGAIN: &str = "
redis.call('HINCRBY', KEYS[1], 'appended', 1)
redis.call('HINCRBY', KEYS[3], ARGV[3], -ARGV[4])
return redis.call('XADD', KEYS[2], '*', ARGV[1], ARGV[2])";

/// Entries that cannot be persisted, among honest ones.
#[derive(Default)]
pub struct Poison {
    before: i64,
    planted: i64,
}

#[async_trait]
impl Fault for Poison {
    fn kind(&self) -> &'static str {
        "poison"
    }

    async fn inject(
        &mut self,
        deployment: &mut Deployment,
        scene: &mut Scene,
    ) -> Result<Evidence, ChaosError> {
        self.before = dead_letters(deployment).await?;
        let order = |words: &str| ("order", format!("00000000 00000000deadbeef {words}"));
        let entries = [
            ("poison", "of no known kind".to_owned()),
            ("order", "cut".to_owned()),
            order("no-such-sale mallory p-1 PLENTY-A:1"),
            order(&format!("{} mallory p-2 NO-SUCH-SKU:1", scene.sales[0])),
            order(&format!("{} mallory p-3 PLENTY-A:none", scene.sales[0])),
            ("allotment", "00000000 nobody cause PLENTY-A".to_owned()),
        ];
        for _ in 0..scene.random.usize(1..=3) {
            for (field, value) in &entries {
                let args = [ADD_ENTRY, "2", "{p0}:meta", "{p0}:log", field, value];
                deployment.redis_command("EVAL", &args).await?;
                self.planted += 1;
            }
        }
        Ok(Evidence { fired: false, what: format!("{} entries planted", self.planted) })
    }

    async fn heal(&mut self, deployment: &mut Deployment, _: &mut Scene) -> Result<Evidence, ChaosError> {
        let found = wait_dead_letters(deployment, self.before + self.planted).await? - self.before;
        Ok(Evidence::seen(found == self.planted, format!("{found} dead letters")))
    }
}

async fn dead_letters(deployment: &Deployment) -> Result<i64, ChaosError> {
    let query = "SELECT count(*) FROM dead_letters";
    Ok(deployment.sql().await?.query_one(query, &[]).await?.get(0))
}

async fn wait_dead_letters(deployment: &Deployment, wanted: i64) -> Result<i64, ChaosError> {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        if dead_letters(deployment).await? >= wanted {
            break;
        }
        tokio::time::sleep(POLL).await;
    }
    dead_letters(deployment).await
}

/// A second order of a key, as a Redis that was rewound makes it: it must end cancelled, and its units come back once.
#[derive(Default)]
pub struct DuplicateOrder {
    planted: u64,
}

#[async_trait]
impl Fault for DuplicateOrder {
    fn kind(&self) -> &'static str {
        "duplicate_order"
    }

    async fn inject(
        &mut self,
        deployment: &mut Deployment,
        scene: &mut Scene,
    ) -> Result<Evidence, ChaosError> {
        let purchase = Purchase { sale: scene.sales[0].clone(), buyer: "twin".into(), key: "twin".into() };
        let sale_key = format!("{{p0}}:sale:{}", purchase.sale);
        for number in 0..scene.random.u32(2..=4) {
            let value =
                format!("0000000{number} 00000000deadbeef {} twin twin PLENTY-A:3,PLENTY-B:1", purchase.sale);
            // One line's units are taken here, the other's below: one entry is added by one call.
            let take =
                ["return redis.call('HINCRBY', KEYS[1], ARGV[1], -1)", "1", &sale_key, "stock:PLENTY-B"];
            deployment.redis_command("EVAL", &take).await?;
            let add =
                [SELL_AGAIN, "3", "{p0}:meta", "{p0}:log", &sale_key, "order", &value, "stock:PLENTY-A", "3"];
            deployment.redis_command("EVAL", &add).await?;
            self.planted += 1;
        }
        scene.injected.planted.insert(purchase);
        Ok(Evidence { fired: false, what: format!("{} orders of one key", self.planted) })
    }

    async fn heal(&mut self, deployment: &mut Deployment, scene: &mut Scene) -> Result<Evidence, ChaosError> {
        let query = "SELECT count(*) FROM orders WHERE sale_id = $1 AND buyer = 'twin' AND cancel_reason = 'duplicate'";
        let wanted = self.planted.saturating_sub(1).cast_signed();
        let mut cancelled = 0;
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            cancelled = deployment.sql().await?.query_one(query, &[&scene.sales[0]]).await?.get(0);
            if cancelled >= wanted {
                break;
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(Evidence::seen(cancelled == wanted, format!("{cancelled} cancelled as duplicates")))
    }
}
