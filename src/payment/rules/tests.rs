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

/// A gateway, an order and its payment, as they really are.
#[derive(Clone, Debug)]
struct Model {
    payment: PaymentState,
    order: PaidOrder,
    /// What the gateway has decided.
    charge: Option<bool>,
    refunds: u32,
    confirms: u32,
    again: Again,
    /// What was heard and is not written yet: a worker that was slow.
    held_back: Vec<News>,
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
    /// The gateway tells by itself, as often as it likes.
    Webhook,
    HoldOver,
    Expire,
    Cancel(Cancellation),
}

impl Model {
    fn new(payment: PaymentState) -> Self {
        Self {
            payment,
            order: PaidOrder { state: OrderState::Pending, cancel_reason: None, hold_is_over: false },
            charge: None,
            refunds: 0,
            confirms: 0,
            again: Again::Now,
            held_back: Vec::new(),
            on_its_way: false,
        }
    }

    fn facts(&self, is_old: bool) -> PaymentFacts {
        PaymentFacts {
            order: self.order,
            no_charge_on_its_way: is_old && !self.on_its_way,
            ..facts(self.payment, self.order.state, self.order.cancel_reason)
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

    fn write(&mut self, news: &News, is_old: bool) {
        let verdict = verdict(&self.facts(is_old), news);
        if let Some(step) = verdict.step {
            let before = self.order.state;
            self.step(step);
            assert_ne!(before, self.order.state, "{step:?} was refused for {news:?}");
        }
        self.payment = verdict.payment;
        self.again = verdict.again;
    }

    /// What the gateway answers.
    fn ask(&mut self, task: Task, pays: bool) -> News {
        let told = |charge| match charge {
            true => paid_news(),
            false => News::Declined("no".into()),
        };
        match task {
            Task::Charge | Task::LookUp if self.refunds > 0 => News::Refunded,
            Task::Charge => told(*self.charge.get_or_insert(pays)),
            Task::LookUp => self.charge.map_or(News::NeverHeard, told),
            Task::Refund => {
                assert_eq!(self.charge, Some(true), "nothing was paid");
                self.refunds = 1;
                News::Refunded
            }
            Task::Reclaim => News::NoUnits("they are sold"),
            Task::Conclude => News::None,
        }
    }

    fn happens(&mut self, happening: Happening, pays: bool) {
        match happening {
            Happening::Round { arrives, delayed, answered, held_back } if self.again != Again::Never => {
                let task = task(&self.facts(false));
                if task == Task::Charge {
                    self.payment = PaymentState::Unknown;
                }
                let news = if arrives {
                    self.ask(task, pays)
                } else {
                    self.on_its_way |= delayed && task == Task::Charge;
                    News::NoAnswer("lost".into())
                };
                let news = if answered { news } else { News::NoAnswer("lost".into()) };
                match held_back {
                    true => self.held_back.push(news),
                    false => self.write(&news, false),
                }
            }
            Happening::Round { .. } => {}
            Happening::Arrival => {
                if std::mem::take(&mut self.on_its_way) {
                    self.charge.get_or_insert(pays);
                }
            }
            Happening::HeldBack => {
                for news in std::mem::take(&mut self.held_back) {
                    self.write(&news, false);
                }
            }
            Happening::Webhook => match self.charge {
                Some(true) => self.write(&paid_news(), false),
                Some(false) => self.write(&News::Declined("no".into()), false),
                None => {}
            },
            Happening::HoldOver => self.order.hold_is_over = true,
            Happening::Expire => self.step(Step::Cancel(Cancellation::Expired)),
            Happening::Cancel(why) => self.step(Step::Cancel(why)),
        }
    }
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        4 => any::<(bool, bool, bool, bool)>().prop_map(|(arrives, delayed, answered, held_back)| {
            Happening::Round { arrives, delayed, answered, held_back }
        }),
        1 => Just(Happening::Arrival),
        1 => Just(Happening::HeldBack),
        2 => Just(Happening::Webhook),
        1 => Just(Happening::HoldOver),
        1 => Just(Happening::Expire),
        1 => Just(Happening::Cancel(Cancellation::Buyer)),
        1 => Just(Happening::Cancel(Cancellation::Operator)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Whatever is lost, late, doubled or out of order: in the end a buyer whose money is gone has his order, and one who has
    /// no order has his money.
    #[test]
    fn nobody_pays_for_nothing_and_nothing_is_given_away(
        happenings in prop::collection::vec(happening(), 0..24),
        pays in any::<bool>(),
        hosted in any::<bool>(),
    ) {
        let mut model = Model::new(if hosted { PaymentState::Awaited } else { PaymentState::Due });
        if hosted {
            // The buyer pays elsewhere.
            model.charge = Some(pays);
        }
        for happening in happenings {
            model.happens(happening, pays);
            if model.order.state == OrderState::Confirmed {
                prop_assert_eq!(model.charge, Some(true), "confirmed without money");
                prop_assert_eq!(model.refunds, 0, "paid back and kept");
            }
        }
        // Everything comes in the end: what was on its way, what was held back, the end of the hold, and a gateway that answers.
        for last in [Happening::Arrival, Happening::HeldBack, Happening::HoldOver, Happening::Expire] {
            model.happens(last, pays);
        }
        let mut rounds = 0;
        while model.again != Again::Never {
            let task = task(&model.facts(true));
            let news = model.ask(task, pays);
            model.write(&news, true);
            rounds += 1;
            prop_assert!(rounds < 20, "{:?} never ends", model);
        }
        let kept = model.charge == Some(true) && model.refunds == 0;
        prop_assert_eq!(kept, model.order.state == OrderState::Confirmed, "{:?}", model);
        prop_assert!(model.order.state.is_final());
        prop_assert!(model.confirms <= 1);
    }
}
