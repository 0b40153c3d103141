use proptest::prelude::*;

use super::*;
use crate::catalogue::{BuyerCancel, PaymentPolicy};
use crate::order_life::{self, Outcome};

fn cost() -> Sum {
    Sum { amount: 1500, currency: "EUR".into() }
}

fn facts(payment: PaymentState, state: OrderState, reason: Option<CancelReason>) -> PaymentFacts {
    PaymentFacts {
        payment,
        order: PaidOrder { state, cancel_reason: reason, hold_is_over: false },
        cost: Some(cost()),
        is_made_from_late: false,
        has_money: false,
        is_parked: false,
        no_charge_on_its_way: false,
    }
}

fn paid_news() -> News {
    News::Paid { sum: cost(), reference: "r".into() }
}

#[test]
fn what_a_payment_does_depends_on_what_became_of_the_order() {
    use PaymentState::{Awaited, Declined, Due, Late, Paid, RefundDue, Unknown, Void};
    // Also after a gateway has said that no money comes.
    for before in [Due, Awaited, Unknown, Declined, Void] {
        let led_to = |state, reason| {
            let verdict = verdict(&facts(before, state, reason), &paid_news());
            (verdict.payment, verdict.step, verdict.again)
        };
        assert_eq!(led_to(OrderState::Pending, None), (Paid, Some(Step::Confirm), Again::Never));
        assert_eq!(led_to(OrderState::Confirmed, None), (Paid, None, Again::Never));
        assert_eq!(led_to(OrderState::Cancelled, Some(CancelReason::Expired)), (Late, None, Again::Now));
        for reason in [CancelReason::Buyer, CancelReason::Operator, CancelReason::Declined] {
            assert_eq!(led_to(OrderState::Cancelled, Some(reason)), (RefundDue, None, Again::Now));
        }
    }
}

#[test]
fn another_sum_than_was_asked_for_buys_nothing() {
    for sum in [Sum { amount: 1499, ..cost() }, Sum { currency: "USD".into(), ..cost() }] {
        let news = News::Paid { sum, reference: String::new() };
        let verdict = verdict(&facts(PaymentState::Unknown, OrderState::Pending, None), &news);
        assert_eq!(verdict.payment, PaymentState::RefundDue);
        assert_eq!(verdict.step, Some(Step::Cancel(Cancellation::Declined)));
        assert_eq!(verdict.alarm, Some(Alarm::WrongAmount));
    }
}

#[test]
fn only_what_still_holds_its_units_is_charged() {
    let due = facts(PaymentState::Due, OrderState::Pending, None);
    assert_eq!(task(&due), Task::Charge);
    let over = PaidOrder { state: OrderState::Pending, cancel_reason: None, hold_is_over: true };
    assert_eq!(task(&PaymentFacts { order: over, ..due.clone() }), Task::LookUp);
    assert_eq!(task(&PaymentFacts { is_made_from_late: true, ..due.clone() }), Task::Conclude);
    assert_eq!(task(&PaymentFacts { cost: Some(Sum { amount: 0, ..cost() }), ..due }), Task::Conclude);
    let gone = facts(PaymentState::Due, OrderState::Cancelled, Some(CancelReason::Buyer));
    assert_eq!(task(&gone), Task::LookUp, "a database that was restored knows of no charge");
}

#[test]
fn while_the_hold_runs_no_time_is_lost() {
    let unknown = facts(PaymentState::Unknown, OrderState::Pending, None);
    let verdict = verdict(&unknown, &News::NeverHeard);
    assert_eq!((verdict.payment, verdict.again), (PaymentState::Due, Again::Now));
}

#[test]
fn a_gateway_that_has_declined_is_asked_once_more() {
    let declined =
        verdict(&facts(PaymentState::Unknown, OrderState::Pending, None), &News::Declined("no".into()));
    assert_eq!((declined.payment, declined.again), (PaymentState::Declined, Again::Once));
    let after = facts(PaymentState::Declined, OrderState::Cancelled, Some(CancelReason::Declined));
    assert_eq!(task(&after), Task::LookUp);
    assert_eq!(verdict(&after, &News::Declined("no".into())).again, Again::Never);
    assert_eq!(verdict(&after, &News::NoAnswer("lost".into())).again, Again::Later);
    assert_eq!(verdict(&after, &paid_news()).payment, PaymentState::RefundDue);
}

