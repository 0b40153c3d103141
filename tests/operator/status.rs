//! `doorbuster status` and `doorbuster dead`, as an operator and a script see them.

use serde_json::json;

use crate::binary::run;
use crate::support::World;

#[tokio::test(flavor = "multi_thread")]
async fn status_tells_what_stands_and_what_wants_attention() {
    let mut world = World::with_partitions(2).await;
    let sale = world.open_sale("demo", &[("TEE", 100, None)]).await;
    let client = world.client();
    for buyer in 0..20 {
        assert_eq!(client.claim(&sale, &format!("b-{buyer}"), "k", &[("TEE", 1)]).await.status, 202);
    }
    world.drained().await;
    // The command knows the number of partitions from the database.
    let well = run(&world, &["status", "--json"]).await;
    assert_eq!(well.code, 0, "{} {}", well.out, well.error);
    let seen = well.json();
    assert_eq!((&seen["database"]["sales"], &seen["database"]["sales_open"]), (&json!(1), &json!(1)));
    let partitions = seen["partitions"].as_array().unwrap();
    assert_eq!(partitions.len(), 2);
    for one in partitions {
        let (redis, postgres) = (&one["redis"], &one["postgres"]);
        assert_eq!((&redis["state"], &redis["backlog"]), (&json!("open"), &json!(0)), "{one}");
        assert_eq!(redis["epoch"], postgres["epoch"]);
        assert!(redis["lease_left_ms"].as_i64().unwrap() > 0, "{one}");
        assert!(redis["bytes_per_order"].as_i64().unwrap() > 20, "{one}");
        assert_eq!(redis["consumers"].as_array().unwrap().len(), 4, "{one}");
        assert!(postgres["keeper"]["pid"].as_i64().unwrap() > 0, "{one}");
        assert!(redis["log"]["entries"].as_i64().unwrap() > 1, "{one}");
        assert_eq!(one["drift"]["known"], json!({ "units": 0, "drifting": 0, "items": 1 }), "{one}");
    }
    let table = run(&world, &["status"]).await.out;
    for word in ["PARTITION", "p1", "open", "doorbuster", "1 sales, 1 of them open", "all is well"] {
        assert!(table.contains(word), "{word}: {table}");
    }

    world.redis_says(&["HINCRBY", "{p1}:sale:demo", "stock:TEE", "3"]).await;
    let drifts = run(&world, &["status", "--json"]).await;
    assert_eq!(drifts.code, 3, "{} {}", drifts.out, drifts.error);
    let seen = drifts.json();
    let known = |number: usize| seen["partitions"][number]["drift"]["known"].clone();
    assert_eq!(known(0)["units"], 0);
    assert_eq!(known(1), json!({ "units": 3, "drifting": 1, "items": 1 }));
    let table = run(&world, &["status"]).await.out;
    for word in ["DRIFT", "3 in 1 items", "p1: the stock of 1 item(s) drifts by 3 units"] {
        assert!(table.contains(word), "{word}: {table}");
    }
    world.redis_says(&["HINCRBY", "{p1}:sale:demo", "stock:TEE", "-3"]).await;

    world.redis_says(&["XADD", "{p1}:log", "*", "order", "not an order"]).await;
    world
        .until("it is a dead letter", || async {
            world.count("SELECT count(*) FROM dead_letters").await == 1
        })
        .await;
    let table = run(&world, &["status"]).await;
    assert_eq!(table.code, 3, "{}", table.out);
    assert!(table.out.contains("p1: 1 dead letter: `doorbuster dead list`"), "{}", table.out);
    let listed = run(&world, &["dead", "list", "--json"]).await.json();
    let letter = listed["dead_letters"][0]["letter"].as_str().unwrap().to_owned();
    let shown = run(&world, &["dead", "show", &letter]).await.out;
    assert!(shown.contains("order: not an order") && shown.contains("hint"), "{shown}");
    let tried = run(&world, &["dead", "retry", "--all"]).await;
    assert!(tried.code == 3 && tried.out.contains("still dead: the entry's mark"), "{}", tried.out);
    let unasked = run(&world, &["dead", "drop", &letter, "--reason", "garbage"]).await;
    assert!(unasked.code == 1 && unasked.error.contains("Add --yes"), "{}", unasked.error);
    assert_eq!(world.count("SELECT count(*) FROM dead_letters WHERE ended_at IS NULL").await, 1);
    let dropped =
        run(&world, &["dead", "drop", &letter, "--reason", "garbage", "--by", "olga", "--yes"]).await;
    assert!(dropped.code == 0 && dropped.out.ends_with("dropped: it holds no order\n"), "{}", dropped.out);
    let again = run(&world, &["dead", "drop", &letter, "--reason", "garbage", "--yes"]).await;
    assert!(again.code == 0 && again.out.contains("already ended: dropped by olga"), "{}", again.out);
    let all = run(&world, &["dead", "list", "--all"]).await.out;
    assert!(all.contains("dropped by olga: garbage"), "{all}");
    assert_eq!(run(&world, &["status"]).await.code, 0);

    world.stop_node().await;
    let stopped = run(&world, &["status", "--json"]).await;
    assert!(stopped.code == 3 && stopped.out.contains("no keeper holds its lock"), "{}", stopped.out);
    world.redis_says(&["HSET", "{p0}:meta", "state", "opening"]).await;
    let closed = run(&world, &["status", "--json"]).await.json();
    let why = closed["partitions"][0]["drift"]["unknown"].as_str().unwrap();
    assert!(why.contains("not open"), "{closed}");
    world.redis.kill().await.unwrap();
    let away = run(&world, &["status", "--redis-timeout-ms", "300"]).await;
    assert_eq!(away.code, 1, "{}", away.out);
    assert!(
        away.out.contains("unknown: no answer") && away.out.contains("Redis does not answer"),
        "{}",
        away.out
    );
    assert!(away.out.contains("1 sales, 1 of them open"), "what Postgres says is missing: {}", away.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn status_without_postgres_still_tells_of_redis() {
    let mut world = World::with_own_postgres(|_| {}).await;
    world.open_sale("demo", &[("TEE", 100, None)]).await;
    world.postgres.as_mut().unwrap().kill().await.unwrap();
    let away = run(&world, &["status", "--postgres-timeout-ms", "500"]).await;
    assert_eq!(away.code, 1, "{}", away.out);
    assert!(away.out.contains("open") && away.out.contains("Postgres does not answer"), "{}", away.out);
    let list = run(&world, &["dead", "list", "--postgres-timeout-ms", "500"]).await;
    assert!(list.code == 1 && list.error.contains("PostgreSQL is not answering"), "{}", list.error);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_incident_is_counted_until_somebody_says_what_came_of_it() {
    let world = World::with_partitions(2).await;
    let raise = "INSERT INTO incidents (kind, partition, subject, detail) VALUES
        ('over_allotment', 1, 'A', 'order of olga cancelled'), ('entries_lost', 1, 'B', '3 log entries')";
    world.db.batch_execute(raise).await.unwrap();
    let seen = run(&world, &["status"]).await;
    assert_eq!(seen.code, 3, "{}", seen.out);
    assert!(seen.out.contains("p1: 2 incidents: `doorbuster incidents list`"), "{}", seen.out);
    let listed = run(&world, &["incidents", "list", "--json"]).await.json();
    let newest = &listed["incidents"][0];
    assert_eq!((&newest["kind"], &newest["subject"]), (&json!("entries_lost"), &json!("B")), "{listed}");
    let id = newest["id"].to_string();

    let ack = async |reason: &str| {
        run(&world, &["incidents", "ack", &id, "--reason", reason, "--by", "olga"]).await
    };
    let nothing = run(&world, &["incidents", "ack", &id]).await;
    assert_eq!(nothing.code, 2, "without a reason: {}", nothing.error);
    assert_eq!(ack("told the buyers").await.out, format!("{id}  acknowledged\n"));
    let again = ack("something else").await;
    assert!(again.code == 0 && again.out.contains("already acknowledged by olga"), "{}", again.out);
    let kept = "SELECT count(*) FROM incidents WHERE acknowledged_by = 'olga' AND reason = 'told the buyers'
        AND acknowledged_at > now() - interval '1 minute'";
    assert_eq!(world.count(kept).await, 1, "the first word stays");
    let unknown = run(&world, &["incidents", "ack", "999999", "--reason", "x", "--by", "olga"]).await;
    assert!(unknown.code == 1 && unknown.out.contains("not found"), "{}", unknown.out);

    let one_left = run(&world, &["status"]).await.out;
    assert!(one_left.contains("p1: 1 incident:"), "{one_left}");
    let rest = run(&world, &["incidents", "ack", "--all", "--reason", "seen", "--by", "olga"]).await;
    assert_eq!((rest.code, rest.out.lines().count()), (0, 1), "{}", rest.out);
    assert_eq!(run(&world, &["status"]).await.code, 0);
    assert_eq!(run(&world, &["incidents", "list"]).await.out, "no incidents\n");
    let all = run(&world, &["incidents", "list", "--all", "--partition", "1"]).await.out;
    assert!(all.contains("by olga: told the buyers") && all.contains("by olga: seen"), "{all}");
    assert_eq!(run(&world, &["incidents", "list", "--all", "--partition", "0"]).await.out, "no incidents\n");
}
