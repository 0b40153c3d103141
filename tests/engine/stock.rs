//! Changes of stock, from Postgres through Redis and its log back into Postgres.

use std::time::Duration;

use crate::support::{Block, World};

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_stock_takes_effect_once_however_often_it_is_sent() {
    let world = World::new().await;
    let block = Block::writing(&world, "stock_ledger").await;
    let items = [("TEE", 10, None)];
    let sale = world.published_sale("demo", &items, "2020-01-01T00:00:00Z", "2100-01-01T00:00:00Z").await;
    let stock = || async { world.redis_says(&["HGET", "{p0}:sale:demo", "stock:TEE"]).await };
    world.until("the allotment is in redis", || async { !stock().await.is_empty() }).await;
    // Its log entry is not persisted, so the keeper sends it again with every turn.
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(world.count("SELECT count(*) FROM stock_intents WHERE applied_at IS NULL").await, 1);
    assert_eq!(stock().await, "10");
    block.release().await;
    world.no_intents_open().await;
    world.drained().await;
    assert_eq!(world.count("SELECT count(*) FROM stock_ledger").await, 1);
    world.assert_balanced(&sale, "TEE").await;
}