#[test]
fn an_order_that_costs_nothing_is_confirmed_without_the_gateway() {
    let free = PaymentFacts {
        cost: Some(Sum { amount: 0, ..cost() }),
        ..facts(PaymentState::Due, OrderState::Pending, None)
    };
    let verdict = verdict(&free, &News::None);
    assert_eq!((verdict.payment, verdict.step), (PaymentState::Paid, Some(Step::Confirm)));
    let cancelled = PaymentFacts {
        payment: PaymentState::RefundDue,
        order: PaidOrder {
            state: OrderState::Cancelled,
            cancel_reason: Some(CancelReason::Buyer),
            hold_is_over: false,
        },
        ..free
    };
    assert_eq!(task(&cancelled), Task::Conclude, "nobody gives back what nobody took");
    assert_eq!(super::verdict(&cancelled, &News::None).payment, PaymentState::Void);
}

/// The log of a database that was restored tells that an order was paid back, but not that late money had bought it.
#[test]
fn what_late_money_has_bought_is_paid_back_under_the_name_of_the_money() {
    let cancelled = facts(PaymentState::RefundDue, OrderState::Cancelled, Some(CancelReason::Operator));
    let moneyless = PaymentFacts { is_made_from_late: true, ..cancelled };
    assert_eq!(task(&moneyless), Task::LookUp);
    for news in [News::NeverHeard, News::Declined("no".into())] {
        let verdict = verdict(&moneyless, &news);
        assert_eq!((verdict.payment, verdict.again, verdict.alarm), (PaymentState::Void, Again::Never, None));
    }
    assert_eq!(task(&PaymentFacts { has_money: true, ..moneyless }), Task::Refund);
}

#[test]
fn what_contradicts_a_final_word_is_told_and_moves_nothing() {
    let declined = News::Declined("no".into());
    for state in [PaymentState::Paid, PaymentState::RefundDue, PaymentState::Refunded, PaymentState::Moved] {
        let order = if state == PaymentState::Paid { OrderState::Confirmed } else { OrderState::Cancelled };
        let reason = (order == OrderState::Cancelled).then_some(CancelReason::Operator);
        let verdict = verdict(&facts(state, order, reason), &declined);
        assert_eq!((verdict.payment, verdict.step, verdict.alarm), (state, None, Some(Alarm::Contradiction)));
    }
}

/// What a buyer has at the gateway, and the orders that his money is for, as they really are: the first one, and those that
/// claim the units again when money comes late.
#[derive(Clone, Debug)]
struct Model {
    orders: Vec<Purchase>,
    /// How often units are there to be claimed again.
    units: u32,
    /// What was heard and is not written yet: a worker that was slow.
    held_back: Vec<(usize, News)>,
}

/// An order and its payment, and what the gateway knows under its id.
#[derive(Clone, Debug)]
struct Purchase {
    payment: PaymentState,
    order: PaidOrder,
    again: Again,
    /// Whose money was brought to it.
    paid_as: Option<usize>,
    /// Its own money was heard of.
    was_paid: bool,
    confirms: u32,
    /// What the gateway has decided.
    charge: Option<bool>,
    refunds: u32,
    /// A request to charge was lost on its way, and may arrive yet.
    on_its_way: bool,
}

#[derive(Clone, Copy, Debug)]
enum Happening {
    /// A worker takes the payment, and the gateway does what it is asked and answers; or the request is lost, or delayed, or
    /// the answer is lost; or the answer is written only later.
    Round {
        arrives: bool,
        delayed: bool,
        answered: bool,
        held_back: bool,
    },
    /// What was delayed or held back comes now.
    Arrival,
    HeldBack,
    /// The buyer goes through the checkout.
    Checkout,
    /// The gateway tells by itself, as often as it likes.
    Webhook,
    HoldOver,
    Expire,
    Cancel(Cancellation),
}

impl Purchase {
    fn new(hosted: bool) -> Self {
        let (payment, again) = match hosted {
            true => (PaymentState::Awaited, Again::Once),
            false => (PaymentState::Due, Again::Now),
        };
        Self {
            payment,
            order: PaidOrder { state: OrderState::Pending, cancel_reason: None, hold_is_over: false },
            again,
            paid_as: None,
            was_paid: false,
            confirms: 0,
            charge: None,
            refunds: 0,
            on_its_way: false,
        }
    }

