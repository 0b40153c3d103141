use serde_json::Value;

use crate::process::{doorbuster, refused, said};

#[test]
fn the_effective_settings_are_shown_with_their_origin_and_without_secrets() {
    let mut config = doorbuster();
    config.args(["config", "--json", "--partitions", "4"]);
    config.env("DOORBUSTER_POSTGRES_URL", "postgres://u:hushhush@db/shop");
    let shown = said(&mut config);
    assert!(!shown.contains("hushhush"), "{shown}");
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(
        (&shown["partitions"]["value"], &shown["partitions"]["source"]),
        (&4.into(), &"--partitions".into())
    );
    assert_eq!(shown["postgres_url"]["source"], "DOORBUSTER_POSTGRES_URL");
    assert!(said(doorbuster().arg("config")).contains("lease_ms = 800"));
}

#[test]
fn a_variable_that_is_no_setting_stops_every_command() {
    let (code, error) = refused(doorbuster().arg("run").env("DOORBUSTER_LEASE", "1"));
    assert!(code == 2 && error.contains("DOORBUSTER_LEASE: there is no such setting"), "{code} {error}");
}

#[test]
fn dev_says_what_keeps_it_from_starting() {
    let (code, error) = refused(doorbuster().args(["dev", "--external", "--data-dir", "x"]));
    assert!(code == 2 && error.contains("cannot be used with"), "{code} {error}");
    let (code, error) = refused(doorbuster().args(["dev", "--admin-listen", "0.0.0.0:0"]));
    assert!(code == 1 && error.contains("set admin_token"), "{code} {error}");
}
