//! The same steps on the model and on Redis.

use std::collections::BTreeMap;

use doorbuster::buyer::BuyerId;
use doorbuster::catalogue::{SaleId, Sku};
use doorbuster::claim::{
    BuyersWithOrders, Claim, Decision, IdempotencyKey, Survey, fingerprint, sorted_lines,
};
use doorbuster::log::{EntryId, LogEntry, OrderEntry, StockEntry};
use doorbuster::order::CancelReason;
use doorbuster::order_id::{Mark, OrderId};
use proptest::prelude::*;

use crate::model::{Ask, Control, Line, Logged, Model, Outcome, Said, Window};
use crate::open_partition::{Definition, OpenPartition, StockChange, record_name};
use crate::steps::{BUYERS, SKUS, Step};

const HOUR_MS: i64 = 3_600_000;
const REASON: CancelReason = CancelReason::Expired;

pub struct RealSale {
    model: Model,
    partition: OpenPartition,
    sale: SaleId,
    version: i64,
    /// What Redis has answered for, by the number that the model gives it.
    orders: Vec<(OrderEntry, OrderId)>,
    /// What the log must hold, and where.
    log: Vec<(EntryId, LogEntry)>,
    changes: Vec<Change>,
    outcomes: Vec<Outcome>,
    /// Claims that a survey refused.
    surveyed: u32,
    /// Who had orders before the last claims, and how many names that were.
    knew: Option<(BuyersWithOrders, u64)>,
}

struct Change {
    stock: StockEntry,
    order: Option<usize>,
}

impl RealSale {
    pub fn new(partition: OpenPartition) -> Self {
        Self {
            model: Model::default(),
            partition,
            sale: "drop-1".parse().unwrap(),
            version: 1,
            orders: Vec::new(),
            log: Vec::new(),
            changes: Vec::new(),
            outcomes: Vec::new(),
            surveyed: 0,
            knew: None,
        }
    }

