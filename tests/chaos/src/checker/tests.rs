//! Small histories, made by hand: each promise is seen broken once.

use super::*;
use crate::history::{CancelAttempt, CancelOrder, CancelOutcome, CancelledBy, Lines};
use crate::stored::{Books, DeadLetter, StoredItem};

fn lines(units: u32) -> Lines {
    Lines::from([("TEE".to_owned(), units)])
}

fn purchase(key: &str) -> Purchase {
    Purchase { sale: "s".into(), buyer: "b".into(), key: key.into() }
}

fn attempt(key: &str, from_us: u64, outcome: Outcome) -> Attempt {
    Attempt { from_us, to_us: Some(from_us + 10), purchase: purchase(key), lines: lines(1), outcome }
}

fn told(id: &str, new: bool) -> Outcome {
    Outcome::Order { id: id.into(), new }
}

fn refused(status: u16, problem: &str) -> Outcome {
    Outcome::Refused { status, problem: problem.into() }
}

fn unknown() -> Outcome {
    Outcome::Unknown { why: "503 indeterminate".into() }
}

fn order(id: &str, key: &str) -> StoredOrder {
    StoredOrder {
        id: id.into(),
        purchase: purchase(key),
        lines: lines(1),
        refused: BTreeSet::new(),
        cancelled: None,
        cancel_steps: 0,
        cancelled_before_its_time: false,
    }
}

/// A run in which these orders are stored, and everything else is as it must be.
fn at_rest_with(allotted: i64, orders: Vec<StoredOrder>) -> Stored {
    let active = orders.iter().filter(|order| order.cancelled.is_none());
    let sold: i64 = active.map(|order| order.lines.values().map(|n| i64::from(*n)).sum::<i64>()).sum();
    let cancelled = || orders.iter().filter(|order| order.cancelled.is_some());
    let returned: BTreeMap<String, Lines> = cancelled()
        .map(|order| (order.id.clone(), order.units().map(|(sku, n)| (sku.clone(), n)).collect()))
        .filter(|(_, lines): &(_, Lines)| !lines.is_empty())
        .collect();
    let back: i64 = returned.values().flat_map(|lines| lines.values()).map(|n| i64::from(*n)).sum();
    let in_ledger = allotted + back;
    let item = StoredItem { allotted, sold, in_redis: Some(allotted - sold), in_ledger };
    Stored {
        orders,
        returned,
        items: BTreeMap::from([(("s".to_owned(), "TEE".to_owned()), item)]),
        ..Stored::default()
    }
}

fn judged(attempts: Vec<Attempt>, stored: &Stored) -> Findings {
    check(&History { attempts, ..History::default() }, stored, &Injected::default())
}

/// The kinds that were found.
fn broken(attempts: Vec<Attempt>, stored: &Stored) -> Vec<Broken> {
    judged(attempts, stored).broken.into_keys().collect()
}

#[test]
fn a_good_run_is_clean() {
    let attempts = vec![
        attempt("1", 0, unknown()),
        attempt("1", 20, told("A", true)),
        attempt("1", 40, told("A", false)),
        Attempt { lines: lines(2), ..attempt("1", 60, refused(422, "idempotency-key-reused")) },
        attempt("2", 80, told("B", true)),
        attempt("3", 100, refused(409, "sold-out")),
        attempt("1", 120, told("A", false)),
    ];
    let findings = judged(attempts, &at_rest_with(2, vec![order("A", "1"), order("B", "2")]));
    assert!(findings.is_clean(), "{findings:?}");
    assert_eq!((findings.acknowledged, findings.destroyed), (2, 0));
}

#[test]
fn an_order_that_is_nowhere_is_lost() {
    let attempts = || vec![attempt("1", 0, told("A", true))];
    let mut stored = at_rest_with(5, Vec::new());
    assert_eq!(broken(attempts(), &stored), [Broken::Lost]);
    // In the log, but settled: nobody will persist it.
    stored.in_log.insert("A".into());
    assert_eq!(broken(attempts(), &stored), [Broken::Lost]);
    // In the log, and not settled: not lost, and not done.
    stored.unsettled = 1;
    assert_eq!(broken(attempts(), &stored), [Broken::Stuck]);
    stored.unsettled = 0;
    // Among the dead letters: visible, and its units accounted for.
    let letter = DeadLetter { order: "A".into(), lines: lines(1), sale: Some("s".into()) };
    stored.dead_letters.push(letter);
    stored.items.values_mut().for_each(|item| item.in_redis = Some(4));
    assert_eq!(broken(attempts(), &stored), []);
}