    fn step(&mut self, step: Step) {
        let facts = order_life::Facts {
            state: self.order.state,
            cancel_reason: self.order.cancel_reason,
            payment: PaymentPolicy::Gateway,
            buyer_cancel: BuyerCancel::UntilClose,
            sale_is_closed: false,
            hold_is_over: self.order.hold_is_over,
        };
        match order_life::outcome(&facts, step) {
            Ok(Outcome::Confirmed) => {
                self.order.state = OrderState::Confirmed;
                self.confirms += 1;
            }
            Ok(Outcome::Cancelled { refund }) => {
                let Step::Cancel(why) = step else { panic!("{step:?}") };
                self.order.state = OrderState::Cancelled;
                self.order.cancel_reason = Some(why.reason());
                // As sql/order_life/cancel.sql does.
                if refund && self.payment != PaymentState::Refunded {
                    self.payment = PaymentState::RefundDue;
                    self.again = Again::Now;
                }
            }
            Ok(Outcome::Unchanged) | Err(_) => {}
        }
    }

    fn keeps_money(&self) -> bool {
        self.charge == Some(true) && self.refunds == 0
    }
}

impl Model {
    fn new(hosted: bool, units: u32) -> Self {
        Self { orders: vec![Purchase::new(hosted)], units, held_back: Vec::new() }
    }

    fn facts(&self, at: usize, is_old: bool) -> PaymentFacts {
        let of = &self.orders[at];
        PaymentFacts {
            order: of.order,
            is_made_from_late: at > 0,
            has_money: of.was_paid || of.paid_as.is_some(),
            no_charge_on_its_way: is_old && !of.on_its_way,
            ..facts(of.payment, of.order.state, of.order.cancel_reason)
        }
    }

    fn write(&mut self, at: usize, news: &News, is_old: bool) {
        let brought = matches!(news, News::Reclaimed(_)) && self.orders[at].payment == PaymentState::Late;
        let brought = brought.then(|| self.bring(at));
        let verdict = verdict(&self.facts(at, is_old), brought.as_ref().unwrap_or(news));
        let of = &mut self.orders[at];
        if let Some(step) = verdict.step {
            let before = of.order.state;
            of.step(step);
            assert_ne!(before, of.order.state, "{step:?} was refused for {news:?}");
        }
        of.payment = verdict.payment;
        of.again = verdict.again;
        of.was_paid |= matches!(news, News::Paid { .. });
    }

    /// As sql/payment/bring.sql does.
    fn bring(&mut self, from: usize) -> News {
        use PaymentState::{Awaited, Due, Paid, RefundDue, Unknown, Void};
        let money = self.orders[from].paid_as.unwrap_or(from);
        let to = &mut self.orders[from + 1];
        if to.paid_as.is_none()
            && !to.was_paid
            && matches!(to.payment, Due | Awaited | Unknown | Void | RefundDue)
        {
            to.payment = if to.payment == RefundDue { RefundDue } else { Paid };
            to.again = Again::Now;
            to.paid_as = Some(money);
        }
        match to.paid_as == Some(money) {
            true => reclaimed(),
            false => News::NoUnits("the order that has claimed its units was paid for itself"),
        }
    }

    /// What the gateway or the claim answers.
    fn ask(&mut self, at: usize, task: Task, pays: bool) -> News {
        let told = |charge| match charge {
            true => paid_news(),
            false => News::Declined("no".into()),
        };
        let name = self.orders[at].paid_as.unwrap_or(at);
        let account = &mut self.orders[name];
        match task {
            Task::Charge | Task::LookUp if account.refunds > 0 => News::Refunded,
            Task::Charge => {
                assert_eq!(at, 0, "what late money has bought is charged");
                told(*account.charge.get_or_insert(pays))
            }
            Task::LookUp => account.charge.map_or(News::NeverHeard, told),
            Task::Refund => {
                assert_eq!(account.charge, Some(true), "nothing was paid");
                account.refunds = 1;
                News::Refunded
            }
            // Asked again, the script finds the order that it has accepted.
            Task::Reclaim if at + 1 < self.orders.len() => reclaimed(),
            Task::Reclaim if self.units > 0 => {
                self.units -= 1;
                self.orders.push(Purchase::new(false));
                reclaimed()
            }
            Task::Reclaim => News::NoUnits("they are sold"),
            Task::Conclude => News::None,
        }
    }

