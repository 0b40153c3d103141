//! `doorbuster log`

use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};

use crate::binary::{command, run};
use crate::support::{Block, PATIENCE, World};

#[tokio::test(flavor = "multi_thread")]
async fn entries_are_found_by_id_order_buyer_kind_and_time() {
    let world = World::with_partitions(2).await;
    let sale = world.open_sale("demo", &[("TEE", 100, None)]).await;
    let client = world.client();
    let mut ids = Vec::new();
    for buyer in 0..12 {
        let reply = client.claim(&sale, &format!("b-{buyer}"), "k", &[("TEE", 1 + buyer % 2)]).await;
        ids.push(reply.id());
    }
    world.drained().await;
    world.redis_says(&["XADD", "{p1}:log", "*", "order", "\u{1b}[2J"]).await;

    let all = run(&world, &["log", "--json", "--limit", "0"]).await.json_lines();
    let times: Vec<jiff::Timestamp> =
        all.iter().map(|entry| entry["time"].as_str().unwrap().parse().unwrap()).collect();
    assert!(times.is_sorted(), "{times:?}");
    let of_kind = |kind: &str| all.iter().filter(|entry| entry["kind"] == kind).count();
    assert_eq!((of_kind("order"), of_kind("allotment")), (13, 2));
    assert!(of_kind("opening") >= 2);

    let orders = run(&world, &["log", "--kind", "order", "--limit", "3"]).await;
    assert_eq!(orders.out.lines().count(), 3);
    let last = orders.out.lines().last().unwrap();
    assert!(last.contains("unreadable") && last.ends_with("order=\"\\x1b[2J\""), "{last}");

    let one = run(&world, &["log", &ids[5], "--state"]).await;
    assert!(
        one.code == 0 && one.out.contains("confirmed") && one.out.ends_with("demo b-5 TEE:2\n"),
        "{}",
        one.out
    );
    let address = one.out.split_whitespace().nth(1).unwrap();
    assert_eq!(run(&world, &["log", address, "--state"]).await.out, one.out);
    let of_buyer = run(&world, &["log", "--buyer", "b-5", "--from", "-1h", "--state"]).await;
    assert_eq!(of_buyer.out, one.out);
    let entry = address.split_once(':').unwrap().1;
    let stretch = ["log", "--from", entry, "--to", entry, "--buyer", "b-5", "--state"];
    assert_eq!(run(&world, &stretch).await.out, one.out);
    assert_eq!(run(&world, &["log", "--to", "-1h"]).await.out, "");
    assert_eq!(run(&world, &["log", "--from", "2100-01-01T00:00:00Z"]).await.out, "");

    // The very order, not whatever stands at its address.
    let other = ids[5][..25].to_owned() + if ids[5].ends_with('0') { "1" } else { "0" };
    let absent = run(&world, &["log", &other]).await;
    assert!(absent.code == 1 && absent.error.contains("not in the log"), "{}", absent.error);
    let wrong = run(&world, &["log", "--from", "yesterday"]).await;
    assert!(wrong.code == 2 && wrong.error.contains("-15m"), "{}", wrong.error);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_state_tells_what_waits_and_what_is_missing() {
    let world = World::new().await;
    let sale = world.open_sale("demo", &[("TEE", 100, None)]).await;
    let client = world.client();
    let lost = client.claim(&sale, "alice", "k", &[("TEE", 1)]).await.id();
    world.drained().await;
    let block = Block::persisting(&world).await;
    let waits = client.claim(&sale, "bob", "k", &[("TEE", 1)]).await.id();
    let seen = run(&world, &["log", &waits, "--state"]).await;
    assert!(seen.code == 0 && seen.out.contains(" pending "), "{}", seen.out);
    block.release().await;
    world.drained().await;
    world
        .until("the watermark has passed both", || async {
            world.count("SELECT count(*) FROM partitions WHERE watermark_ms > 0").await == 1
                && run(&world, &["log", &waits, "--state"]).await.out.contains("confirmed")
        })
        .await;
    // What must never happen is seen where it has.
    world.db.batch_execute("DELETE FROM orders WHERE buyer = 'alice'").await.unwrap();
    world
        .until("the loss is seen", || async {
            let seen = run(&world, &["log", &lost, "--state"]).await;
            seen.code == 3 && seen.out.contains(" missing ")
        })
        .await;
    let stock = run(&world, &["log", "--kind", "allotment", "--state", "--json"]).await.json_lines();
    assert_eq!(stock[0]["state"], "applied");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_paged_and_followed() {
    let world = World::new().await;
    let sale = world.open_sale("demo", &[("TEE", 5000, None)]).await;
    let script = "for i = 1, 2500 do redis.call('XADD', KEYS[1], '*', 'note', i) end";
    world.redis_says(&["EVAL", script, "1", "{p0}:log"]).await;
    let forward = run(&world, &["log", "--limit", "0", "--kind", "note"]).await;
    assert_eq!(forward.out.lines().count(), 2500);
    let newest = run(&world, &["log", "--limit", "2100", "--kind", "note"]).await;
    let oldest = run(&world, &["log", "--limit", "2100", "--kind", "note", "--from", "-1h"]).await;
    let lines: Vec<&str> = forward.out.lines().collect();
    assert_eq!(newest.out.lines().collect::<Vec<_>>(), lines[400..]);
    assert_eq!(oldest.out.lines().collect::<Vec<_>>(), lines[..2100]);

    let mut follow = command(&world, &["log", "--follow", "--kind", "order", "--limit", "1"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut followed = BufReader::new(follow.stdout.take().unwrap()).lines();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let client = world.client();
    for key in ["1", "2"] {
        let id = client.claim(&sale, "alice", key, &[("TEE", 1)]).await.id();
        let line = tokio::time::timeout(PATIENCE, followed.next_line()).await.unwrap().unwrap().unwrap();
        assert!(line.contains(&id), "{line}");
    }
    follow.kill().await.unwrap();
}