#[test]
fn what_the_injector_destroyed_is_counted_apart() {
    let injected =
        Injected { destroyed: BTreeMap::from([("A".to_owned(), lines(1))]), ..Injected::default() };
    let history = |second| History {
        attempts: vec![attempt("1", 0, told("A", true)), attempt("1", 50, told(second, true))],
        ..History::default()
    };
    // The retry made a new order, since the first is gone with the storage.
    let stored = at_rest_with(5, vec![order("B", "1")]);
    let findings = check(&history("B"), &stored, &injected);
    assert!(findings.is_clean(), "{findings:?}");
    assert_eq!(findings.destroyed, 1);
    // Anything else that is missing is lost all the same.
    let findings = check(&history("C"), &at_rest_with(5, Vec::new()), &injected);
    assert_eq!(findings.count(Broken::Lost), 1);
}

#[test]
fn what_a_failover_may_lose_is_measured_and_nothing_else_is_let_pass() {
    let injected = Injected { loss_is_allowed: true, ..Injected::default() };
    let attempts = vec![attempt("1", 0, told("A", true)), attempt("1", 50, told("B", true))];
    let history = History { attempts, ..History::default() };
    let findings = check(&history, &at_rest_with(5, vec![order("B", "1")]), &injected);
    assert!(findings.is_clean(), "{findings:?}");
    assert_eq!((findings.lost_in_failover, findings.destroyed), (1, 0));
    // Two orders of one key are two orders, failover or not.
    let findings = check(&history, &at_rest_with(5, vec![order("A", "1"), order("B", "1")]), &injected);
    assert_eq!(findings.count(Broken::Duplicate), 1);
}

#[test]
fn an_order_that_nobody_asked_for_is_a_ghost() {
    assert_eq!(broken(Vec::new(), &at_rest_with(5, vec![order("A", "1")])), [Broken::Ghost]);
    let other_units = StoredOrder { lines: lines(3), ..order("A", "1") };
    let attempts = vec![attempt("1", 0, unknown())];
    assert_eq!(broken(attempts, &at_rest_with(5, vec![other_units])), [Broken::Ghost]);
}

#[test]
fn a_unit_that_postgres_refuses_is_a_phantom() {
    let cancelled = StoredOrder { cancelled: Some("over_allotment".into()), ..order("A", "1") };
    let attempts = vec![attempt("1", 0, told("A", true))];
    assert_eq!(broken(attempts, &at_rest_with(5, vec![cancelled])), [Broken::Phantom]);
}

#[test]
fn one_key_has_one_order() {
    let told_two = vec![attempt("1", 0, told("A", true)), attempt("1", 20, told("B", true))];
    let cancelled = StoredOrder { cancelled: Some("duplicate".into()), ..order("B", "1") };
    assert_eq!(broken(told_two, &at_rest_with(5, vec![order("A", "1"), cancelled])), [Broken::Duplicate]);
    let told_once = vec![attempt("1", 0, told("A", true))];
    assert_eq!(
        broken(told_once, &at_rest_with(5, vec![order("A", "1"), order("B", "1")])),
        [Broken::Duplicate]
    );
}

#[test]
fn more_than_the_allotment_is_oversold() {
    let attempts = || vec![attempt("1", 0, told("A", true)), attempt("2", 0, told("B", true))];
    let stored = at_rest_with(1, vec![order("A", "1"), order("B", "2")]);
    assert_eq!(broken(attempts(), &stored), [Broken::Oversold]);
    let seen = Stored { oversold_polls: 1, ..at_rest_with(2, vec![order("A", "1"), order("B", "2")]) };
    assert_eq!(broken(attempts(), &seen), [Broken::Oversold]);
}

#[test]
fn units_that_do_not_add_up_have_leaked() {
    let attempts = || vec![attempt("1", 0, told("A", true))];
    for (in_redis, sold) in [(Some(3), 1), (Some(5), 1), (None, 1), (Some(4), 2)] {
        let mut stored = at_rest_with(5, vec![order("A", "1")]);
        stored.items.values_mut().for_each(|item| (item.in_redis, item.sold) = (in_redis, sold));
        assert_eq!(broken(attempts(), &stored), [Broken::Leaked], "{in_redis:?} {sold}");
    }
}

