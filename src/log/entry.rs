//! What an entry of the log says. One field per entry; its value is words separated by single spaces,
//! the first of them the mark. No word can contain a space, so nothing is escaped and an operator
//! can read the log with `redis-cli`.

use std::collections::HashSet;
use std::str::FromStr;

use crate::buyer::BuyerId;
use crate::catalogue::{SaleId, Sku};
use crate::claim::IdempotencyKey;
use crate::log::lines::{Lines, NO_LINES, read_lines, write_lines};
use crate::log::{DecidedEntry, EntryId, SaleEntry};
use crate::order::CancelReason;
use crate::order_id::{Mark, OrderId};

/// One entry of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogEntry {
    /// `order`: a claim succeeded.
    Order(OrderEntry),
    /// `sale`: a sale was published, or changed.
    Sale(SaleEntry),
    /// `allotment`: units were added to a sale.
    Allotment(StockEntry),
    /// `adjustment`: an operator changed an allotment.
    Adjustment(DecidedEntry),
    /// `confirmation`: an order was confirmed, after it had waited for its payment. Changes no stock.
    Confirmation {
        /// Which order.
        order: OrderId,
        /// Who says so; its cause is [`StockEntry::cause_of_confirmation`].
        decided: DecidedEntry,
    },
    /// `return`: the units of a cancelled order are for sale again.
    Return {
        /// Whose units.
        order: OrderId,
        /// Why it was cancelled.
        reason: CancelReason,
        /// What came back, maybe nothing; its cause is [`StockEntry::cause_of_return`].
        stock: StockEntry,
    },
    /// `opening`: a keeper opened the partition; everything up to `base` was in Postgres then.
    Opening {
        /// Its mark.
        mark: Mark,
        /// The epoch it opened.
        epoch: i64,
        /// The persisted watermark at that time.
        base: EntryId,
    },
}

/// The entry of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderEntry {
    /// The random part of the order's id.
    pub mark: Mark,
    /// Of the request, see [`crate::claim::fingerprint`].
    pub fingerprint: u64,
    /// What it was sold in.
    pub sale: SaleId,
    /// Who bought.
    pub buyer: BuyerId,
    /// Under which key.
    pub key: IdempotencyKey,
    /// What, and how many.
    pub lines: Lines,
}

/// The entry of a change of stock that is no order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StockEntry {
    /// Its mark.
    pub mark: Mark,
    /// The sale whose stock changed.
    pub sale: SaleId,
    /// Why: unique, so that it happens once.
    pub cause: String,
    /// Units added; below zero where an adjustment has taken them away.
    pub lines: Vec<(Sku, i64)>,
}

/// An entry that cannot be read. It goes to the dead letters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// Not one field, or one that is not known.
    #[error("unknown kind of entry {0:?}: written by a newer version, or not by Doorbuster")]
    Kind(String),
    /// A word is missing or wrong.
    #[error("the entry's {0} is missing or wrong")]
    Word(&'static str),
}

const HEX: &[u8; 16] = b"0123456789abcdef";

impl OrderEntry {
    /// Its lines as `{"sku": units}`.
    pub(crate) fn lines_json(&self) -> serde_json::Value {
        self.lines.iter().map(|(sku, units)| (sku.as_str(), *units)).collect()
    }

    /// Whether it has two lines of one item, as no claim has.
    pub(crate) fn names_an_item_twice(&self) -> bool {
        let mut seen = HashSet::new();
        self.lines.len() > 1 && !self.lines.iter().all(|(sku, _)| seen.insert(sku))
    }

    /// Writes the value of the field `order` behind `text`. Not from `self`: the claim path builds it from borrowed parts.
    pub fn write(
        text: &mut String,
        mark: Mark,
        fingerprint: u64,
        sale: &SaleId,
        buyer: &BuyerId,
        key: &IdempotencyKey,
        lines: &[(Sku, u32)],
    ) {
        // By hand: this is done for every claim, and the formatting machinery costs more than the rest of it.
        text.push_str(str::from_utf8(&mark.text()).unwrap_or_default());
        text.push(' ');
        let fingerprint: [u8; 16] =
            std::array::from_fn(|digit| HEX[(fingerprint >> (60 - 4 * digit) & 15) as usize]);
        text.push_str(str::from_utf8(&fingerprint).unwrap_or_default());
        for word in [sale.as_str(), buyer.as_str(), key.as_str()] {
            text.push(' ');
            text.push_str(word);
        }
        text.push(' ');
        write_lines(text, lines);
    }
}

