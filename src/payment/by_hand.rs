//! A refund that somebody has made by hand.

use super::desk::PaymentDesk;
use super::error::PaymentError;
use super::rules::{News, PaymentState, Verdict, verdict};
use crate::faults::crash_point;
use crate::order_id::OrderId;
use crate::order_life::Told;
use crate::postgres::{PgError, within};

/// What became of a word about a refund.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByHand {
    /// It is written, and the gateway is asked no more.
    Recorded,
    /// The money had gone back before, by whomever.
    Before,
}

impl PaymentDesk {
    /// Writes that the money of `order` went back by hand. Only money that is due goes back: elsewhere the word could end an
    /// order that is paid for.
    ///
    /// # Errors
    /// [`PaymentError::NothingDue`] where no money is due, or another [`PaymentError`].
    pub async fn refunded_by_hand(&self, order: OrderId, told: Told<'_>) -> Result<ByHand, PaymentError> {
        within(self.limit, async {
            let mut db = self.pool.get().await.map_err(PgError::from)?;
            let tx = db.transaction().await?;
            let record = self.hold(&tx, order).await?;
            match record.facts.payment {
                PaymentState::RefundDue => {}
                PaymentState::Refunded => return Ok(ByHand::Before),
                other => return Err(PaymentError::NothingDue(order, other)),
            }
            let news = News::Refunded;
            let note = Some(format!("paid back by hand: {}", told.reason));
            let verdict = Verdict { note, ..verdict(&record.facts, &news) };
            self.follow(&tx, &record, &news, &verdict, told.actor).await?;
            crash_point!("payment_before_commit");
            tx.commit().await?;
            tracing::info!(%order, actor = told.actor, reason = told.reason, "money went back by hand");
            Ok(ByHand::Recorded)
        })
        .await
    }
}
