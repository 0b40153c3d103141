//! Entries of what somebody decided, which the log has to tell with who and why.

use crate::log::{EntryError, StockEntry};

/// Units that an operator has added to a running sale, or taken from it; or an order that was confirmed. With who and why,
/// so that a database which has lost that learns of it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecidedEntry {
    /// What changed; units are below zero where they were taken away, and there are none where an order was confirmed.
    pub stock: StockEntry,
    /// Who.
    pub actor: String,
    /// Why.
    pub reason: String,
}

impl DecidedEntry {
    /// The value of the field `adjustment` or `confirmation`.
    pub fn encode(&self) -> String {
        // Spaces stand in strings alone, where JSON knows another way to write them: it stays one word.
        let who = serde_json::json!([self.actor, self.reason]).to_string().replace(' ', "\\u0020");
        format!("{} {who}", self.stock.encode())
    }

    /// Whether units were taken away.
    pub fn lowers(&self) -> bool {
        self.stock.lines.iter().any(|(_, units)| *units < 0)
    }

    pub(super) fn read_who(word: &str) -> Result<(String, String), EntryError> {
        serde_json::from_str(word).map_err(|_| EntryError::Word("actor and reason"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::{EntryId, LogEntry};
    use crate::order_id::{Mark, OrderId};
    use crate::partition::Partition;

    #[test]
    fn an_adjustment_reads_back_whoever_made_it() {
        for (units, reason) in [(5, "more came"), (-5, "broken \\ \"in\" \u{a0}transit\n \\u0020")] {
            let entry = DecidedEntry {
                stock: StockEntry {
                    mark: Mark::random(),
                    sale: "demo".parse().unwrap(),
                    cause: "adjust:demo:0:k-1".into(),
                    lines: vec![("TEE".parse().unwrap(), units)],
                },
                actor: "cli: ada l.".into(),
                reason: reason.into(),
            };
            let text = entry.encode();
            assert_eq!(text.split(' ').count(), 5, "{text}");
            assert_eq!(entry.lowers(), units < 0);
            assert_eq!(LogEntry::decode("adjustment", &text), Ok(LogEntry::Adjustment(entry)));
        }
        let order = OrderId::new(EntryId { ms: 9, seq: 1 }, Partition::new(0), Mark::random());
        let decided = DecidedEntry {
            stock: StockEntry {
                mark: Mark::random(),
                sale: "demo".parse().unwrap(),
                cause: StockEntry::cause_of_confirmation(order),
                lines: vec![],
            },
            actor: "payment".into(),
            reason: "paid".into(),
        };
        let text = decided.encode();
        assert_eq!(
            LogEntry::decode("confirmation", &text),
            Ok(LogEntry::Confirmation { order, decided: decided.clone() })
        );
        assert_eq!(LogEntry::decode("adjustment", &text), Ok(LogEntry::Adjustment(decided)));
        let bad = "00000000 demo adjust:demo:0:k TEE:-5 [\"ada\"]";
        assert_eq!(LogEntry::decode("adjustment", bad), Err(EntryError::Word("actor and reason")));
    }
}
