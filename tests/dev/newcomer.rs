use std::os::unix::process::ExitStatusExt;

use nix::sys::signal::Signal;

use crate::process::{Running, buy, is_used, shell, tempdir, wait_until};

/// Pastes the printed lines; the id of the order.
fn order(dev: &Running) -> String {
    let answer = buy(dev.line("Buy a shirt"));
    let location = answer.lines().find_map(|line| line.strip_prefix("location: /v1/orders/"));
    location.expect(&answer).trim().to_owned()
}

fn wait_confirmed(dev: &Running, order: &str) {
    let follow = dev.line("Follow the order").replace("/orders/ID", &format!("/orders/{order}"));
    wait_until("the order is confirmed", || shell(&follow).contains(r#""state":"confirmed""#));
}

/// The states of all orders in Postgres itself.
async fn states(dev: &Running) -> Vec<String> {
    let (client, connection) =
        tokio_postgres::connect(dev.address("Postgres"), tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let rows = client.query("SELECT state FROM orders", &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newcomer_buys_stops_and_finds_the_order_again() {
    let dir = tempdir();
    let dev = Running::dev(dir.path());
    assert!(is_used(dir.path()));
    let first = order(&dev);
    wait_confirmed(&dev, &first);
    assert_eq!(states(&dev).await, ["confirmed"]);
    assert!(shell(dev.line("Every order")).contains(&first));
    assert!(shell(dev.line("See it in Postgres")).contains(if dev.line("See it").starts_with("psql") {
        "confirmed"
    } else {
        "Red tee"
    }));
    assert!(shell(dev.line("See the sales as an operator")).contains(r#""sold":1"#));

    let (status, said) = dev.end(Signal::SIGINT);
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(
        said.contains("0 requests in flight finished, 0 cut") && said.contains("Postgres   stopped"),
        "{said}"
    );
    assert!(!is_used(dir.path()), "a server was left behind");

    let dev = Running::dev(dir.path());
    wait_confirmed(&dev, &first);
    let second = order(&dev);
    assert_ne!(first, second);
    wait_confirmed(&dev, &second);

    let (status, _) = dev.end(Signal::SIGKILL);
    assert_eq!(status.signal(), Some(9));
    wait_until("the servers end with their owner", || !is_used(dir.path()));

    let dev = Running::dev(dir.path());
    wait_confirmed(&dev, &second);
    assert_eq!(states(&dev).await.len(), 2);
    assert_eq!(dev.end(Signal::SIGTERM).0.code(), Some(0));
    assert!(!is_used(dir.path()));
}
