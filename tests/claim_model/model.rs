//! The rules of a sale as ARCHITECTURE.md tells them, over plain collections and one claim at a time. It knows
//! nothing of batches, scripts or keys: what it and the script agree on, they agree on for different reasons.

use std::collections::{BTreeMap, BTreeSet};

/// A line: index of the SKU, units.
pub type Line = (usize, u32);

/// Idempotency keys and bodies are numbered; a body is its lines.
#[derive(Clone, Debug)]
pub struct Ask {
    pub buyer: usize,
    pub key: usize,
    pub lines: Vec<Line>,
    pub over_rate: bool,
}

/// A [`doorbuster::claim::Decision`] without ids: orders are numbered as they are accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Accepted(usize),
    Duplicate(usize),
    KeyReused,
    OverRate,
    NotYetOpen,
    Paused,
    Closed,
    Limit(usize),
    SoldOut(usize),
    Insufficient(usize, i64),
    BacklogFull,
    Absent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    Scheduled,
    Paused,
    Closed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    Before,
    Within,
    After,
}

/// What the operator has said of the sale.
#[derive(Clone, Debug)]
pub struct Said {
    pub control: Control,
    pub window: Window,
    /// By SKU; those that are not listed have none.
    pub limits: BTreeMap<usize, i64>,
}

#[derive(Clone, Debug)]
pub struct Order {
    pub buyer: usize,
    pub key: usize,
    pub lines: Vec<Line>,
    pub returned: bool,
}

/// What the log must hold, in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Logged {
    Order(usize),
    Said,
    Added(usize, i64),
    Returned(usize),
}

#[derive(Default)]
pub struct Model {
    pub said: Option<Said>,
    /// SKUs without an entry have never had stock.
    pub stock: BTreeMap<usize, i64>,
    pub orders: Vec<Order>,
    pub log: Vec<Logged>,
    pub settled: BTreeSet<usize>,
}

impl Model {
    pub fn has_no_orders(&self, ask: &Ask) -> bool {
        self.orders.iter().all(|order| order.buyer != ask.buyer)
    }

    pub fn decide(&mut self, ask: &Ask, backlog_max: usize) -> Outcome {
        let refusal = self.known(ask).or_else(|| self.refusal(ask, backlog_max));
        if let Some(outcome) = refusal {
            return outcome;
        }
        for (sku, units) in &ask.lines {
            *self.stock.get_mut(sku).unwrap() -= i64::from(*units);
        }
        let number = self.orders.len();
        let Ask { buyer, key, lines, .. } = ask.clone();
        self.orders.push(Order { buyer, key, lines, returned: false });
        self.log.push(Logged::Order(number));
        Outcome::Accepted(number)
    }

    /// Before anything else: no answer may hide an order.
    fn known(&self, ask: &Ask) -> Option<Outcome> {
        let number = self.orders.iter().position(|o| o.buyer == ask.buyer && o.key == ask.key)?;
        let same_body = self.orders[number].lines == ask.lines;
        Some(if same_body { Outcome::Duplicate(number) } else { Outcome::KeyReused })
    }

    fn refusal(&self, ask: &Ask, backlog_max: usize) -> Option<Outcome> {
        if ask.over_rate {
            return Some(Outcome::OverRate);
        }
        let Some(said) = &self.said else { return Some(Outcome::Absent) };
        if said.control == Control::Closed || said.window == Window::After {
            return Some(Outcome::Closed);
        }
        if said.control == Control::Paused {
            return Some(Outcome::Paused);
        }
        if said.window == Window::Before {
            return Some(Outcome::NotYetOpen);
        }
        let over = |(sku, units): &&Line| {
            said.limits.get(sku).is_some_and(|limit| self.held(ask.buyer, *sku) + i64::from(*units) > *limit)
        };
        if let Some((sku, _)) = ask.lines.iter().find(over) {
            return Some(Outcome::Limit(*sku));
        }
        for (sku, units) in &ask.lines {
            match self.stock.get(sku) {
                None => return Some(Outcome::Absent),
                Some(0) => return Some(Outcome::SoldOut(*sku)),
                Some(left) if *left < i64::from(*units) => return Some(Outcome::Insufficient(*sku, *left)),
                Some(_) => {}
            }
        }
        (self.log.len() - self.settled.len() >= backlog_max).then_some(Outcome::BacklogFull)
    }

    /// Units that count against a limit: not those that went back.
    fn held(&self, buyer: usize, sku: usize) -> i64 {
        let active = self.orders.iter().filter(|order| order.buyer == buyer && !order.returned);
        active.flat_map(|o| &o.lines).filter(|line| line.0 == sku).map(|line| i64::from(line.1)).sum()
    }

    /// Whether stock can change: Redis must have heard of the sale.
    pub fn add(&mut self, sku: usize, units: i64) -> bool {
        if self.said.is_none() {
            return false;
        }
        *self.stock.entry(sku).or_default() += units;
        self.log.push(Logged::Added(sku, units));
        true
    }

    /// Whether the units came back by this call: an order's come back once.
    pub fn take_back(&mut self, number: usize) -> bool {
        let order = &mut self.orders[number];
        if std::mem::replace(&mut order.returned, true) {
            return false;
        }
        for (sku, units) in &order.lines {
            *self.stock.get_mut(sku).unwrap() += i64::from(*units);
        }
        self.log.push(Logged::Returned(number));
        true
    }

    /// How many of these entries (by place in the log) were not settled before.
    pub fn settle(&mut self, places: &[usize]) -> usize {
        places.iter().filter(|place| self.settled.insert(**place)).count()
    }
}