#[test]
fn what_does_not_come_to_rest_is_stuck() {
    let unsettled = Stored { unsettled: 1, ..at_rest_with(5, Vec::new()) };
    assert_eq!(broken(Vec::new(), &unsettled), [Broken::Stuck]);
    let closed = Stored { closed: 1, ..at_rest_with(5, Vec::new()) };
    assert_eq!(broken(Vec::new(), &closed), [Broken::Stuck]);
}

#[test]
fn sold_out_is_said_only_where_all_could_be_claimed() {
    let early = |problem| vec![attempt("2", 0, refused(409, problem)), attempt("1", 100, told("A", true))];
    let stored = at_rest_with(1, vec![order("A", "1")]);
    // The last unit was claimed only after this was said.
    assert_eq!(broken(early("sold-out"), &stored), [Broken::FalselySoldOut]);
    assert_eq!(broken(early("insufficient-stock"), &stored), [Broken::FalselySoldOut]);
    // A claim in flight may have taken it.
    let beside = vec![attempt("1", 0, told("A", true)), attempt("2", 5, refused(409, "sold-out"))];
    assert_eq!(broken(beside, &stored), []);
    // Two are wanted, one is left.
    let two = Attempt { lines: lines(2), ..attempt("2", 0, refused(409, "insufficient-stock")) };
    assert_eq!(broken(vec![two], &at_rest_with(1, Vec::new())), []);
    // Nobody closed the sale.
    let closed = vec![attempt("2", 0, refused(409, "closed"))];
    assert_eq!(broken(closed, &at_rest_with(1, Vec::new())), [Broken::FalselySoldOut]);
}

#[test]
fn sold_out_is_false_where_units_were_never_sold() {
    // The one unit was sold.
    let after = |outcome| vec![attempt("1", 0, outcome), attempt("2", 50, refused(409, "sold-out"))];
    assert_eq!(broken(after(told("A", true)), &at_rest_with(1, vec![order("A", "1")])), []);
    // Nobody had it, whatever was asked for, and it lies in stock to this day.
    for outcome in [unknown(), refused(409, "sold-out")] {
        let never_sold = at_rest_with(1, Vec::new());
        assert_eq!(broken(after(outcome), &never_sold), [Broken::FalselySoldOut]);
    }
    // Also where others had some: two of five were sold, none was left to buy.
    let some = vec![
        attempt("1", 0, told("A", true)),
        attempt("2", 20, told("B", true)),
        attempt("3", 50, refused(409, "sold-out")),
    ];
    let stored = at_rest_with(5, vec![order("A", "1"), order("B", "2")]);
    assert_eq!(broken(some.clone(), &stored), [Broken::FalselySoldOut]);
    // The same answer for each of two items: one of them was sold out.
    let both = Lines::from([("TEE".to_owned(), 1), ("CUP".to_owned(), 1)]);
    let mut with_cup = stored;
    let cup = StoredItem { in_redis: Some(0), ..StoredItem::default() };
    with_cup.items.insert(("s".to_owned(), "CUP".to_owned()), cup);
    let mut of_both = some;
    of_both[2].lines = both;
    assert_eq!(broken(of_both, &with_cup), []);
}

#[test]
fn a_partition_is_empty_only_where_its_share_could_be_claimed() {
    let answer = |claimed: u64| {
        let mut attempts: Vec<Attempt> =
            (0..claimed).map(|n| attempt(&n.to_string(), n, told(&n.to_string(), true))).collect();
        attempts.push(attempt("last", 100, refused(503, PARTITION_EMPTY)));
        let orders = (0..claimed).map(|n| order(&n.to_string(), &n.to_string())).collect();
        let stored = Stored { partitions: 3, ..at_rest_with(10, orders) };
        broken(attempts, &stored)
    };
    assert_eq!(answer(2), [Broken::FalselySoldOut], "its share was three");
    assert_eq!(answer(3), []);
}

#[test]
fn a_refusal_hides_no_order() {
    let stored = || at_rest_with(1, vec![order("A", "1")]);
    let after = vec![attempt("1", 0, told("A", true)), attempt("1", 50, refused(409, "sold-out"))];
    assert_eq!(broken(after, &stored()), [Broken::HiddenOrder]);
    // Nobody but the refused attempt can have made it.
    let alone = vec![attempt("1", 0, refused(409, "limit-reached"))];
    assert_eq!(broken(alone, &stored()), [Broken::HiddenOrder]);
    // The one before was left open: it may have come through after the refusal.
    let open = vec![attempt("1", 0, unknown()), attempt("1", 50, refused(409, "limit-reached"))];
    assert_eq!(broken(open, &stored()), []);
    // The order came with a later attempt.
    let later = vec![attempt("1", 0, refused(409, "limit-reached")), attempt("1", 50, told("A", true))];
    assert_eq!(broken(later, &stored()), []);
}

