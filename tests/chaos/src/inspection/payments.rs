//! Who has paid for what: Postgres' account, and the gateway's.

use doorbuster::order_id::OrderId;
use doorbuster::payment::ChargeStatus;

use crate::ChaosError;
use crate::deployment::Deployment;
use crate::stored::{Books, StoredPayment};

/// Payments that somebody will look at again; where there are none, charges that are not decided, or of which nobody was
/// told.
pub(super) async fn open(deployment: &Deployment, db: &tokio_postgres::Client) -> Result<u64, ChaosError> {
    let Some(gateway) = &deployment.gateway else { return Ok(0) };
    let query = "SELECT count(*) FROM payments WHERE next_at IS NOT NULL";
    let open: i64 = db.query_one(query, &[]).await?.get(0);
    if open > 0 {
        return Ok(open.unsigned_abs());
    }
    let charges = gateway.charges().await?;
    let open = charges.iter().filter(|charge| charge.status == ChargeStatus::Undecided || !charge.is_told);
    Ok(open.count() as u64)
}

/// All of them, of every sale: a charge of an order that nobody knows is one too many.
pub(super) async fn read(
    deployment: &Deployment,
    db: &tokio_postgres::Client,
) -> Result<Option<Books>, ChaosError> {
    let Some(gateway) = &deployment.gateway else { return Ok(None) };
    let mut books = Books { charges: gateway.charges().await?, payments: Vec::new() };
    let query =
        "SELECT coalesce(o.id, p.order_id), o.state, coalesce(p.paid_as, p.order_id, o.id), o.idem_key,
                        coalesce(o.cost, 0)::bigint
                 FROM payments p FULL JOIN (
                     SELECT o.*, (SELECT sum(quantity * unit_price)
                                  FROM unnest(o.quantities, o.unit_prices) AS l (quantity, unit_price)) AS cost
                     FROM orders o JOIN sales s ON s.id = o.sale_id WHERE s.payment <> 'none'
                 ) o ON o.id = p.order_id";
    let id = |id: uuid::Uuid| OrderId::from_uuid(id).to_string();
    for row in db.query(query, &[]).await? {
        let key: Option<&str> = row.get(3);
        books.payments.push(StoredPayment {
            order: id(row.get(0)),
            order_state: row.get(1),
            cost: row.get(4),
            paid_as: id(row.get(2)),
            late_for: key.and_then(crate::checker::late_for).map(str::to_owned),
        });
    }
    Ok(Some(books))
}
