//! `doorbuster payment refunded`

use std::io::{self, Write};

use serde_json::json;

use super::RefundedArgs;
use crate::cli::CliError;
use crate::cli::confirm::confirm;
use crate::cli::json::write_json;
use crate::cli::servers::Servers;
use crate::config::Settings;
use crate::node::payment_desk;
use crate::order_life::{OrderLife, OrderPayment, OrderRecord, Told};
use crate::payment::{ByHand, PaymentError, PaymentState};

pub(super) async fn run(servers: &Servers, settings: &Settings, args: &RefundedArgs) -> Result<(), CliError> {
    let actor = format!("cli: {}", args.by.operator()?.as_str());
    let orders = OrderLife::new(servers.pool.clone(), settings.postgres_timeout_ms.duration());
    let mut due = Vec::new();
    for order in &args.orders {
        // An order that nobody has is a mistyped one: nothing is done.
        let order = orders.read(*order).await?;
        if order.payment.as_ref().is_some_and(|payment| payment.state == PaymentState::RefundDue.as_str()) {
            due.push(order);
        }
    }
    if !due.is_empty() {
        confirm(&what_is_said(&due), args.yes)?;
    }
    let desk = payment_desk(settings, servers.pool.clone());
    let (mut out, mut answers, mut failed) = (io::stdout(), Vec::new(), false);
    for order in &args.orders {
        let told = Told { actor: &actor, reason: &args.reason };
        let (outcome, detail) = match desk.refunded_by_hand(*order, told).await {
            Ok(ByHand::Recorded) => ("refunded", None),
            Ok(ByHand::Before) => ("already refunded", None),
            // Of one order; the others do not wait for it.
            Err(error @ (PaymentError::NothingDue(..) | PaymentError::None(_))) => {
                failed = true;
                ("failed", Some(error.to_string()))
            }
            Err(error) => return Err(CliError::Payment(Box::new(error))),
        };
        match &detail {
            _ if args.json => {
                answers.push(json!({ "order": order, "outcome": outcome, "detail": detail }));
            }
            Some(detail) => writeln!(out, "payment of {order}: {outcome}: {detail}")?,
            None => writeln!(out, "payment of {order}: {outcome}")?,
        }
    }
    if args.json {
        write_json(&mut out, &json!({ "payments": answers }))?;
    }
    if failed { Err(CliError::Incomplete) } else { Ok(()) }
}

/// What is asked before it is written.
fn what_is_said(due: &[OrderRecord]) -> String {
    let whose = match due {
        [order] => format!("the money of order {}{} went back", order.id, sum(order.payment.as_ref())),
        orders => format!("the money of {} orders went back", orders.len()),
    };
    format!("This says that {whose}: the gateway is not asked for it any more")
}

fn sum(payment: Option<&OrderPayment>) -> String {
    match payment.map(|payment| (payment.amount, payment.currency.as_deref())) {
        Some((Some(amount), Some(currency))) => format!(" ({amount} {currency}, minor units)"),
        _ => String::new(),
    }
}