#[test]
fn a_conflict_needs_two_bodies() {
    let one_body =
        vec![attempt("1", 0, told("A", true)), attempt("1", 50, refused(422, "idempotency-key-reused"))];
    assert_eq!(broken(one_body, &at_rest_with(1, vec![order("A", "1")])), [Broken::WrongConflict]);
    let given_away = vec![
        attempt("1", 0, told("A", true)),
        Attempt { lines: lines(2), ..attempt("1", 50, told("A", false)) },
    ];
    assert_eq!(broken(given_away, &at_rest_with(1, vec![order("A", "1")])), [Broken::WrongConflict]);
}

/// An order that is cancelled for this reason, as it should be.
fn given_up(reason: &str) -> Stored {
    let cancelled = StoredOrder { cancelled: Some(reason.into()), cancel_steps: 1, ..order("A", "1") };
    at_rest_with(5, vec![cancelled])
}

/// What is found where order A was told and this was answered to cancels of it.
fn after_cancels(cancels: &[(CancelledBy, CancelOutcome)], stored: &Stored) -> Vec<Broken> {
    let cancels = cancels.iter().map(|(by, outcome)| CancelAttempt {
        from_us: 50,
        to_us: Some(60),
        cancel: CancelOrder { order: "A".into(), by: by.clone() },
        outcome: outcome.clone(),
    });
    let attempts = vec![attempt("1", 0, told("A", true)), attempt("1", 90, told("A", false))];
    let history = History { attempts, cancels: cancels.collect() };
    check(&history, stored, &Injected::default()).broken.into_keys().collect()
}

fn by_buyer() -> CancelledBy {
    CancelledBy::Buyer("b".into())
}

fn not_now(problem: &str) -> CancelOutcome {
    CancelOutcome::Refused { status: 409, problem: problem.into() }
}

#[test]
fn what_was_cancelled_stays_cancelled() {
    let done = [(by_buyer(), CancelOutcome::Done)];
    assert_eq!(after_cancels(&done, &given_up("buyer")), []);
    // Cancelled by another before: that is as good.
    let both = [(by_buyer(), CancelOutcome::Done), (CancelledBy::Operator, CancelOutcome::Done)];
    assert_eq!(after_cancels(&both, &given_up("operator")), []);
    assert_eq!(after_cancels(&done, &given_up("expired")), []);
    let active = at_rest_with(5, vec![order("A", "1")]);
    assert_eq!(after_cancels(&done, &active), [Broken::Undone]);
    let open = [(by_buyer(), CancelOutcome::Unknown { why: "503".into() })];
    assert_eq!(after_cancels(&open, &active), []);
    assert_eq!(after_cancels(&open, &given_up("buyer")), []);
}

#[test]
fn a_cancel_that_the_sale_allows_is_not_refused() {
    let active = at_rest_with(5, vec![order("A", "1")]);
    assert_eq!(after_cancels(&[(by_buyer(), not_now("not-stored-yet"))], &active), []);
    assert_eq!(after_cancels(&[(by_buyer(), not_now("not-cancellable"))], &active), [Broken::Undone]);
    assert_eq!(after_cancels(&[(CancelledBy::Operator, not_now("conflict"))], &active), [Broken::Undone]);
    assert_eq!(after_cancels(&[(by_buyer(), not_now("not-found"))], &active), [Broken::HiddenOrder]);
    assert_eq!(after_cancels(&[(CancelledBy::Operator, not_now("not-found"))], &active), []);
}

#[test]
fn nothing_is_cancelled_without_a_cause() {
    assert_eq!(after_cancels(&[], &given_up("buyer")), [Broken::Unasked]);
    let refused = [(by_buyer(), not_now("not-stored-yet"))];
    assert_eq!(after_cancels(&refused, &given_up("buyer")), [Broken::Unasked]);
    let of_another = [(CancelledBy::Buyer("mallory".into()), CancelOutcome::Done)];
    assert_eq!(after_cancels(&of_another, &given_up("buyer")), [Broken::Unasked]);
    assert_eq!(after_cancels(&[(by_buyer(), CancelOutcome::Done)], &given_up("operator")), [Broken::Unasked]);
    assert_eq!(after_cancels(&[], &given_up("declined")), [Broken::Unasked]);
    let mut early = given_up("expired");
    assert_eq!(after_cancels(&[], &early), []);
    early.orders[0].cancelled_before_its_time = true;
    assert_eq!(after_cancels(&[], &early), [Broken::Unasked]);
    let mut twice = given_up("expired");
    twice.orders[0].cancel_steps = 2;
    assert_eq!(after_cancels(&[], &twice), [Broken::Unasked]);
}