    fn happens(&mut self, at: usize, happening: Happening, pays: bool) {
        let at = at % self.orders.len();
        let of = &mut self.orders[at];
        match happening {
            Happening::Round { arrives, delayed, answered, held_back } if of.again != Again::Never => {
                let task = task(&self.facts(at, false));
                if task == Task::Charge {
                    self.orders[at].payment = PaymentState::Unknown;
                }
                let news = if arrives {
                    self.ask(at, task, pays)
                } else {
                    self.orders[at].on_its_way |= delayed && task == Task::Charge;
                    News::NoAnswer("lost".into())
                };
                let news = if answered { news } else { News::NoAnswer("lost".into()) };
                match held_back {
                    true => self.held_back.push((at, news)),
                    false => self.write(at, &news, false),
                }
            }
            Happening::Round { .. } => {}
            Happening::Arrival => {
                if std::mem::take(&mut of.on_its_way) {
                    of.charge.get_or_insert(pays);
                }
            }
            Happening::HeldBack => {
                for (at, news) in std::mem::take(&mut self.held_back) {
                    self.write(at, &news, false);
                }
            }
            Happening::Checkout => {
                // Nobody is sent there for an order that waits for late money.
                if of.payment == PaymentState::Awaited {
                    of.charge.get_or_insert(pays);
                }
            }
            Happening::Webhook => match of.charge {
                Some(true) => self.write(at, &paid_news(), false),
                Some(false) => self.write(at, &News::Declined("no".into()), false),
                None => {}
            },
            Happening::HoldOver => of.order.hold_is_over = true,
            Happening::Expire => of.step(Step::Cancel(Cancellation::Expired)),
            Happening::Cancel(why) => of.step(Step::Cancel(why)),
        }
    }

    /// Every payment that is due is looked at, by a worker that gets its answers.
    fn settles(&mut self, pays: bool) {
        for at in 0..self.orders.len() {
            if self.orders[at].again != Again::Never {
                let task = task(&self.facts(at, true));
                let news = self.ask(at, task, pays);
                self.write(at, &news, true);
            }
        }
    }

    fn is_settled(&self) -> bool {
        self.orders.iter().all(|of| of.again == Again::Never)
    }

    fn confirmed(&self) -> usize {
        self.orders.iter().filter(|of| of.order.state == OrderState::Confirmed).count()
    }

    fn kept(&self) -> usize {
        self.orders.iter().filter(|of| of.keeps_money()).count()
    }
}

fn reclaimed() -> News {
    News::Reclaimed(OrderId::lowest_at(1))
}

fn happening() -> impl Strategy<Value = (usize, Happening)> {
    let happening = prop_oneof![
        4 => any::<(bool, bool, bool, bool)>().prop_map(|(arrives, delayed, answered, held_back)| {
            Happening::Round { arrives, delayed, answered, held_back }
        }),
        1 => Just(Happening::Arrival),
        1 => Just(Happening::HeldBack),
        1 => Just(Happening::Checkout),
        2 => Just(Happening::Webhook),
        1 => Just(Happening::HoldOver),
        1 => Just(Happening::Expire),
        1 => Just(Happening::Cancel(Cancellation::Buyer)),
        1 => Just(Happening::Cancel(Cancellation::Operator)),
    ];
    (0_usize..3, happening)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    /// Whatever is lost, late, doubled or out of order: in the end a buyer whose money is gone has an order for it, and one who
    /// has no order has his money.
    #[test]
    fn nobody_pays_for_nothing_and_nothing_is_given_away(
        happenings in prop::collection::vec(happening(), 0..32),
        pays in any::<bool>(),
        hosted in any::<bool>(),
        units in 0_u32..3,
    ) {
        let mut model = Model::new(hosted, units);
        for (at, happening) in happenings {
            model.happens(at, happening, pays);
            prop_assert!(model.confirmed() <= model.kept(), "confirmed without money: {:?}", model);
        }
        // Everything comes in the end: what was on its way, what was held back, and a gateway that answers; then the end of
        // the holds.
        for last in [Happening::Arrival, Happening::HeldBack, Happening::HoldOver, Happening::Expire] {
            for at in 0..model.orders.len() {
                model.happens(at, last, pays);
            }
        }
        for _ in 0..20 {
            model.settles(pays);
        }
        prop_assert!(model.is_settled(), "never ends: {:?}", model);
        prop_assert_eq!(model.kept(), model.confirmed(), "{:?}", model);
        prop_assert!(model.orders.iter().all(|of| of.order.state.is_final() && of.confirms <= 1));
    }
}
