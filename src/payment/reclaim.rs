//! Units for money that came after its order had lost them: a claim like any other, under a key of our own.

use super::record::{Bought, late_key};
use super::rules::News;
use crate::buyer::BuyerId;
use crate::catalogue::SaleId;
use crate::claim::{Claim, ClaimError, Decider, Decision, IdempotencyKey};
use crate::gate::Gate;
use crate::log::StockEntry;
use crate::order_id::OrderId;
use crate::postgres::{PgError, PgPool};

/// Whether the units that the order lost are still on their way back to Redis.
const RETURNING: &str = "SELECT EXISTS (SELECT FROM stock_intents WHERE cause = $1 AND applied_at IS NULL)";
/// Of a sale whose Redis keys are gone, whether the units were claimed again before.
const CLAIMED: &str = "SELECT id FROM orders WHERE buyer = $1 AND sale_id = $2 AND idem_key = $3
    AND cancel_reason IS DISTINCT FROM 'duplicate'";

/// Claims what `order` was of. Asked again it finds the same order.
pub(super) async fn reclaim(
    claims: &Decider,
    gate: &Gate,
    pool: &PgPool,
    order: OrderId,
    bought: &Bought,
    backlog_max: u64,
) -> Result<News, ReclaimError> {
    let claim = claim_of(order, bought).ok_or(ReclaimError::Unreadable(order))?;
    let scripts = gate.open().ok_or(ClaimError::Fenced)?;
    {
        let db = pool.get().await.map_err(PgError::from)?;
        let cause = StockEntry::cause_of_return(order);
        let returning = db.query_one(RETURNING, &[&cause]).await.map_err(PgError::from)?;
        if returning.get(0) {
            // They would seem to be sold, or to count against the buyer.
            return Ok(News::NotYet);
        }
    }
    let decision = claims.decide_alone(&scripts, &claim, backlog_max).await?;
    Ok(match decision {
        Decision::Accepted(id) | Decision::Duplicate(id) => News::Reclaimed(id),
        Decision::Absent => {
            let db = pool.get().await.map_err(PgError::from)?;
            let key = late_key(order);
            let row =
                db.query_opt(CLAIMED, &[&bought.buyer, &bought.sale, &key]).await.map_err(PgError::from)?;
            match row {
                Some(row) => News::Reclaimed(OrderId::from_uuid(row.get(0))),
                None => News::NoUnits("its sale is over"),
            }
        }
        Decision::SoldOut(_) | Decision::Insufficient { .. } => News::NoUnits("its units are sold"),
        Decision::LimitReached(_) => News::NoUnits("its buyer has as many as he may"),
        Decision::Closed => News::NoUnits("its sale is closed"),
        Decision::Paused | Decision::NotYetOpen { .. } => News::None,
        Decision::BacklogFull => return Err(ClaimError::Overloaded.into()),
        Decision::KeyReused | Decision::OverRate => return Err(ReclaimError::Unreadable(order)),
    })
}

fn claim_of(order: OrderId, bought: &Bought) -> Option<Claim> {
    let sale: SaleId = bought.sale.parse().ok()?;
    let buyer = BuyerId::parse(bought.buyer.as_bytes()).ok()?;
    let key = IdempotencyKey::from_content(&late_key(order)).ok()?;
    Some(Claim::new(sale, buyer, key, bought.lines.clone()))
}

/// Why units were not claimed again: it is tried again.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReclaimError {
    #[error(transparent)]
    Claim(#[from] ClaimError),
    #[error("order {0} cannot be claimed again by this version")]
    Unreadable(OrderId),
    #[error(transparent)]
    Postgres(#[from] PgError),
}