#[test]
fn an_order_is_declined_where_the_gateway_has_said_so() {
    let declined = |status, is_lie| {
        let charge = serde_json::json!({
            "order_id": "A", "amount": 100, "currency": "EUR", "status": status, "is_lie": is_lie, "reference": "",
            "times_charged": 0, "times_refunded": 0, "is_told": true,
        });
        let charges = vec![serde_json::from_value(charge).unwrap()];
        Stored { books: Some(Books { charges, ..Books::default() }), ..given_up("declined") }
    };
    assert_eq!(after_cancels(&[], &declined("declined", false)), []);
    assert_eq!(after_cancels(&[], &declined("refunded", true)), [], "a lie");
    assert_eq!(after_cancels(&[], &declined("refunded", false)), [Broken::Unasked]);
}

#[test]
fn units_are_claimed_again_for_the_buyer_of_an_order_whose_hold_is_over() {
    let again = |of: &str| {
        let mut stored = given_up("expired");
        stored.orders.push(order("B", &format!("doorbuster:paid-late:{of}")));
        let item = stored.items.values_mut().next().unwrap();
        (item.sold, item.in_redis) = (item.sold + 1, item.in_redis.map(|units| units - 1));
        stored
    };
    assert_eq!(after_cancels(&[], &again("A")), []);
    assert_eq!(after_cancels(&[], &again("C")), [Broken::Ghost], "of no order");
    let mut of_another = again("A");
    of_another.orders[1].purchase.buyer = "mallory".into();
    assert_eq!(after_cancels(&[], &of_another), [Broken::Ghost]);
    let mut more = again("A");
    more.orders[0].lines = lines(2);
    assert!(after_cancels(&[], &more).contains(&Broken::Ghost));
    let mut of_one_that_was_given_up = again("A");
    of_one_that_was_given_up.orders[0].cancelled = Some("declined".into());
    assert!(after_cancels(&[], &of_one_that_was_given_up).contains(&Broken::Ghost));
}

#[test]
fn payments_that_are_not_decided_are_stuck() {
    let stored = Stored { unpaid: 1, ..at_rest_with(5, vec![order("A", "1")]) };
    assert_eq!(after_cancels(&[], &stored), [Broken::Stuck]);
}

#[test]
fn units_come_back_once() {
    // Nowhere: neither in Redis nor in the ledger.
    let mut forgotten = given_up("expired");
    forgotten.returned.clear();
    forgotten.items.values_mut().for_each(|item| (item.in_redis, item.in_ledger) = (Some(4), 5));
    assert_eq!(after_cancels(&[], &forgotten), [Broken::Leaked]);
    // Twice in Redis, once in the ledger.
    let mut twice = given_up("expired");
    twice.items.values_mut().for_each(|item| item.in_redis = Some(6));
    assert_eq!(after_cancels(&[], &twice), [Broken::Leaked]);
    // Back in Redis, and the ledger does not know.
    let mut unwritten = given_up("expired");
    unwritten.returned.clear();
    unwritten.items.values_mut().for_each(|item| item.in_ledger = 5);
    assert_eq!(after_cancels(&[], &unwritten), [Broken::Leaked]);
    // Of an order that is active.
    let mut active = at_rest_with(5, vec![order("A", "1")]);
    active.returned.insert("A".into(), lines(1));
    assert_eq!(after_cancels(&[], &active), [Broken::Leaked]);
}

#[test]
fn an_order_that_outlives_its_hold_is_stuck() {
    let stored = Stored { overdue: 1, ..at_rest_with(5, vec![order("A", "1")]) };
    assert_eq!(after_cancels(&[], &stored), [Broken::Stuck]);
}

#[test]
fn a_deadlock_is_told() {
    let stored = Stored { deadlocks: 1, ..at_rest_with(1, Vec::new()) };
    assert_eq!(broken(Vec::new(), &stored), [Broken::Deadlock]);
}

#[test]
fn each_promise_has_its_heading() {
    let headings: BTreeSet<&str> = Broken::ALL.iter().map(|broken| broken.heading()).collect();
    assert_eq!(headings.len(), Broken::ALL.len());
}
