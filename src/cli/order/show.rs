//! One order, whole.

use std::io::{self, Write};

use serde_json::Value;

use crate::order_life::{OrderPayment, OrderRecord, UnitsBack};
use crate::payment::PaymentState;

pub(super) fn write(out: &mut impl Write, order: &OrderRecord) -> io::Result<()> {
    let reason = order.cancel_reason.as_deref().map(|reason| format!(" ({reason})")).unwrap_or_default();
    writeln!(out, "order    {}", order.id)?;
    writeln!(out, "state    {}{reason}", order.state)?;
    writeln!(out, "sale     {}, partition {}", order.sale, order.partition)?;
    writeln!(out, "buyer    {}", order.buyer)?;
    writeln!(out, "key      {}", order.key)?;
    for item in order.items.as_array().into_iter().flatten() {
        let refused = if item["refused"] == Value::Bool(true) { ", refused by the gate" } else { "" };
        let sku = item["sku"].as_str().unwrap_or_default();
        writeln!(out, "item     {} {sku} at {}{refused}", item["quantity"], item["unit_price"])?;
    }
    if let Some(units) = order.units {
        let units = match units {
            UnitsBack::OnTheirWay => "on their way back",
            UnitsBack::Back => "back on sale",
            UnitsBack::Void => "nowhere: the sale is retired",
        };
        writeln!(out, "units    {units}")?;
    }
    writeln!(out, "accepted {}", order.accepted_at)?;
    if let Some(expires_at) = order.expires_at {
        writeln!(out, "expires  {expires_at}{}", if order.state == "pending" { "" } else { " (no longer)" })?;
    }
    if let Some(since) = order.refund_due_at {
        let refunded = PaymentState::Refunded.as_str();
        let is_made = order.payment.as_ref().is_some_and(|payment| payment.state == refunded);
        writeln!(out, "refund   {} since {since}", if is_made { "made, was due" } else { "due" })?;
    }
    if let Some(payment) = &order.payment {
        write_payment(out, payment)?;
    }
    for event in &order.events {
        writeln!(
            out,
            "{:<8} {} {} by {}: {}",
            event.sequence, event.at, event.state, event.actor, event.reason
        )?;
    }
    Ok(())
}

fn write_payment(out: &mut impl Write, payment: &OrderPayment) -> io::Result<()> {
    write!(out, "payment  {}", payment.state)?;
    if let (Some(amount), Some(currency)) = (payment.amount, &payment.currency) {
        write!(out, ", {amount} {currency} (minor units)")?;
    }
    if let Some(reference) = payment.reference.as_deref().filter(|reference| !reference.is_empty()) {
        write!(out, ", {reference} at the gateway")?;
    }
    if let Some(order) = payment.paid_as {
        write!(out, ", charged as order {order}")?;
    }
    if let Some(order) = payment.moved_to {
        write!(out, ", now of order {order}")?;
    }
    writeln!(out)?;
    if let Some(error) = &payment.last_error {
        writeln!(out, "         {error}")?;
    }
    Ok(())
}
