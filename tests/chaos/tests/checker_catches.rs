//! The checker is only worth what it notices: with each protection of the engine taken out it must find a broken promise.
//! The same events on a sound engine are clean (`make chaos-short`).
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;

use chaos::deployment::{Deployment, DeploymentOptions};
use chaos::findings::Broken;
use chaos::{event, faults};
use tokio::sync::Mutex;

/// One deployment at a time: each is six processes and traffic.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());
/// What depends on a moment may need another try.
const SEEDS: std::ops::RangeInclusive<u64> = 1..=8;

/// What is found in events of `kind` on an engine without this protection.
async fn found_without(protection: &str, kind: &str, wanted: &[Broken]) {
    let failpoints = format!("{protection}=return");
    found_with(DeploymentOptions { failpoints, ..DeploymentOptions::default() }, kind, wanted).await;
}

/// What is found in events of `kind` on a deployment that is weakened so.
async fn found_with(weakened: DeploymentOptions, kind: &str, wanted: &[Broken]) {
    let _turn = ONE_AT_A_TIME.lock().await;
    let mut found = BTreeSet::new();
    for seed in SEEDS {
        let fault = faults::of_kind(kind).unwrap();
        let options = DeploymentOptions { layout: fault.layout(), ..weakened.clone() };
        let mut deployment = Deployment::start(options).await.unwrap();
        let report = event::run(&mut deployment, fault, seed, "sale").await.unwrap();
        println!("{kind}, seed {seed}: {:#?}", report.findings);
        found.extend(report.findings.broken.into_keys());
        if wanted.iter().any(|broken| found.contains(broken)) {
            return;
        }
    }
    panic!("weakened ({weakened:?}), {kind} passes, or shows something else: {found:?}, not {wanted:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_that_are_settled_before_the_commit() {
    let kind = "workers_killed_with_backlog";
    found_without("settle_before_commit", kind, &[Broken::Lost]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_opening_that_forgets_entries_in_flight() {
    let kind = "workers_killed_with_backlog";
    found_without("opening_without_drain", kind, &[Broken::Lost, Broken::Stuck]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_that_pass_the_gate_beside_each_other() {
    found_without("open_gate", "delivered_twice", &[Broken::Deadlock]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn scripts_that_are_loaded_where_redis_does_not_know_them() {
    found_without("load_on_noscript", "older_dump_keepers_frozen", &[Broken::Duplicate]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_looked_up_after_the_stock() {
    let wanted = [Broken::HiddenOrder, Broken::Leaked];
    found_without("idempotency_after_decrement", "api_killed", &wanted).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_stock_without_its_guard() {
    found_without("release_without_guard", "allotments_sent_again", &[Broken::Leaked]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn units_of_a_cancelled_order_that_come_back_twice() {
    found_without("release_without_guard", "cancel_storm_sent_again", &[Broken::Leaked]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_that_expire_without_giving_their_units_back() {
    found_without("return_without_units", "expiry_storm", &[Broken::Leaked]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_that_does_not_cancel_again() {
    found_without("return_without_cancel", "cancel_storm_postgres_restored", &[Broken::Undone]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn money_that_comes_late_and_buys_nothing() {
    found_without("late_money_is_kept", "late_payments", &[Broken::Kept]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn money_that_comes_late_from_a_checkout_and_buys_nothing() {
    found_without("late_money_is_kept", "checkouts", &[Broken::Kept]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refunds_that_are_forgotten() {
    found_without("refund_forgotten", "late_payments", &[Broken::Kept]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_that_are_confirmed_where_the_gateway_gave_no_answer() {
    found_without("no_answer_is_paid", "gateway_losing_answers", &[Broken::Unpaid]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_for_late_money_that_is_charged_itself() {
    found_without("late_claim_is_charged", "crash_payment_after_reclaim", &[Broken::PaidTwice]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_syncs_every_second_and_loses_power() {
    let weakened = DeploymentOptions {
        settings: [("durability_check".to_owned(), "warn".to_owned())].into(),
        redis: vec![("appendfsync".to_owned(), "everysec".to_owned())],
        ..DeploymentOptions::default()
    };
    found_with(weakened, "redis_power_lost", &[Broken::Lost]).await;
}
