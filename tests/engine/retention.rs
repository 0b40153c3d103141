//! A sale that is long over leaves Redis, but only when nothing of it is under way in any partition.

use std::time::{Duration, Instant};

use doorbuster::buyer::BuyerId;
use doorbuster::config::Seconds;
use doorbuster::order_id::OrderId;
use doorbuster::partition::Partitions;

use crate::support::{Block, World};

/// Longer than the keeper's turns of retention are apart.
const A_TURN: Duration = Duration::from_secs(6);

/// A buyer of a partition.
fn buyer_of(partition: u8) -> String {
    let partitions = Partitions::new(3).unwrap();
    let buyers = (0..).map(|n| format!("buyer-{n}"));
    let of_partition =
        |name: &String| partitions.of(&BuyerId::parse(name.as_bytes()).unwrap()).number() == partition;
    buyers.take(1000).find(of_partition).unwrap()
}

async fn partitions_drained(world: &World) -> Vec<i16> {
    let rows = world
        .db
        .query("SELECT partition FROM sale_publications WHERE drained_at IS NOT NULL ORDER BY 1", &[])
        .await
        .unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sale_is_forgotten_only_when_nothing_of_it_is_under_way_anywhere() {
    let world = World::with(|settings| {
        settings.partitions = 3;
        settings.sale_retention_s = Seconds::new(1);
    })
    .await;
    let closes = jiff::Timestamp::now() + Duration::from_secs(3);
    let over = Instant::now() + Duration::from_secs(3 + 1);
    let sale = world.sale("brief", &[("TEE", 9, None)], "2020-01-01T00:00:00Z", &closes.to_string()).await;
    let client = world.client();
    let buyer = buyer_of(0);
    let settled = client.claim(&sale, &buyer_of(2), "k", &[("TEE", 1)]).await;
    world.drained().await;
    // Partition 0 has an order that only the log knows, 1 a dead letter, 2 units that cannot come back yet.
    let block = Block::persisting(&world).await;
    let first = client.claim(&sale, &buyer, "k", &[("TEE", 1)]).await;
    assert_eq!((settled.status.as_u16(), first.status.as_u16()), (202, 202));
    let settled: OrderId = settled.id().parse().unwrap();
    world
        .db
        .batch_execute(&format!(
            "INSERT INTO dead_letters (partition, entry_ms, entry_seq, fields, sale_id, error)
             VALUES (1, 1, 1, '{{}}', 'brief', 'test');
             INSERT INTO stock_intents (cause, kind, sale_id, partition, order_id, lines, reason, actor)
             VALUES ('return:test', 'return', 'brief', 2, '{}', '{{\"CUP\": 1}}', 'operator', 'test')",
            settled.to_uuid()
        ))
        .await
        .unwrap();
    tokio::time::sleep_until((over + A_TURN).into()).await;
    assert_eq!(partitions_drained(&world).await, Vec::<i16>::new(), "something is under way");
    block.release().await;
    world.until("one partition is done", || async { partitions_drained(&world).await == [0] }).await;
    tokio::time::sleep(A_TURN).await;
    assert_eq!(partitions_drained(&world).await, [0]);
    let removed = "SELECT count(*) FROM sale_publications WHERE removed_at IS NOT NULL";
    assert_eq!(world.count(removed).await, 0, "keys are gone before the sale is retired");
    let again = client.claim(&sale, &buyer, "k", &[("TEE", 1)]).await;
    assert_eq!(
        (again.status.as_u16(), again.id()),
        (200, first.id()),
        "its keys are gone before the sale is retired"
    );
    world
        .db
        .batch_execute(
            "UPDATE dead_letters SET ended_at = now(), outcome = 'dropped';
             UPDATE stock_intents SET applied_at = now() WHERE applied_at IS NULL",
        )
        .await
        .unwrap();
    world.until("the sale's keys are removed everywhere", || async { world.count(removed).await == 3 }).await;
    let again = client.claim(&sale, &buyer, "k", &[("TEE", 1)]).await;
    assert_eq!((again.status.as_u16(), again.id()), (200, first.id()));
}