impl StockEntry {
    /// The cause under which an order's units come back, once.
    pub fn cause_of_return(order: OrderId) -> String {
        format!("return:{order}")
    }

    /// The cause under which the log is told, once, that an order was confirmed.
    pub fn cause_of_confirmation(order: OrderId) -> String {
        format!("confirm:{order}")
    }

    /// The value of the field `allotment`.
    pub fn encode(&self) -> String {
        let mut text = format!("{} {} {} ", self.mark, self.sale, self.cause);
        match self.lines.as_slice() {
            [] => text.push_str(NO_LINES),
            lines => write_lines(&mut text, lines),
        }
        text
    }

    /// The value of the field `return`.
    pub fn encode_return(&self, reason: CancelReason) -> String {
        format!("{} {reason}", self.encode())
    }
}

impl LogEntry {
    /// The field of an order.
    pub const ORDER: &str = "order";

    /// The value of the field `opening`.
    pub fn encode_opening(mark: Mark, epoch: i64, base: EntryId) -> String {
        format!("{mark} {epoch} {base}")
    }

    /// Reads the one field of an entry.
    ///
    /// # Errors
    /// [`EntryError`] where it is not what a Doorbuster of this version writes.
    pub fn decode(field: &str, value: &str) -> Result<Self, EntryError> {
        let mut words = value.split(' ');
        let entry = match field {
            Self::ORDER => LogEntry::Order(OrderEntry {
                mark: parsed(&mut words, "mark")?,
                fingerprint: u64::from_str_radix(word(&mut words, "fingerprint")?, 16)
                    .map_err(|_| EntryError::Word("fingerprint"))?,
                sale: parsed(&mut words, "sale")?,
                buyer: BuyerId::parse(word(&mut words, "buyer")?.as_bytes())
                    .map_err(|_| EntryError::Word("buyer"))?,
                key: IdempotencyKey::from_content(word(&mut words, "key")?)
                    .map_err(|_| EntryError::Word("key"))?,
                lines: read_lines(word(&mut words, "lines")?)?,
            }),
            "sale" => LogEntry::Sale(SaleEntry {
                mark: parsed(&mut words, "mark")?,
                sale: parsed(&mut words, "sale")?,
                version: parsed(&mut words, "version")?,
                definition: SaleEntry::read_definition(word(&mut words, "definition")?)?,
            }),
            "allotment" => LogEntry::Allotment(read_stock(&mut words)?),
            "adjustment" => LogEntry::Adjustment(read_decided(&mut words)?),
            "confirmation" => {
                let decided = read_decided(&mut words)?;
                let order = decided.stock.cause.strip_prefix("confirm:").and_then(|id| id.parse().ok());
                LogEntry::Confirmation { order: order.ok_or(EntryError::Word("cause"))?, decided }
            }
            "return" => {
                let stock = read_stock(&mut words)?;
                let order = stock.cause.strip_prefix("return:").and_then(|id| id.parse().ok());
                let order = order.ok_or(EntryError::Word("cause"))?;
                LogEntry::Return { order, reason: parsed(&mut words, "reason")?, stock }
            }
            "opening" => LogEntry::Opening {
                mark: parsed(&mut words, "mark")?,
                epoch: parsed(&mut words, "epoch")?,
                base: parsed(&mut words, "base")?,
            },
            other => return Err(EntryError::Kind(other.chars().take(60).collect())),
        };
        match words.next() {
            None => Ok(entry),
            Some(_) => Err(EntryError::Word("end")),
        }
    }
}

fn word<'a>(words: &mut std::str::Split<'a, char>, name: &'static str) -> Result<&'a str, EntryError> {
    words.next().filter(|word| !word.is_empty()).ok_or(EntryError::Word(name))
}

