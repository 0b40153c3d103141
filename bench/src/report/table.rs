//! The tables of the terminal.

use std::collections::BTreeMap;

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, Table};

use super::Results;
use super::statistics::Spread;
use crate::drive::{GROWN, NEW};
use crate::load::Mix;

/// What is shown of a subject, in this order: (figure, head, decimals).
const COLUMNS: [(&str, &str, usize); 13] = [
    ("accepted_per_s", "accepted/s", 0),
    ("persisted_per_s", "persisted/s", 0),
    ("answers_per_s", "answers/s", 0),
    ("p50_ms", "p50 ms", 2),
    ("p99_ms", "p99 ms", 2),
    ("drain_per_s", "drain/s", 0),
    ("sold_out_after_s", "sold out s", 2),
    ("persisted_after_s", "persisted s", 2),
    ("cpu_us_per_order", "CPU µs/order", 1),
    ("cpu_us_per_answer", "CPU µs/answer", 1),
    ("redis_bytes_per_order", "Redis B/order", 0),
    ("events_per_s", "events/s", 0),
    ("load_cpu_share", "load's CPU", 2),
];
/// Of limits, which have one number each.
const LIMITS: [(&str, &str); 4] = [
    ("claims_per_s", "claims/s"),
    ("orders_per_s", "orders/s"),
    ("fdatasync_p50_us", "µs each (p50)"),
    ("syscalls_per_order.api", "system calls of the API"),
];

/// Subjects whose orders are to cost no more than those of the other one.
const FLAT: [(&str, &str); 2] = [("engine", "one-sku"), (GROWN, NEW)];

/// One table for each case: medians over its rounds, with half the distance of the quartiles.
pub fn table(results: &Results) -> String {
    let mut text = String::new();
    for case in results.cases.keys() {
        text.push_str(&format!("\n{case}: {}\n", results.cases[case].about));
        text.push_str(&case_table(results, case));
        text.push('\n');
    }
    for sample in results.faults() {
        let faults = sample.faults.join("; ");
        text.push_str(&format!(
            "\nWRONG OUTCOME, no figures: {} {} round {}: {faults}\n",
            sample.case, sample.subject, sample.round
        ));
    }
    text
}

/// The headline, one line each.
pub fn headline_table(headline: &BTreeMap<&'static str, f64>) -> String {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_header(["headline", "median"]);
    for (name, value) in headline {
        table.add_row([(*name).to_owned(), format!("{value}")]);
    }
    align_numbers(&mut table);
    table.to_string()
}

fn case_table(results: &Results, case: &str) -> String {
    let mut subjects: Vec<&str> = Vec::new();
    for sample in results.samples.iter().filter(|sample| sample.case == case) {
        if !subjects.contains(&sample.subject.as_str()) {
            subjects.push(&sample.subject);
        }
    }
    let has = |figure: &str| subjects.iter().any(|subject| results.median(case, subject, figure).is_some());
    let columns: Vec<_> = COLUMNS.into_iter().filter(|(figure, _, _)| has(figure)).collect();
    let mut table = Table::new();
    let heads = columns.iter().map(|(_, head, _)| *head);
    table
        .load_style(UTF8_FULL_CONDENSED)
        .set_header(["subject"].into_iter().chain(heads).chain(["of bare", "limit", "flat", "rounds"]));
    for subject in subjects {
        let mut row = vec![subject.to_owned()];
        for (figure, _, decimals) in &columns {
            row.push(
                results.median(case, subject, figure).map_or(String::new(), |one| shown(one, *decimals)),
            );
        }
        row.push(share_of_bare(results, case, subject));
        row.push(limit(results, case, subject));
        row.push(flat(results, case, subject));
        let samples = results.samples.iter().filter(|one| one.case == case && one.subject == subject);
        let (mut good, mut all, mut unavailable) = (0, 0, None);
        for sample in samples {
            all += 1;
            good += usize::from(!sample.figures.is_empty());
            unavailable = unavailable.or(sample.unavailable.as_ref());
        }
        row.push(if unavailable.is_some() { "not available".into() } else { format!("{good} of {all}") });
        table.add_row(row);
    }
    align_numbers(&mut table);
    table.to_string()
}

/// Of orders where all that is sent are claims, else of answers.
fn share_of_bare(results: &Results, case: &str, subject: &str) -> String {
    let claims_alone = results.cases.get(case).is_some_and(|case| case.mix == Mix::default());
    let sells = results.median(case, subject, "accepted_per_s").is_some();
    let figure = if claims_alone && sells { "accepted_per_s" } else { "answers_per_s" };
    match results.ratio(case, (subject, figure), ("bare", "answers_per_s")) {
        Some(share) if subject != "bare" => format!("{:.1} %", share.median * 100.0),
        _ => String::new(),
    }
}

/// What an order costs beside one of an engine with less to keep in mind.
fn flat(results: &Results, case: &str, subject: &str) -> String {
    FLAT.iter()
        .filter(|(of, _)| *of == subject)
        .find_map(|(of, to)| {
            let cost = "cpu_us_per_order";
            let times = results.ratio(case, (of, cost), (to, cost))?;
            Some(format!("{} × {to}", shown(times, 2)))
        })
        .unwrap_or_default()
}

fn limit(results: &Results, case: &str, subject: &str) -> String {
    LIMITS
        .iter()
        .find_map(|(figure, unit)| {
            let spread = results.median(case, subject, figure)?;
            Some(format!("{} {unit}", shown(spread, usize::from(spread.median < 100.0))))
        })
        .unwrap_or_default()
}

fn shown(spread: Spread, decimals: usize) -> String {
    let half = (spread.quartiles.1 - spread.quartiles.0) / 2.0;
    if spread.count > 1 {
        format!("{:.decimals$} ±{half:.decimals$}", spread.median)
    } else {
        format!("{:.decimals$}", spread.median)
    }
}

fn align_numbers(table: &mut Table) {
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
}

#[cfg(test)]
mod tests {
    use super::super::results::results_of;
    use super::*;
    use crate::cases::{Profile, load};

    #[test]
    fn shares_stand_beside_what_they_are_shares_of_and_faults_are_loud() {
        let mut results = results_of(&[
            ("accept", "engine", 1, &[("accepted_per_s", 30_000.0)]),
            ("accept", "bare", 1, &[("answers_per_s", 100_000.0)]),
            ("accept", "copy", 1, &[("orders_per_s", 60_000.0)]),
            ("accept", "one-sku", 1, &[("cpu_us_per_order", 40.0)]),
            ("accept", "engine", 1, &[("cpu_us_per_order", 42.0)]),
        ]);
        results.cases.insert("accept".into(), load("accept", Profile::Smoke).unwrap());
        results
            .samples
            .push(crate::drive::Sample::new("accept", "lua-bullmq", 1).judged(vec!["lost 3".into()]));
        let text = table(&results);
        assert!(text.contains("30.0 %"), "{text}");
        assert!(text.contains("60000 orders/s"), "{text}");
        assert!(text.contains("1.05 × one-sku"), "{text}");
        assert!(text.contains("WRONG OUTCOME") && text.contains("lost 3"), "{text}");
    }
}
