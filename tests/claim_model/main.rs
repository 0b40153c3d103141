//! `claim.lua` and the scripts around it decide as the model does: whatever is asked, in whatever batches, every
//! answer is equal, and in the end all that Redis holds.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod model;
#[path = "../support/open_partition.rs"]
mod open_partition;
mod real;
mod steps;

use std::cell::RefCell;
use std::collections::BTreeMap;

use proptest::test_runner::{Config, FileFailurePersistence, TestRunner};

use open_partition::TestRedis;
use real::RealSale;

const CASES: u32 = 200;
/// Of `model::Outcome`, and those refused by a survey.
const OUTCOMES: usize = 13;

#[test]
fn the_script_decides_as_the_model_does() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let server = runtime.block_on(TestRedis::start(&[]));
    let regressions = FileFailurePersistence::Direct("tests/claim_model/regressions.txt");
    let config = Config {
        cases: CASES,
        max_shrink_iters: 2000,
        failure_persistence: Some(Box::new(regressions)),
        ..Config::default()
    };
    let tally = RefCell::new(BTreeMap::new());
    TestRunner::new(config)
        .run(&(proptest::sample::select(vec![0u8, 3]), steps::life()), |(partition, life)| {
            runtime.block_on(async {
                let mut sale = RealSale::new(server.open(partition).await);
                for step in life {
                    sale.take(step).await?;
                }
                sale.check_all().await?;
                sale.add_to(&mut tally.borrow_mut());
                Ok(())
            })
        })
        .unwrap();
    runtime.block_on(server.redis.close());
    let tally = tally.into_inner();
    assert_eq!(tally.len(), OUTCOMES, "an outcome that was never reached was not tested: {tally:?}");
}
