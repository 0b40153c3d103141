#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;
use std::io::Write;

use tempfile::NamedTempFile;

use super::*;

fn file(toml: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(toml.as_bytes()).unwrap();
    file
}

fn sources(flags: &[(&str, &str)], environment: &[(&str, &str)], file: Option<&NamedTempFile>) -> Sources {
    Sources {
        flags: flags.iter().map(|(name, text)| (Setting::named(name).unwrap(), text.to_string())).collect(),
        file: file.map(|file| file.path().to_owned()),
        environment: environment.iter().map(|(name, value)| (name.into(), value.into())).collect(),
    }
}

fn errors(sources: Sources) -> String {
    sources.load().unwrap_err().to_string()
}

fn origin(effective: &Effective, name: &str) -> String {
    effective.origin(Setting::named(name).unwrap()).to_string()
}

#[test]
fn defaults_are_allowed_by_their_own_rules() {
    let defaults = Settings::default();
    for setting in SETTINGS {
        let text = match setting.show(&defaults) {
            Shown::Number(number) => number.to_string(),
            Shown::Text(text) => text,
            Shown::Unset => String::new(),
        };
        let mut settings = Settings::default();
        assert!(setting.set(&mut settings, &text), "{}", setting.name);
        assert_eq!(settings, defaults, "{}", setting.name);
    }
    let effective = Sources::default().load().unwrap();
    assert_eq!(effective.settings, defaults);
    assert!(SETTINGS.iter().all(|setting| *effective.origin(setting) == Origin::Default));
}

#[test]
fn names_are_unique() {
    let names: BTreeSet<_> = SETTINGS.iter().map(|setting| setting.name).collect();
    assert_eq!(names.len(), SETTINGS.len());
}

#[test]
fn a_flag_beats_a_variable_beats_the_file_beats_the_default() {
    let file = file("partitions = 2\nlease_ms = 20000\nack = 'memory'");
    let variables = [("DOORBUSTER_PARTITIONS", "3"), ("DOORBUSTER_LEASE_MS", "30000"), ("PARTITIONS", "9")];
    let effective = sources(&[("partitions", "4")], &variables, Some(&file)).load().unwrap();
    assert_eq!(effective.settings.partitions, 4);
    assert_eq!(effective.settings.lease_ms, Millis::new(30_000));
    assert_eq!(effective.settings.ack, Ack::Memory);
    assert_eq!(effective.settings.role, Role::All);
    assert_eq!(origin(&effective, "partitions"), "--partitions");
    assert_eq!(origin(&effective, "lease_ms"), "DOORBUSTER_LEASE_MS");
    assert_eq!(origin(&effective, "ack"), format!("{}:ack", file.path().display()));
    assert_eq!(origin(&effective, "role"), "default");
}

#[test]
fn a_variable_names_the_file_and_the_flag_names_another() {
    let (one, two) = (file("partitions = 1"), file("partitions = 2"));
    let path = one.path().to_str().unwrap();
    let from_variable = sources(&[], &[("DOORBUSTER_CONFIG", path)], None).load().unwrap();
    assert_eq!(from_variable.settings.partitions, 1);
    let from_flag = sources(&[], &[("DOORBUSTER_CONFIG", path)], Some(&two)).load().unwrap();
    assert_eq!(from_flag.settings.partitions, 2);
}

#[test]
fn an_empty_variable_takes_back_an_optional_setting() {
    let file = file("trusted_buyer_header = 'X-Buyer'");
    let effective = sources(&[], &[], Some(&file)).load().unwrap();
    assert_eq!(effective.settings.trusted_buyer_header.unwrap(), "x-buyer");
    let variables = [("DOORBUSTER_TRUSTED_BUYER_HEADER", "")];
    let effective = sources(&[], &variables, Some(&file)).load().unwrap();
    assert_eq!(effective.settings.trusted_buyer_header, None);
}

#[test]
fn all_errors_come_at_once_with_origin_value_and_what_is_allowed() {
    let file = file("claim_batch_max = 257\nrole = true\npartitons = 4\n[redis]\nurl = 'x'\n");
    let path = file.path().display();
    let variables = [
        ("DOORBUSTER_ACK", "fast"),
        ("DOORBUSTER_REDIS_URl", "redis://h"),
        ("DOORBUSTER_HTTP_PORT", "80"),
        ("DOORBUSTER_POSTGRES_URL", "mysql://u:hunter2@h/db"),
        ("DOORBUSTER_ADMIN_TOKEN", "hunter2"),
    ];
    let flags = [("partitions", "-1"), ("lease_renew_ms", "5000")];
    let message = errors(sources(&flags, &variables, Some(&file)));
    for line in [
        format!(
            "claim_batch_max: \"257\" from {path}:claim_batch_max is not allowed; \
                 give a whole number of claims from 1 to 256"
        ),
        format!(
            "role: \"true\" from {path}:role is not allowed; give one of api, worker, sweeper, payment, webhooks, all"
        ),
        format!("{path}:partitons: there is no such setting (did you mean partitions?); remove the key"),
        format!("{path}:redis: there is no such setting; remove the key"),
        "ack: \"fast\" from DOORBUSTER_ACK is not allowed; give one of fsync, replica, memory".into(),
        "DOORBUSTER_REDIS_URl: there is no such setting (did you mean DOORBUSTER_REDIS_URL?); unset".into(),
        "DOORBUSTER_HTTP_PORT: there is no such setting; unset".into(),
        "postgres_url: \"mysql://u:********@h/db\" from DOORBUSTER_POSTGRES_URL is not allowed".into(),
        "admin_token: \"********\" from DOORBUSTER_ADMIN_TOKEN is not allowed; give 16 to 256 letters".into(),
        "partitions: \"-1\" from --partitions is not allowed; give a whole number".into(),
        "lease_renew_ms = 5000 (--lease-renew-ms), lease_ms = 800 (default): lease_renew_ms must be".into(),
    ] {
        assert!(message.contains(&line), "{line}\nnot in\n{message}");
    }
    assert_eq!(message.lines().count(), 12, "{message}");
    assert!(!message.contains("hunter2"));
}

