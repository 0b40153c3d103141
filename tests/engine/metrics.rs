//! What a node tells Prometheus.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

use crate::support::World;

/// The metrics of a world's node.
pub async fn text(world: &World) -> String {
    get(world, "/metrics").await.1
}

async fn get(world: &World, path: &str) -> (u16, String) {
    let address = world.node().metrics.unwrap();
    let http = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let response = http.get(format!("http://{address}{path}").parse().unwrap()).await.unwrap();
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

/// The value of a series.
fn value(text: &str, series: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.map(|value| value.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_tells_what_happened_to_the_claims_and_how_its_partition_is() {
    let world = World::with(|settings| settings.metrics_listen = Some("127.0.0.1:0".parse().unwrap())).await;
    let sale = world.open_sale("demo", &[("TEE", 2, None)]).await;
    let client = world.client();
    for (buyer, status) in [("a", 202), ("b", 202), ("a", 200), ("c", 409)] {
        assert_eq!(client.claim(&sale, buyer, "k", &[("TEE", 1)]).await.status.as_u16(), status);
    }
    assert_eq!(client.claim("nothing", "a", "k", &[("TEE", 1)]).await.status.as_u16(), 404);
    world.drained().await;
    world
        .until("the partition was sampled since", || async {
            let text = text(&world).await;
            let of = |name: &str| value(&text, &format!("doorbuster_{name}{{partition=\"0\"}}"));
            of("log_entries") == Some(5.0) && of("backlog_entries") == Some(0.0)
        })
        .await;
    let text = text(&world).await;
    for (series, expected) in [
        ("doorbuster_claims_total{outcome=\"accepted\"}", 2.0),
        ("doorbuster_claims_total{outcome=\"duplicate\"}", 1.0),
        ("doorbuster_claims_total{outcome=\"sold_out\"}", 1.0),
        ("doorbuster_claim_seconds_count", 4.0),
        ("doorbuster_request_problems_total{problem=\"not-found\"}", 1.0),
        ("doorbuster_orders_persisted_total", 2.0),
        ("doorbuster_partition_open{partition=\"0\"}", 1.0),
        ("doorbuster_partition_epoch{partition=\"0\"}", 1.0),
        ("doorbuster_backlog_entries{partition=\"0\"}", 0.0),
        ("doorbuster_lag_seconds{partition=\"0\"}", 0.0),
        ("doorbuster_dead_letters_open{partition=\"0\"}", 0.0),
        ("doorbuster_openings_total{partition=\"0\",reason=\"rebuilt\"}", 1.0),
        ("doorbuster_opening_seconds_count", 1.0),
    ] {
        assert_eq!(value(&text, series), Some(expected), "{series} in {text}");
    }
    for series in [
        "doorbuster_log_bytes{partition=\"0\"}",
        "doorbuster_order_memory_bytes{partition=\"0\"}",
        "doorbuster_process_cpu_seconds_total",
        "doorbuster_process_resident_memory_bytes",
        "doorbuster_http_connections{listener=\"api\"}",
        "doorbuster_settle_seconds_count",
        "doorbuster_persist_seconds_sum",
    ] {
        assert!(value(&text, series).is_some_and(|value| value > 0.0), "{series} in {text}");
    }
    assert_eq!(get(&world, "/").await.0, 404);
}
