//! `doorbuster rebuild`

use crate::binary::run;
use crate::support::World;

#[tokio::test(flavor = "multi_thread")]
async fn an_emptied_redis_is_rebuilt_by_hand_beside_running_nodes_and_without_them() {
    let mut world = World::with_partitions(2).await;
    let sale = world.open_sale("demo", &[("TEE", 100, None)]).await;
    let client = world.client();
    for buyer in 0..20 {
        assert_eq!(client.claim(&sale, &format!("b-{buyer}"), "k", &[("TEE", 1)]).await.status, 202);
    }
    world.drained().await;

    let unasked = run(&world, &["rebuild"]).await;
    assert_eq!(unasked.code, 1);
    assert!(
        unasked.error.contains("This closes p0, p1") && unasked.error.contains("Add --yes"),
        "{}",
        unasked.error
    );
    let none = run(&world, &["rebuild", "--partition", "2", "--yes"]).await;
    assert!(none.code == 1 && none.error.contains("from 0 to 1"), "{}", none.error);

    let epochs = || world.count("SELECT sum(epoch)::bigint FROM partitions");
    let before = epochs().await;
    let beside = run(&world, &["rebuild", "--yes", "--json"]).await;
    assert_eq!(beside.code, 0, "{}", beside.error);
    assert!(epochs().await >= before + 2);
    // The nodes' keepers go on behind it.
    world
        .until("a claim passes again", || async {
            client.claim(&sale, "late", "k", &[("TEE", 1)]).await.status.is_success()
        })
        .await;
    world.drained().await;
    world.assert_balanced(&sale, "TEE").await;

    world.stop_node().await;
    world.redis_says(&["FLUSHALL"]).await;
    let alone = run(&world, &["rebuild", "--yes", "--json"]).await;
    assert_eq!(alone.code, 0, "{}", alone.error);
    let partitions = alone.json()["partitions"].as_array().unwrap().clone();
    assert_eq!(partitions.len(), 2);
    let orders: i64 = partitions.iter().map(|one| one["orders"].as_i64().unwrap()).sum();
    assert_eq!(orders, 21);
    world.assert_balanced(&sale, "TEE").await;
    let table = run(&world, &["rebuild", "--yes", "--partition", "1"]).await;
    assert!(table.code == 0 && table.out.contains("ORDERS/S") && !table.out.contains("p0"), "{}", table.out);
}