fn parsed<T: FromStr>(words: &mut std::str::Split<'_, char>, name: &'static str) -> Result<T, EntryError> {
    word(words, name)?.parse().map_err(|_| EntryError::Word(name))
}

fn read_decided(words: &mut std::str::Split<'_, char>) -> Result<DecidedEntry, EntryError> {
    let stock = read_stock(words)?;
    let (actor, reason) = DecidedEntry::read_who(word(words, "actor and reason")?)?;
    Ok(DecidedEntry { stock, actor, reason })
}

fn read_stock(words: &mut std::str::Split<'_, char>) -> Result<StockEntry, EntryError> {
    Ok(StockEntry {
        mark: parsed(words, "mark")?,
        sale: parsed(words, "sale")?,
        cause: word(words, "cause")?.to_owned(),
        lines: match word(words, "lines")? {
            NO_LINES => Vec::new(),
            lines => read_lines(lines)?,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sku(text: &str) -> Sku {
        text.parse().unwrap()
    }

    #[test]
    fn an_order_reads_back() {
        let order = OrderEntry {
            mark: Mark::random(),
            fingerprint: 0xdead_beef,
            sale: "demo".parse().unwrap(),
            buyer: BuyerId::parse(b"alice").unwrap(),
            key: IdempotencyKey::parse(b"k-1").unwrap(),
            lines: vec![(sku("TEE"), 2), (sku("MUG"), 1)],
        };
        let OrderEntry { mark, fingerprint, sale, buyer, key, lines } = order.clone();
        let mut text = String::new();
        OrderEntry::write(&mut text, mark, fingerprint, &sale, &buyer, &key, &lines);
        assert_eq!(text, format!("{mark} 00000000deadbeef demo alice k-1 TEE:2,MUG:1"));
        assert_eq!(LogEntry::decode("order", &text), Ok(LogEntry::Order(order)));
    }

    #[test]
    fn a_return_names_its_order() {
        let order =
            OrderId::new(EntryId { ms: 9, seq: 1 }, crate::partition::Partition::new(0), Mark::random());
        let stock = StockEntry {
            mark: Mark::random(),
            sale: "demo".parse().unwrap(),
            cause: StockEntry::cause_of_return(order),
            lines: vec![(sku("TEE"), 2)],
        };
        let reason = CancelReason::Duplicate;
        let text = stock.encode_return(reason);
        assert_eq!(
            LogEntry::decode("return", &text),
            Ok(LogEntry::Return { order, reason, stock: stock.clone() })
        );
        let nothing = StockEntry { lines: vec![], ..stock.clone() };
        assert_eq!(
            LogEntry::decode("return", &nothing.encode_return(reason)),
            Ok(LogEntry::Return { order, reason, stock: nothing })
        );
        let orphan = StockEntry { cause: "other".into(), ..stock };
        assert_eq!(LogEntry::decode("return", &orphan.encode_return(reason)), Err(EntryError::Word("cause")));
    }

    #[test]
    fn an_opening_reads_back() {
        let (mark, base) = (Mark::random(), EntryId { ms: 7, seq: 3 });
        let text = LogEntry::encode_opening(mark, 12, base);
        assert_eq!(LogEntry::decode("opening", &text), Ok(LogEntry::Opening { mark, epoch: 12, base }));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let good = "00000000 00000000deadbeef demo alice k-1 TEE:2";
        assert!(LogEntry::decode("order", good).is_ok());
        for (bad, name) in [
            ("", "mark"),
            ("0000000U 0 demo alice k TEE:1", "mark"),
            ("00000000 zz demo alice k TEE:1", "fingerprint"),
            ("00000000 0 Demo alice k TEE:1", "sale"),
            ("00000000 0 demo al\0ce k TEE:1", "buyer"),
            ("00000000 0 demo alice  TEE:1", "key"),
            ("00000000 0 demo alice k TEE:0", "lines"),
            ("00000000 0 demo alice k TEE", "lines"),
            ("00000000 0 demo alice k TEE:1 more", "end"),
        ] {
            assert_eq!(LogEntry::decode("order", bad), Err(EntryError::Word(name)), "{bad}");
        }
        assert_eq!(LogEntry::decode("poison", "x"), Err(EntryError::Kind("poison".into())));
    }
}
