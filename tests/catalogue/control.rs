use std::time::Duration;

use doorbuster::catalogue::ControlAction::{Close, Open, Pause, Resume};
use doorbuster::catalogue::{ControlError, Created, SaleControl, SaleId, SaleStatus, StoreError};
use jiff::Timestamp;
use serde_json::json;

use crate::{Catalogue, definition, new_sale};

async fn with_sale(partitions: u8) -> (Catalogue, SaleId) {
    let catalogue = Catalogue::new(partitions).await;
    catalogue.store.create_sale(&new_sale(&definition("demo")), "test").await.unwrap();
    (catalogue, "demo".parse().unwrap())
}

#[tokio::test]
async fn an_operator_moves_a_sale_through_its_life() {
    let (catalogue, id) = with_sale(1).await;
    let mut version = 1;
    for (action, control, status) in [
        (Pause, SaleControl::Paused, SaleStatus::Paused),
        (Resume, SaleControl::Scheduled, SaleStatus::NotYetOpen),
        (Open, SaleControl::Scheduled, SaleStatus::Open),
        (Pause, SaleControl::Paused, SaleStatus::Paused),
        (Open, SaleControl::Scheduled, SaleStatus::Open),
        (Close, SaleControl::Closed, SaleStatus::Closed),
    ] {
        version += 1;
        for round in ["first", "again"] {
            let sale = catalogue.store.set_control(&id, action).await.unwrap();
            let found = (sale.window.control, sale.window.status(Timestamp::now()), sale.version);
            assert_eq!(found, (control, status, version), "{action:?} {round}");
            assert_eq!(catalogue.store.get_sale(&id).await.unwrap().definition.sale, sale);
        }
    }
    for action in [Open, Pause, Resume] {
        let error = catalogue.store.set_control(&id, action).await.unwrap_err();
        assert!(matches!(error, StoreError::Refused(ControlError::Closed)), "{error}");
    }
    let nobody: SaleId = "nobody".parse().unwrap();
    let error = catalogue.store.set_control(&nobody, Open).await.unwrap_err();
    assert!(matches!(error, StoreError::NoSuchSale(_)), "{error}");
}

#[tokio::test]
async fn a_sale_that_was_opened_early_is_still_the_one_that_was_defined() {
    let (catalogue, id) = with_sale(1).await;
    catalogue.store.set_control(&id, Open).await.unwrap();
    let again = catalogue.store.create_sale(&new_sale(&definition("demo")), "test").await.unwrap();
    assert_eq!(again, Created::Unchanged(2));
}

#[tokio::test]
async fn a_window_that_is_over_cannot_be_opened_but_closed() {
    let catalogue = Catalogue::new(1).await;
    let mut past = definition("past");
    past["opens_at"] = json!("2001-01-01T00:00:00Z");
    past["closes_at"] = json!("2001-01-02T00:00:00Z");
    catalogue.store.create_sale(&new_sale(&past), "test").await.unwrap();
    let id = "past".parse().unwrap();
    let error = catalogue.store.set_control(&id, Open).await.unwrap_err();
    assert!(matches!(error, StoreError::Refused(ControlError::WindowOver(_))), "{error}");
    catalogue.store.set_control(&id, Close).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_who_meet_count_each_change_once() {
    let (catalogue, id) = with_sale(1).await;
    let together = (0..8).map(|_| {
        let (store, id) = (catalogue.store.clone(), id.clone());
        tokio::spawn(async move { store.set_control(&id, Pause).await })
    });
    for operator in together.collect::<Vec<_>>() {
        assert_eq!(operator.await.unwrap().unwrap().version, 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_that_meets_a_close_does_not_undo_it() {
    let (catalogue, id) = with_sale(1).await;
    let mut closer = catalogue.pool.get().await.unwrap();
    let closing = closer.transaction().await.unwrap();
    closing.batch_execute("UPDATE sales SET control = 'closed', version = version + 1").await.unwrap();

    let pausing = tokio::spawn({
        let (store, id) = (catalogue.store.clone(), id.clone());
        async move { store.set_control(&id, Pause).await }
    });
    // It has read the open sale and waits for the row: now the close wins.
    let waiters = "SELECT count(*) FROM pg_stat_activity \
                   WHERE datname = current_database() AND wait_event_type = 'Lock'";
    for _ in 0..500 {
        if catalogue.number(waiters).await > 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    closing.commit().await.unwrap();
    let error = pausing.await.unwrap().unwrap_err();
    assert!(matches!(error, StoreError::Refused(ControlError::Closed)), "{error}");
    assert_eq!(catalogue.number("SELECT count(*) FROM sales WHERE control = 'closed'").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_applied_when_every_partition_knows_it() {
    let (catalogue, id) = with_sale(2).await;
    let early = catalogue.store.wait_published(&id, 1, Duration::from_millis(300)).await;
    assert!(!early.applied);
    assert!(early.reason.unwrap().contains("2 partition(s)"));

    catalogue.execute("UPDATE sale_publications SET version = 1 WHERE partition = 0").await;
    let half = catalogue.store.wait_published(&id, 1, Duration::from_millis(300)).await;
    assert!(half.reason.unwrap().contains("1 partition(s)"));

    let waiting = tokio::spawn({
        let (store, id) = (catalogue.store.clone(), id.clone());
        async move { store.wait_published(&id, 1, Duration::from_secs(20)).await }
    });
    catalogue.execute("UPDATE sale_publications SET version = 1").await;
    assert!(waiting.await.unwrap().applied);
    assert_eq!(catalogue.store.get_sale(&id).await.unwrap().published_version, 1);

    // Told of the sale, but without its units nothing is sold yet.
    let sellable = || catalogue.store.wait_sellable(&id, 1, Duration::from_millis(300));
    assert!(sellable().await.reason.unwrap().contains("2 partition(s)"));
    catalogue.execute("UPDATE stock_intents SET applied_at = now() WHERE partition = 0").await;
    assert!(sellable().await.reason.unwrap().contains("1 partition(s)"));
    catalogue.execute("UPDATE stock_intents SET applied_at = now()").await;
    assert!(sellable().await.applied);
}
