//! The documents tell the truth: tables come from the code, and every command and setting they name exists.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use doorbuster::config::{SETTINGS, VARIABLE_PREFIX, settings_markdown};
use doorbuster::http::ProblemKind;
use doorbuster::metrics::Metrics;

const README: &str = include_str!("../README.md");
const ARCHITECTURE: &str = include_str!("../ARCHITECTURE.md");
const SETTINGS_PAGE: &str = include_str!("../docs/settings.md");

const METRICS_PAGE: &str = include_str!("../docs/METRICS.md");
const DASHBOARD: &str = include_str!("../deploy/grafana/doorbuster.json");
const ALERTS: &str = include_str!("../deploy/prometheus/alerts.yml");

/// `UPDATE_DOCS=1 cargo test --test docs` writes the tables anew.
fn assert_holds(page: &str, text: &str, table: &str) {
    let (begin, end) = ("<!-- generated: begin -->\n", "<!-- generated: end -->");
    let (head, rest) = text.split_once(begin).expect("the page has no place for its table");
    let (found, tail) = rest.split_once(end).expect("the place for the table has no end");
    if found.trim() != table.trim() && std::env::var_os("UPDATE_DOCS").is_some() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(page);
        std::fs::write(path, format!("{head}{begin}\n{}\n\n{end}{tail}", table.trim())).unwrap();
        return;
    }
    assert_eq!(found.trim(), table.trim(), "{page}: run UPDATE_DOCS=1 cargo test --test docs");
}

#[test]
fn the_readme_lists_every_answer() {
    assert_holds("README.md", README, &ProblemKind::markdown_table());
}

#[test]
fn the_settings_page_lists_every_setting() {
    assert_holds("docs/settings.md", SETTINGS_PAGE, &settings_markdown());
}

#[test]
fn the_metrics_page_lists_every_metric() {
    assert_holds("docs/METRICS.md", METRICS_PAGE, &Metrics::new().markdown_table());
}

/// What is exported is what is listed; and every metric of an alert is exported.
#[test]
fn every_metric_that_is_exported_or_alerted_on_is_listed() {
    let metrics = Metrics::new();
    let is_listed = |name: &str| metrics.rows().iter().any(|row| row.name == name);
    let text = metrics.text();
    let exported: Vec<String> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
        .map(|(name, kind)| if kind == "counter" { format!("{name}_total") } else { name.to_owned() })
        .collect();
    assert!(exported.len() > 10, "{text}");
    for name in &exported {
        assert!(is_listed(name), "{name}");
    }
    for (page, text) in [("alerts.yml", ALERTS), ("the dashboard", DASHBOARD), ("METRICS.md", METRICS_PAGE)] {
        for name in words_after(text, "doorbuster_") {
            let name = name.strip_suffix("_bucket").unwrap_or(name);
            assert!(is_listed(&format!("doorbuster_{name}")), "{page} names doorbuster_{name}");
        }
    }
    for alert in words_after(ALERTS, "alert: ") {
        assert!(METRICS_PAGE.contains(&format!("| {alert} |")), "docs/METRICS.md lacks {alert}");
    }
}

#[test]
fn every_variable_that_a_page_names_is_a_setting() {
    for (page, text) in [("README.md", README), ("ARCHITECTURE.md", ARCHITECTURE)] {
        for name in words_after(text, VARIABLE_PREFIX) {
            let setting = name.to_ascii_lowercase();
            let known = setting == "config" || SETTINGS.iter().any(|known| known.name == setting);
            assert!(known, "{page} names {VARIABLE_PREFIX}{name}");
        }
    }
}

#[test]
fn every_path_that_the_architecture_names_exists() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    for part in ARCHITECTURE.split('`').skip(1).step_by(2) {
        let is_path =
            ["src/", "lua/", "sql/", "tests/", "bench/", "docs/"].iter().any(|start| part.starts_with(start));
        if is_path {
            assert!(root.join(part).exists(), "ARCHITECTURE.md names {part}");
        }
    }
}

#[test]
fn every_make_target_that_the_readme_names_exists() {
    let makefile = include_str!("../Makefile");
    for target in words_after(README, "make ") {
        let is_target = target.chars().all(|c| c.is_ascii_lowercase() || c == '-');
        if is_target && README.contains(&format!("`make {target}`")) {
            assert!(makefile.contains(&format!("\n{target}:")), "README.md names make {target}");
        }
    }
}

fn words_after<'a>(text: &'a str, prefix: &'a str) -> impl Iterator<Item = &'a str> {
    text.match_indices(prefix)
        .map(move |(at, _)| {
            let rest = &text[at + prefix.len()..];
            let end =
                rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '-').unwrap_or(rest.len());
            &rest[..end]
        })
        .filter(|word| !word.is_empty())
}