#[test]
fn a_relation_is_not_judged_where_a_value_was_refused() {
    let flags = [("lease_ms", "1"), ("lease_renew_ms", "9000")];
    assert_eq!(sources(&flags, &[], None).load().unwrap_err().iter().count(), 1);
}

#[test]
fn replicas_are_waited_for_on_one_server() {
    let cluster = ("redis_url", "redis-cluster://h:7000");
    assert!(sources(&[cluster], &[], None).load().is_ok());
    let refused = errors(sources(&[cluster, ("ack", "replica")], &[], None));
    assert!(refused.contains("redis_url cannot be a cluster"), "{refused}");
    assert!(sources(&[("ack", "replica")], &[], None).load().is_ok());
}

#[test]
fn two_listeners_do_not_share_an_address() {
    let same = [("admin_listen", "127.0.0.1:8080")];
    assert!(sources(&same, &[], None).load().is_ok(), "without a token the admin listener is off");
    let with_token = [same[0], ("admin_token", "0123456789abcdef")];
    assert!(errors(sources(&with_token, &[], None)).contains("addresses of their own"));
}

#[test]
fn a_file_that_cannot_be_used_is_an_error_that_shows_no_secret() {
    let missing = Sources { file: Some("/nonexistent/doorbuster.toml".into()), ..Sources::default() };
    assert!(errors(missing).contains("a readable TOML file to --config"));
    let broken = file("\nredis_url = 'redis://:hunter2@h");
    let message = errors(sources(&[], &[], Some(&broken)));
    assert!(message.contains(&format!("{}:2: ", broken.path().display())), "{message}");
    assert!(!message.contains("hunter2"), "{message}");
}

#[test]
fn variables_that_kubernetes_sets_for_a_service_are_let_be() {
    let variables = [
        ("DOORBUSTER_SERVICE_HOST", "10.0.0.1"),
        ("DOORBUSTER_SERVICE_PORT", "80"),
        ("DOORBUSTER_SERVICE_PORT_HTTP", "80"),
        ("DOORBUSTER_PORT", "tcp://10.0.0.1:80"),
        ("DOORBUSTER_PORT_80_TCP", "tcp://10.0.0.1:80"),
        ("DOORBUSTER_PORT_80_TCP_ADDR", "10.0.0.1"),
        ("DOORBUSTER_API_SERVICE_HOST", "10.0.0.2"),
        ("DOORBUSTER_API_PORT_80_TCP_PROTO", "tcp"),
    ];
    sources(&[], &variables, None).load().unwrap();
    assert!(sources(&[], &[("DOORBUSTER_PORT", "8080")], None).load().is_err());
}

#[test]
fn config_output_loads_back() {
    let flags = [
        ("partitions", "4"),
        ("trusted_buyer_header", "x-buyer"),
        ("log_filter", "info,doorbuster[{a=\"b\"}]=debug"),
        ("redis_url", "redis-cluster://[::1]:7000?node=h:7001"),
        ("listen", "[::]:80"),
    ];
    let effective = sources(&flags, &[], None).load().unwrap();
    let printed = file(&effective.to_toml());
    assert_eq!(sources(&[], &[], Some(&printed)).load().unwrap().settings, effective.settings);
}

#[test]
fn masked_output_does_not_load_as_if_it_were_the_secret() {
    let flags = [("admin_token", "0123456789abcdef"), ("redis_url", "redis://:hunter2@h")];
    let effective = sources(&flags, &[], None).load().unwrap();
    let json = serde_json::to_string(&effective).unwrap();
    for shown in [effective.to_toml(), json, format!("{effective:?}")] {
        assert!(shown.contains("redis://:********@h"), "{shown}");
        assert!(!shown.contains("hunter2") && !shown.contains("0123456789abcdef"), "{shown}");
    }
    let printed = file(&effective.to_toml());
    assert_eq!(sources(&[], &[], Some(&printed)).load().unwrap_err().iter().count(), 2);
}

#[test]
fn json_keeps_types_and_order() {
    let json = serde_json::to_string(&Sources::default().load().unwrap()).unwrap();
    assert!(json.starts_with(r#"{"role":{"value":"all","source":"default"},"listen":"#), "{json}");
    assert!(json.contains(r#""lease_ms":{"value":800,"source":"default"}"#), "{json}");
    assert!(json.contains(r#""admin_token":{"value":null,"source":"default"}"#), "{json}");
}

#[test]
fn markdown_has_a_row_of_five_cells_for_each_setting() {
    let table = settings_markdown();
    let rows: Vec<_> = table.lines().skip(2).collect();
    assert_eq!(rows.len(), SETTINGS.len());
    for (row, setting) in rows.iter().zip(SETTINGS) {
        assert!(row.starts_with(&format!("| `{}` | ", setting.name)), "{row}");
        assert_eq!(row.matches('|').count(), 6, "{row}");
        assert!(row.ends_with(". |"), "{row}");
    }
}