    pub async fn take(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Claims { asks, backlog_max } => self.claims(&asks, backlog_max).await?,
            Step::Publish(said) => {
                self.version += 1;
                prop_assert_eq!(self.publish(&said, self.version).await, self.version);
                self.model.publish(said);
                let last = self.partition.log().await.pop().unwrap();
                let entry = last.decode().unwrap();
                let logged = matches!(&entry, LogEntry::Sale(of) if of.sale == self.sale && of.version == self.version);
                prop_assert!(logged, "{:?} tells of version {}", entry, self.version);
                self.log.push((last.id, entry));
            }
            Step::PublishLate(said) if self.model.said.is_some() => {
                prop_assert_eq!(self.publish(&said, self.version).await, self.version);
                prop_assert_eq!(self.publish(&said, self.version - 1).await, self.version);
            }
            Step::PublishLate(_) => {}
            Step::Add { sku, units } => {
                let cause = format!("allotment:{}", self.changes.len());
                let stock = self.stock_entry(cause, &[(sku, units)]);
                let is_new = self.model.add(sku, units);
                self.change(Change { stock, order: None }, if is_new { None } else { Some("absent") })
                    .await?;
            }
            Step::Repeat => {
                if let Some(change) = self.changes.pop() {
                    self.change(change, Some("known")).await?;
                }
            }
            Step::Return(which) if !self.orders.is_empty() => {
                let number = which.index(self.orders.len());
                let cause = StockEntry::cause_of_return(self.orders[number].1);
                let lines: Vec<(usize, i64)> = self.model.orders[number]
                    .lines
                    .iter()
                    .map(|&(sku, units)| (sku, i64::from(units)))
                    .collect();
                let stock = self.stock_entry(cause, &lines);
                let is_new = self.model.take_back(number);
                let change = Change { stock, order: Some(number) };
                self.change(change, if is_new { None } else { Some("known") }).await?;
            }
            Step::Return(_) => {}
            Step::Settle(which) if !self.log.is_empty() => {
                let places: Vec<usize> = which.iter().map(|index| index.index(self.log.len())).collect();
                let ids: Vec<EntryId> = places.iter().map(|&place| self.log[place].0).collect();
                self.partition.deliver().await;
                let settled = self.partition.settle(&ids).await.unwrap();
                // With those that share their entries of the stream.
                let log = self.partition.log().await;
                let of = |id| log.iter().find(|entry| entry.id == id).map(|entry| entry.held_by);
                let held_by: Vec<_> = ids.iter().map(|id| of(*id)).collect();
                let settles = |place: &usize| held_by.contains(&of(self.log[*place].0));
                let places: Vec<usize> = (0..self.log.len()).filter(settles).collect();
                prop_assert_eq!(settled, self.model.settle(&places) as i64);
            }
            Step::Settle(_) => {}
        }
        Ok(())
    }

    /// A node that knows who has orders refuses whom it would refuse by the names; one that knew it before somebody got the
    /// first order notices.
    async fn survey_without_names(&mut self, claims: &[Claim], named: &Survey) -> Result<(), TestCaseError> {
        let known = self.partition.buyers(&self.sale).await.unwrap();
        let survey = self.partition.survey_knowing(&self.sale, claims, &known).await.unwrap();
        let survey = survey.ok_or_else(|| TestCaseError::fail("nobody has bought meanwhile"))?;
        for (index, claim) in claims.iter().enumerate() {
            let (with, without) = (named.refusal(index, claim), survey.refusal(index, claim));
            match (&with, &without) {
                (Some(Decision::NotYetOpen { .. }), Some(Decision::NotYetOpen { .. })) => {}
                _ => prop_assert_eq!(with, without),
            }
        }
        if let Some((earlier, names)) = self.knew.replace((known, named.names())) {
            let survey = self.partition.survey_knowing(&self.sale, claims, &earlier).await.unwrap();
            prop_assert_eq!(survey.is_none(), names != named.names());
        }
        Ok(())
    }

    async fn claims(&mut self, asks: &[Ask], backlog_max: usize) -> Result<(), TestCaseError> {
        let claims: Vec<Claim> = asks.iter().map(|ask| self.claim(ask)).collect();
        let survey = self.partition.survey(&self.sale, &claims).await.unwrap();
        self.survey_without_names(&claims, &survey).await?;
        let decisions = self.partition.decide(&self.sale, &claims, backlog_max as u64).await.unwrap();
        // Before anything of the batch has changed the sale: what the survey refuses, the script refuses so too.
        match (survey.refusal(0, &claims[0]), &decisions[0]) {
            (Some(Decision::NotYetOpen { .. }), Decision::NotYetOpen { .. }) | (None, _) => {}
            (Some(refusal), decision) => {
                self.surveyed += 1;
                prop_assert_eq!(&refusal, decision, "the survey refuses {:?}", &asks[0]);
            }
        }
        // And it misses no buyer who has no orders: sold out is what it is for.
        if matches!(decisions[0], Decision::SoldOut(_)) && self.model.has_no_orders(&asks[0]) {
            prop_assert!(survey.refusal(0, &claims[0]).is_some(), "the survey lets pass {:?}", &asks[0]);
        }
        prop_assert_eq!(decisions.len(), asks.len());
        for ((ask, claim), decision) in asks.iter().zip(&claims).zip(decisions) {
            let outcome = self.model.decide(ask, backlog_max);
            if let (Outcome::Accepted(_), Decision::Accepted(id)) = (&outcome, &decision) {
                prop_assert_eq!(
                    (id.partition(), id.mark()),
                    (self.partition.scripts.stamp.partition, claim.mark)
                );
                let order = self.order_entry(ask, claim);
                self.orders.push((order.clone(), *id));
                self.log.push((id.entry(), LogEntry::Order(order)));
            }
            let expected = self.expected(&outcome, &decision);
            prop_assert_eq!(decision, expected, "{:?}", ask);
            self.outcomes.push(outcome);
        }
        Ok(())
    }

    /// The decision that the outcome means. Only the time until the opening is taken from the decision, if it fits.
    fn expected(&self, outcome: &Outcome, decision: &Decision) -> Decision {
        let id = |number: usize| self.orders.get(number).map_or(OrderId::lowest_at(0), |order| order.1);
        match *outcome {
            Outcome::Accepted(number) => Decision::Accepted(id(number)),
            Outcome::Duplicate(number) => Decision::Duplicate(id(number)),
            Outcome::KeyReused => Decision::KeyReused,
            Outcome::OverRate => Decision::OverRate,
            Outcome::NotYetOpen => match decision {
                Decision::NotYetOpen { wait } if (3500..=3600).contains(&wait.as_secs()) => decision.clone(),
                _ => Decision::NotYetOpen { wait: std::time::Duration::from_secs(3600) },
            },
            Outcome::Paused => Decision::Paused,
            Outcome::Closed => Decision::Closed,
            Outcome::Limit(i) => Decision::LimitReached(Some(sku(i))),
            Outcome::SoldOut(i) => Decision::SoldOut(sku(i)),
            Outcome::Insufficient(i, left) => {
                Decision::Insufficient { sku: sku(i), left: left.unsigned_abs() }
            }
            Outcome::BacklogFull => Decision::BacklogFull,
            Outcome::Absent => Decision::Absent,
        }
    }

    /// Counts the outcomes by their names.
    pub fn add_to(&self, tally: &mut BTreeMap<String, u32>) {
        for outcome in &self.outcomes {
            let name = format!("{outcome:?}").split('(').next().unwrap_or_default().to_owned();
            *tally.entry(name).or_default() += 1;
        }
        if self.surveyed > 0 {
            *tally.entry("refused by a survey".to_owned()).or_default() += self.surveyed;
        }
    }

    async fn publish(&self, said: &Said, version: i64) -> i64 {
        let control = match said.control {
            Control::Scheduled => "scheduled",
            Control::Paused => "paused",
            Control::Closed => "closed",
        };
        let now_ms = jiff::Timestamp::now().as_millisecond();
        let (opens_at_ms, closes_at_ms) = match said.window {
            Window::Before => (now_ms + HOUR_MS, now_ms + 2 * HOUR_MS),
            Window::Within => (now_ms - HOUR_MS, now_ms + HOUR_MS),
            Window::After => (now_ms - 2 * HOUR_MS, now_ms - HOUR_MS),
        };
        let limits = (0..SKUS.len()).map(|i| (sku(i), said.limits.get(&i).copied())).collect();
        let definition = Definition { version, control, opens_at_ms, closes_at_ms, limits };
        self.partition.publish(&self.sale, &definition).await.unwrap()
    }

    /// Sends a change; `refusal` is the answer that says nothing has changed.
    async fn change(&mut self, change: Change, refusal: Option<&str>) -> Result<(), TestCaseError> {
        let return_of = change.order.map(|number| (&self.orders[number].0, self.orders[number].1, REASON));
        let sent = StockChange { stock: &change.stock, return_of };
        let reply = self.partition.change_stock(&sent).await.unwrap();
        match refusal {
            Some(refusal) => prop_assert_eq!(&reply, refusal),
            None => {
                let stock = change.stock.clone();
                let entry = match return_of {
                    Some((_, order, reason)) => LogEntry::Return { order, reason, stock },
                    None => LogEntry::Allotment(stock),
                };
                self.log.push((reply.parse().unwrap(), entry));
            }
        }
        if refusal != Some("absent") {
            self.changes.push(change);
        }
        Ok(())
    }

    pub async fn check_all(&self) -> Result<(), TestCaseError> {
        for (i, name) in SKUS.iter().enumerate() {
            let stock = self.partition.stock(&self.sale, &sku(i)).await;
            prop_assert_eq!(stock, self.model.stock.get(&i).copied(), "stock of {}", name);
            prop_assert_eq!(stock.unwrap_or(0), self.ledger_sum(i), "ledger of {}", name);
        }
        for buyer in 0..BUYERS {
            let key = self.partition.keys.sale(&self.sale).buyers;
            let records = self.partition.raw("HGET", &key, &[&format!("buyer;{buyer}")]).await;
            prop_assert_eq!(records.as_string().unwrap_or_default(), self.records(buyer));
        }
        let mut found = Vec::new();
        for raw in self.partition.log().await {
            found.push((raw.id, raw.decode().unwrap()));
        }
        let opening = found.remove(0);
        prop_assert_eq!(opening.0, self.partition.opening_entry);
        prop_assert!(matches!(opening.1, LogEntry::Opening { .. }), "the log begins with its opening");
        prop_assert_eq!(&found, &self.log);
        prop_assert_eq!(found.len(), self.model.log.len());
        let backlog = [self.model.log.len() as i64, self.model.settled.len() as i64];
        prop_assert_eq!(self.partition.backlog().await, backlog);
        Ok(())
    }

    /// The ledger's equation: stock = changes - units of orders.
    fn ledger_sum(&self, sku: usize) -> i64 {
        let of = |lines: &[Line]| -> i64 {
            lines.iter().filter(|line| line.0 == sku).map(|line| i64::from(line.1)).sum()
        };
        let signed = |logged: &Logged| match logged {
            Logged::Order(number) => -of(&self.model.orders[*number].lines),
            Logged::Returned(number) => of(&self.model.orders[*number].lines),
            Logged::Added(other, units) => i64::from(*other == sku) * units,
            Logged::Published => 0,
        };
        self.model.log.iter().map(signed).sum()
    }

    /// What the buyer's field must hold, in the layout that `SaleKeys::buyers` tells.
    fn records(&self, buyer: usize) -> String {
        let of_buyer = self.model.orders.iter().zip(&self.orders).filter(|(order, _)| order.buyer == buyer);
        of_buyer
            .map(|(order, (entry, id))| {
                let lines: Vec<String> =
                    order.lines.iter().map(|(i, units)| format!("{}:{units}", SKUS[*i])).collect();
                let units = if order.returned { String::new() } else { lines.join(",") };
                format!("{} {units};", record_name(entry, *id))
            })
            .collect()
    }

    fn claim(&self, ask: &Ask) -> Claim {
        let mut claim = Claim::new(self.sale.clone(), buyer(ask), key(ask), lines(ask));
        claim.over_rate = ask.over_rate;
        claim
    }

    fn order_entry(&self, ask: &Ask, claim: &Claim) -> OrderEntry {
        OrderEntry {
            mark: claim.mark,
            fingerprint: fingerprint(&lines(ask)),
            sale: self.sale.clone(),
            buyer: buyer(ask),
            key: key(ask),
            lines: lines(ask),
        }
    }

    fn stock_entry(&self, cause: String, lines: &[(usize, i64)]) -> StockEntry {
        let lines = lines.iter().map(|&(i, units)| (sku(i), units)).collect();
        StockEntry { mark: Mark::random(), sale: self.sale.clone(), cause, lines }
    }
}

fn sku(i: usize) -> Sku {
    SKUS[i].parse().unwrap()
}

/// With the character that separates records: a buyer is a field's name, never part of a record.
fn buyer(ask: &Ask) -> BuyerId {
    BuyerId::parse(format!("buyer;{}", ask.buyer).as_bytes()).unwrap()
}

fn key(ask: &Ask) -> IdempotencyKey {
    IdempotencyKey::parse(format!("key;{}:1", ask.key).as_bytes()).unwrap()
}

fn lines(ask: &Ask) -> Vec<(Sku, u32)> {
    sorted_lines(ask.lines.iter().map(|&(i, units)| (sku(i), u64::from(units))).collect()).unwrap()
}
