//! Refuses the rush without deciding it: what a glance at the sale tells about buyers who have no orders in it.
//!
//! Most of a flash sale's traffic comes when everything is sold. `claim.lua` is given each claim whole, since it may have
//! to write an order; here the buyers' names are enough. Nothing is refused that `claim.lua` would not refuse in the same
//! words: a buyer without any order has none under this key either. And where the node knows who has orders
//! ([`BuyersWithOrders`]), not even the names are needed.

use std::time::Duration;

use fred::types::Value;

use crate::catalogue::Sku;
use crate::claim::{BuyersWithOrders, Claim, ClaimError, Decision};
use crate::redis::{Keys, Redis, Reply, SaleKeys, Script, StampedScripts};

use super::batch::number_skus;

/// A sale at one moment, and which of the buyers asked for have orders in it.
pub struct Survey {
    skus: Vec<Sku>,
    left: Vec<Option<i64>>,
    limits: Vec<Option<i64>>,
    closed: Option<Decision>,
    here: bool,
    names: u64,
    has_orders: Vec<bool>,
}

impl Survey {
    /// Looks at the sale for these claims.
    ///
    /// # Errors
    /// [`ClaimError`]: nothing was decided.
    pub async fn take<'a>(
        claims: impl Iterator<Item = &'a Claim> + Clone,
        redis: &Redis,
        scripts: &StampedScripts,
        keys: &Keys,
        sale: &SaleKeys,
    ) -> Result<Self, ClaimError> {
        Self::ask(claims.clone(), claims, redis, scripts, keys, sale).await
    }

    /// As [`Survey::take`], without asking for the buyers; `None` where others have orders by now than those `known`.
    ///
    /// # Errors
    /// As [`Survey::take`].
    pub async fn take_knowing<'a>(
        claims: impl Iterator<Item = &'a Claim> + Clone,
        known: &BuyersWithOrders,
        redis: &Redis,
        scripts: &StampedScripts,
        keys: &Keys,
        sale: &SaleKeys,
    ) -> Result<Option<Self>, ClaimError> {
        let mut survey = Self::ask(claims.clone(), std::iter::empty(), redis, scripts, keys, sale).await?;
        if !known.are_all(&scripts.stamp, survey.names) {
            return Ok(None);
        }
        survey.has_orders = claims.map(|claim| known.has(&claim.buyer)).collect();
        Ok(Some(survey))
    }

    /// How many names Redis has for this sale: its buyers with orders, and one more.
    pub fn names(&self) -> u64 {
        self.names
    }

    async fn ask<'a>(
        claims: impl Iterator<Item = &'a Claim>,
        named: impl Iterator<Item = &'a Claim>,
        redis: &Redis,
        scripts: &StampedScripts,
        keys: &Keys,
        sale: &SaleKeys,
    ) -> Result<Self, ClaimError> {
        let (skus, _) = number_skus(claims.flat_map(|claim| &claim.lines));
        let mut args = Vec::with_capacity(1 + skus.len() + named.size_hint().1.unwrap_or_default());
        args.push(Value::from(skus.len() as i64));
        args.extend(skus.iter().map(|sku| Value::from(sku.as_str())));
        args.extend(named.map(|claim| Value::from(claim.buyer.as_str())));
        let buyers = args.len() - 1 - skus.len();
        let all = vec![keys.meta.clone(), sale.sale.clone(), sale.buyers.clone()];
        let reply = redis.run(scripts, Script::Survey, all, args).await?;
        let unexpected = || ClaimError::Unexpected("a survey that cannot be read".into());
        Self::read(reply, skus, buyers).ok_or_else(unexpected)
    }

    fn read(reply: Reply, skus: Vec<Sku>, buyers: usize) -> Option<Self> {
        let mut values = reply.into_array().into_iter();
        let (now_ms, opens_at_ms) = (values.next()?.as_u64()?, values.next()?.as_u64()?);
        let why = values.next()?;
        let why = why.as_str()?;
        let closed = match &*why {
            "N" => {
                Some(Decision::NotYetOpen { wait: Duration::from_millis(opens_at_ms.saturating_sub(now_ms)) })
            }
            "P" => Some(Decision::Paused),
            "C" => Some(Decision::Closed),
            _ => None,
        };
        let names = values.next()?.as_u64()?;
        let (mut left, mut limits) = (Vec::with_capacity(skus.len()), Vec::with_capacity(skus.len()));
        for _ in &skus {
            left.push(values.next()?.as_i64());
            limits.push(values.next()?.as_i64());
        }
        let mut has_orders = vec![false; buyers];
        for number in values {
            *has_orders.get_mut(usize::try_from(number.as_u64()?).ok()?.checked_sub(1)?)? = true;
        }
        Some(Self { here: why != "X", names, skus, left, limits, closed, has_orders })
    }

    /// Whether a survey may give this decision too.
    pub(super) fn could_tell(decision: &Decision) -> bool {
        match decision {
            Decision::OverRate
            | Decision::NotYetOpen { .. }
            | Decision::Paused
            | Decision::Closed
            | Decision::LimitReached(_)
            | Decision::SoldOut(_)
            | Decision::Insufficient { .. } => true,
            Decision::Accepted(_)
            | Decision::Duplicate(_)
            | Decision::KeyReused
            | Decision::BacklogFull
            | Decision::Absent => false,
        }
    }

    /// Why claim number `index` (from 0) is refused; `None` where only `claim.lua` can tell.
    pub fn refusal(&self, index: usize, claim: &Claim) -> Option<Decision> {
        if !self.here || self.has_orders.get(index).copied().unwrap_or(true) {
            return None;
        }
        if claim.over_rate {
            return Some(Decision::OverRate);
        }
        if self.closed.is_some() {
            return self.closed.clone();
        }
        let lines = || {
            claim.lines.iter().map(|(sku, quantity)| {
                (sku, i64::from(*quantity), self.skus.iter().position(|known| known == sku))
            })
        };
        // As in the script: the limits of all lines come before the stock of any.
        for (sku, quantity, number) in lines() {
            if self.limits[number?].is_some_and(|limit| quantity > limit) {
                return Some(Decision::LimitReached(Some(sku.clone())));
            }
        }
        for (sku, quantity, number) in lines() {
            match self.left[number?]? {
                left if left <= 0 => return Some(Decision::SoldOut(sku.clone())),
                left if left < quantity => {
                    return Some(Decision::Insufficient { sku: sku.clone(), left: left.unsigned_abs() });
                }
                _ => {}
            }
        }
        None
    }
}
