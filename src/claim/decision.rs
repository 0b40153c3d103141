//! What `claim.lua` answers: its reply codes are mapped here and nowhere else.

use std::time::Duration;

use crate::catalogue::Sku;
use crate::log::EntryId;
use crate::order_id::{Mark, OrderId};
use crate::partition::Partition;

/// How a claim was decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is an order now.
    Accepted(OrderId),
    /// It was accepted before, under the same key with the same body.
    Duplicate(OrderId),
    /// The key was used before, with another body.
    KeyReused,
    /// The buyer tries too often, and has no order under this key.
    OverRate,
    /// The window has not begun.
    NotYetOpen {
        /// Until it does, by the clock of Redis.
        wait: Duration,
    },
    /// The operator holds the sale.
    Paused,
    /// The window has passed, or the operator closed the sale.
    Closed,
    /// The buyer would have more units of the SKU, or (`None`) more orders, than the sale allows.
    LimitReached(Option<Sku>),
    /// No unit is left.
    SoldOut(Sku),
    /// Fewer units are left than were asked for.
    Insufficient {
        /// Of what.
        sku: Sku,
        /// How many there are.
        left: u64,
    },
    /// Too many orders wait to be persisted.
    BacklogFull,
    /// The sale is not in this Redis: not yet published, or retired. Postgres knows.
    Absent,
}

/// A claim without a decision. `Indeterminate` and `Unreplicated` may have become an order: the same key tells.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClaimError {
    /// The partition is not open. Nothing was decided.
    #[error("the partition is not open: wait for the keeper")]
    Fenced,
    /// Too many claims wait on this node. Nothing was decided.
    #[error("too many claims wait on this node")]
    Overloaded,
    /// Redis refused the whole batch, for example because it is full. Nothing was decided.
    #[error("redis refused: {0}")]
    Refused(String),
    /// The reply was lost or late.
    #[error("no reply from redis in time: the claim may have been accepted")]
    Indeterminate,
    /// There is an order, but too few replicas hold it: a failover could lose it. Only with `ack = "replica"`.
    #[error("too few replicas hold the order: is one away, or slow? see ack_replicas")]
    Unreplicated,
    /// The reply is none that this version knows. The script ran: there may be an order.
    #[error("unexpected reply {0:?}: script and binary do not belong together")]
    Unexpected(String),
}

/// Codes of the replies that tell of an order.
pub(super) const ACCEPTED: &str = "A";
pub(super) const DUPLICATE: &str = "D ";

/// What a reply is read against.
pub(super) struct ReplyContext<'a> {
    pub partition: Partition,
    pub now_ms: u64,
    pub opens_at_ms: u64,
    /// Where the next accepted order stands in the log.
    pub place: Option<EntryId>,
    pub skus: &'a [Sku],
}

impl Decision {
    /// Reads one claim's reply.
    pub(super) fn parse(reply: &str, mark: Mark, context: &ReplyContext<'_>) -> Result<Self, ClaimError> {
        let unexpected = || ClaimError::Unexpected(reply.chars().take(60).collect());
        let mut words = reply.split(' ');
        let code = words.next().unwrap_or_default();
        let sku = |index: Option<&str>| -> Result<Sku, ClaimError> {
            let index: usize = index.and_then(|i| i.parse().ok()).ok_or_else(unexpected)?;
            index.checked_sub(1).and_then(|i| context.skus.get(i)).cloned().ok_or_else(unexpected)
        };
        Ok(match code {
            // Alone: with more words it is another version's.
            ACCEPTED if reply == ACCEPTED => {
                let place = context.place.ok_or_else(unexpected)?;
                Self::Accepted(OrderId::new(place, context.partition, mark))
            }
            "D" => {
                let place: EntryId =
                    words.next().and_then(|place| place.parse().ok()).ok_or_else(unexpected)?;
                let mark = words.next().and_then(|mark| mark.parse().ok()).ok_or_else(unexpected)?;
                Self::Duplicate(OrderId::new(place, context.partition, mark))
            }
            "M" => Self::KeyReused,
            "R" => Self::OverRate,
            "N" => Self::NotYetOpen {
                wait: Duration::from_millis(context.opens_at_ms.saturating_sub(context.now_ms)),
            },
            "P" => Self::Paused,
            "C" => Self::Closed,
            "L" if reply == "L 0" => Self::LimitReached(None),
            "L" => Self::LimitReached(Some(sku(words.next())?)),
            "S" => Self::SoldOut(sku(words.next())?),
            "I" => Self::Insufficient {
                sku: sku(words.next())?,
                left: words.next().and_then(|n| n.parse().ok()).ok_or_else(unexpected)?,
            },
            "B" => Self::BacklogFull,
            "X" => Self::Absent,
            _ => return Err(unexpected()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_meaning() {
        let skus = ["A".parse().unwrap(), "B".parse().unwrap()];
        let partition = Partition::new(3);
        let place = Some(EntryId { ms: 5, seq: 1 });
        let context = ReplyContext { partition, now_ms: 1000, opens_at_ms: 3500, place, skus: &skus };
        let mark = Mark::random();
        let other = Mark::random();
        let id = |mark| OrderId::new(EntryId { ms: 5, seq: 1 }, partition, mark);
        for (reply, decision) in [
            ("A".to_owned(), Decision::Accepted(id(mark))),
            (format!("D 5-1 {other}"), Decision::Duplicate(id(other))),
            ("M".into(), Decision::KeyReused),
            ("R".into(), Decision::OverRate),
            ("N".into(), Decision::NotYetOpen { wait: Duration::from_millis(2500) }),
            ("P".into(), Decision::Paused),
            ("C".into(), Decision::Closed),
            ("L 0".into(), Decision::LimitReached(None)),
            ("L 2".into(), Decision::LimitReached(Some(skus[1].clone()))),
            ("S 1".into(), Decision::SoldOut(skus[0].clone())),
            ("I 2 4".into(), Decision::Insufficient { sku: skus[1].clone(), left: 4 }),
            ("B".into(), Decision::BacklogFull),
            ("X".into(), Decision::Absent),
        ] {
            assert_eq!(Decision::parse(&reply, mark, &context), Ok(decision), "{reply}");
        }
        let nowhere = ReplyContext { place: None, ..context };
        assert!(matches!(Decision::parse("A", mark, &nowhere), Err(ClaimError::Unexpected(_))));
        for bad in ["", "Z", "A 5-1", "D 5-1", "S 3", "S 0", "I 1"] {
            assert!(matches!(Decision::parse(bad, mark, &context), Err(ClaimError::Unexpected(_))), "{bad}");
        }
    }
}
