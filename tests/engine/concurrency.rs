//! A thousand buyers for a hundred units.

use std::collections::HashSet;

use crate::support::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_buyers_for_a_hundred_units() {
    let world = World::new().await;
    let sale = world.open_sale("rush", &[("TEE", 100, Some(1))]).await;
    let client = world.client();
    let buyers: Vec<_> = (0..1000)
        .map(|buyer| {
            let (client, sale) = (client.clone(), sale.clone());
            tokio::spawn(async move {
                client.claim(&sale, &format!("buyer-{buyer}"), "only", &[("TEE", 1)]).await
            })
        })
        .collect();
    let mut ids = HashSet::new();
    let mut sold_out = 0;
    for buyer in buyers {
        let reply = buyer.await.unwrap();
        match reply.status.as_u16() {
            202 => assert!(ids.insert(reply.id()), "one id for two buyers"),
            409 => {
                assert_eq!(reply.problem(), (409, "sold-out"));
                sold_out += 1;
            }
            _ => panic!("{reply:?}"),
        }
    }
    assert_eq!((ids.len(), sold_out), (100, 900));
    world.drained().await;
    assert_eq!(world.count("SELECT count(*) FROM orders WHERE state = 'confirmed'").await, 100);
    let rows = world.db.query("SELECT id FROM orders", &[]).await.unwrap();
    let stored: HashSet<String> =
        rows.iter().map(|row| doorbuster::order_id::OrderId::from_uuid(row.get(0)).to_string()).collect();
    assert_eq!(stored, ids, "what was acknowledged and what is stored");
    assert_eq!(world.stock(&sale, "TEE").await, 0);
    world.assert_balanced(&sale, "TEE").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_partitions_sell_exactly_what_there_is() {
    let world = World::with_partitions(4).await;
    let sale = world.open_sale("rush", &[("TEE", 100, None), ("MUG", 40, None)]).await;
    let client = world.client();
    let buyers: Vec<_> = (0..600)
        .map(|buyer| {
            let (client, sale) = (client.clone(), sale.clone());
            let items: &[(&str, u64)] =
                if buyer % 3 == 0 { &[("TEE", 1), ("MUG", 1)] } else { &[("TEE", 1)] };
            tokio::spawn(async move { client.claim(&sale, &format!("buyer-{buyer}"), "only", items).await })
        })
        .collect();
    let mut accepted = 0;
    for buyer in buyers {
        let reply = buyer.await.unwrap();
        match reply.problem() {
            (202, _) => accepted += 1,
            // An empty partition refuses for good only once all are empty.
            (409, "sold-out") | (503, "unavailable") => {}
            _ => panic!("{reply:?}"),
        }
    }
    world.drained().await;
    assert_eq!(world.count("SELECT count(*) FROM orders").await, accepted);
    for sku in ["TEE", "MUG"] {
        world.assert_balanced(&sale, sku).await;
    }
    assert_eq!(world.stock(&sale, "TEE").await, 0);
    // Every partition is empty now: sold out is the truth, wherever a buyer's partition is.
    for buyer in 0..8 {
        let reply = client.claim(&sale, &format!("late-{buyer}"), "1", &[("TEE", 1)]).await;
        assert_eq!(reply.problem(), (409, "sold-out"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_partition_says_try_again_while_another_has_units() {
    let world = World::with_partitions(4).await;
    // One unit: three of four partitions have none.
    let sale = world.open_sale("rare", &[("TEE", 1, None)]).await;
    let client = world.client();
    let mut answers = std::collections::BTreeMap::new();
    for buyer in 0..40 {
        let reply = client.claim(&sale, &format!("buyer-{buyer}"), "1", &[("TEE", 1)]).await;
        let (status, kind) = reply.problem();
        *answers.entry((status, kind.to_owned())).or_insert(0) += 1;
        if status == 202 {
            break;
        }
        assert_eq!((status, kind), (503, "unavailable"), "an empty partition hid the unit of another");
        assert!(reply.retry_after().is_some());
    }
    assert_eq!(answers.get(&(202, String::new())), Some(&1), "{answers:?}");
}
