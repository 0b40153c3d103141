//! What may happen to a sale, drawn at random. Few buyers, keys and SKUs, so that they meet.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::Index;

use crate::model::{Ask, Control, Line, Said, Window};

pub const BUYERS: usize = 4;
pub const KEYS: usize = 12;
/// The last of them never gets stock.
pub const SKUS: [&str; 5] = ["A", "B-2", "C.x_3", "D", "GHOST"];
pub const CLAIMS_MAX: usize = 20;

#[derive(Clone, Debug)]
pub enum Step {
    Claims {
        asks: Vec<Ask>,
        backlog_max: usize,
    },
    Publish(Said),
    /// A version that was overtaken: changes nothing.
    PublishLate(Said),
    Add {
        sku: usize,
        units: i64,
    },
    /// The last change of stock is sent again: changes nothing.
    Repeat,
    /// One of the orders is cancelled; it may have been before.
    Return(Index),
    /// These entries of the log are persisted; some may have been before.
    Settle(Vec<Index>),
}

/// A whole life, which begins with a sale that sells: the rest is drawn.
pub fn life() -> impl Strategy<Value = Vec<Step>> {
    let open = Said { control: Control::Scheduled, window: Window::Within, limits: BTreeMap::from([(0, 3)]) };
    let opening = (1i64..30).prop_map(move |units| {
        let add = |sku| Step::Add { sku, units };
        vec![Step::Publish(open.clone()), add(0), add(1), add(2)]
    });
    (prop_oneof![1 => Just(vec![]), 9 => opening], prop::collection::vec(step(), 10..30))
        .prop_map(|(opening, rest)| opening.into_iter().chain(rest).collect())
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => claims(),
        2 => said().prop_map(Step::Publish),
        1 => said().prop_map(Step::PublishLate),
        3 => (0..SKUS.len() - 1, 1i64..12).prop_map(|(sku, units)| Step::Add { sku, units }),
        1 => Just(Step::Repeat),
        2 => any::<Index>().prop_map(Step::Return),
        3 => prop::collection::vec(any::<Index>(), 1..12).prop_map(Step::Settle),
    ]
}

fn claims() -> impl Strategy<Value = Step> {
    let backlog_max = prop_oneof![1 => 0usize..20, 3 => Just(1000)];
    (prop::collection::vec(ask(), 1..=CLAIMS_MAX), backlog_max)
        .prop_map(|(asks, backlog_max)| Step::Claims { asks, backlog_max })
}

/// Most keys are used for one body, so that a key that comes again is mostly a retry.
fn ask() -> impl Strategy<Value = Ask> {
    let sku = prop_oneof![60 => 0..SKUS.len() - 1, 1 => Just(SKUS.len() - 1)];
    let units = prop_oneof![6 => 1u32..3, 1 => 3u32..9];
    let any_lines = prop::collection::btree_map(sku, units, 1..4);
    let lines = prop_oneof![1 => any_lines.prop_map(Some), 4 => Just(None)];
    (0..BUYERS, 0..KEYS, lines, prop::bool::weighted(0.03)).prop_map(|(buyer, key, lines, over_rate)| {
        let lines = lines.map_or_else(|| usual_lines(key), |lines| lines.into_iter().collect());
        Ask { buyer, key, lines, over_rate }
    })
}

fn usual_lines(key: usize) -> Vec<Line> {
    match key {
        0..3 => vec![(key, 1)],
        3..6 => vec![(key - 3, 2)],
        6..9 => vec![(0, 1), (key - 5, 1)],
        _ => vec![(1, 2), (2, 1)],
    }
}

fn said() -> impl Strategy<Value = Said> {
    let control =
        prop_oneof![6 => Just(Control::Scheduled), 1 => Just(Control::Paused), 1 => Just(Control::Closed)];
    let window = prop_oneof![6 => Just(Window::Within), 1 => Just(Window::Before), 1 => Just(Window::After)];
    let limits = prop::collection::btree_map(0..SKUS.len(), 1i64..9, 0..3);
    (control, window, limits).prop_map(|(control, window, limits)| Said { control, window, limits })
}
