//! Two results beside each other.

use std::collections::BTreeSet;

use comfy_table::Table;
use comfy_table::presets::UTF8_FULL_CONDENSED;

use super::Results;
use super::statistics::{Spread, spread};

/// Every figure that both have: the second against the first, with the spread of all pairs of rounds.
pub fn compare(first: &Results, second: &Results) -> String {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_header([
        "case",
        "subject",
        "figure",
        "A",
        "B",
        "B / A",
        "quartiles",
        "",
    ]);
    for (case, subject, figure) in keys(first).intersection(&keys(second)) {
        let (Some(a), Some(b)) = (first.median(case, subject, figure), second.median(case, subject, figure))
        else {
            continue;
        };
        let Some(ratio) = ratios(first, second, (case, subject, figure)) else { continue };
        table.add_row([
            (*case).to_owned(),
            (*subject).to_owned(),
            (*figure).to_owned(),
            short(a.median),
            short(b.median),
            format!("{:.3}", ratio.median),
            format!("{:.3} to {:.3}", ratio.quartiles.0, ratio.quartiles.1),
            verdict(&ratio).to_owned(),
        ]);
    }
    let mut text =
        format!("A: {} at {}\nB: {} at {}\n", first.commit, first.taken_at, second.commit, second.taken_at);
    if first.machine != second.machine {
        text.push_str("The machines differ: only shares and ratios within one result can be compared.\n");
    }
    if first.profile != second.profile {
        text.push_str("The profiles differ: the cases did not run equally long.\n");
    }
    text.push_str(&table.to_string());
    text
}

fn keys(results: &Results) -> BTreeSet<(&str, &str, &str)> {
    let of = |sample: &'_ crate::drive::Sample| sample.figures.len();
    let mut keys = BTreeSet::new();
    for sample in results.samples.iter().filter(|sample| of(sample) > 0) {
        for figure in sample.figures.keys() {
            keys.insert((sample.case.as_str(), sample.subject.as_str(), figure.as_str()));
        }
    }
    keys
}

/// Each round of the second against each of the first.
fn ratios(first: &Results, second: &Results, (case, subject, figure): (&str, &str, &str)) -> Option<Spread> {
    let below: Vec<f64> = first
        .figure(case, subject, figure)
        .map(|(_, number)| number)
        .filter(|number| *number > 0.0)
        .collect();
    let above = second.figure(case, subject, figure).map(|(_, number)| number);
    spread(above.flat_map(|above| below.iter().map(move |below| above / below)).collect::<Vec<_>>())
}

/// Whether the quartiles leave 1 out.
fn verdict(ratio: &Spread) -> &'static str {
    match ratio.quartiles {
        _ if ratio.count < 4 => "few rounds",
        (low, _) if low > 1.0 => "more",
        (_, high) if high < 1.0 => "less",
        _ => "same",
    }
}

fn short(number: f64) -> String {
    if number.abs() >= 100.0 { format!("{number:.0}") } else { format!("{number:.3}") }
}

#[cfg(test)]
mod tests {
    use super::super::results::results_of;
    use super::*;

    fn two(numbers: [f64; 2]) -> Results {
        results_of(&[
            ("accept", "engine", 1, &[("x", numbers[0])]),
            ("accept", "engine", 2, &[("x", numbers[1])]),
        ])
    }

    #[test]
    fn a_difference_within_the_spread_is_none() {
        assert!(compare(&two([100.0, 104.0]), &two([150.0, 151.0])).contains("more"));
        assert!(compare(&two([100.0, 104.0]), &two([90.0, 91.0])).contains("less"));
        assert!(compare(&two([100.0, 120.0]), &two([101.0, 119.0])).contains("same"));
    }

    #[test]
    fn what_only_one_has_is_left_out() {
        let other = results_of(&[("drop", "engine", 1, &[("x", 1.0)])]);
        assert!(!compare(&two([1.0, 2.0]), &other).contains("drop"));
    }
}
