//! `doorbuster rebuild`

use serde_json::json;

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

/// Postgres is from a backup that is older than the log, and there is no newer one: docs/RUNBOOK.md.
#[tokio::test(flavor = "multi_thread")]
async fn a_gap_is_given_up_by_an_operator_and_by_nobody_else() {
    let mut world = World::with_short_lease(1).await;
    let sale = world.open_sale("demo", &[("TEE", 100, None)]).await;
    for buyer in 0..5 {
        let reply = world.client().claim(&sale, &format!("b-{buyer}"), "k", &[("TEE", 1)]).await;
        assert_eq!(reply.status, 202);
    }
    world.drained().await;
    let watermark = "SELECT watermark_ms FROM partitions";
    let older = world.count(watermark).await;
    world.stop_node().await;
    world.start_node().await;
    for buyer in 5..8 {
        let reply = world.client().claim(&sale, &format!("b-{buyer}"), "k", &[("TEE", 1)]).await;
        assert_eq!(reply.status, 202);
    }
    world.drained().await;
    world.stop_node().await;
    world.start_node().await;
    world.stop_node().await;
    // Only the last opening is left, and the database knows nothing of the orders before it.
    world.redis_says(&["XTRIM", "{p0}:log", "MAXLEN", "=", "1"]).await;
    let restored = format!(
        "DELETE FROM orders WHERE buyer >= 'b-5';
         UPDATE sale_stock SET sold = 5;
         UPDATE partitions SET watermark_ms = {older}, watermark_seq = 0, watermark_mark = ''"
    );
    world.db.batch_execute(&restored).await.unwrap();
    let refused = run(&world, &["rebuild", "--yes"]).await;
    assert!(refused.code == 1 && refused.error.contains("exist nowhere"), "{}", refused.error);
    let given_up = async || {
        let listed = run(&world, &["incidents", "list", "--json"]).await.json();
        let all = listed["incidents"].as_array().unwrap().clone();
        all.into_iter().filter(|one| one["detail"].as_str().unwrap().contains("gave up")).collect::<Vec<_>>()
    };
    assert_eq!(given_up().await.len(), 0, "nobody has given up anything");
    let accepted = run(&world, &["rebuild", "--accept-gap", "--yes", "--by", "ada"]).await;
    assert_eq!(accepted.code, 0, "{}", accepted.error);
    let incidents = given_up().await;
    assert_eq!(incidents.len(), 1, "{incidents:?}");
    assert_eq!((&incidents[0]["kind"], &incidents[0]["partition"]), (&json!("entries_lost"), &json!(0)));
    let detail = incidents[0]["detail"].as_str().unwrap();
    assert!(detail.starts_with("ada gave up") && detail.contains("0 orders"), "{detail}");
    world.start_node().await;
    world.assert_balanced(&sale, "TEE").await;
    assert_eq!(world.client().claim(&sale, "b-5", "k", &[("TEE", 1)]).await.status, 202, "it was lost");
}
