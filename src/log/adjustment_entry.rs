//! The entry of an operator's change of an allotment.

use crate::log::{EntryError, StockEntry};

/// Units that an operator has added to a running sale, or taken from it: with who and why, so that a database which has
/// lost that learns of it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdjustmentEntry {
    /// What changed; units are below zero where they were taken away.
    pub stock: StockEntry,
    /// Who.
    pub actor: String,
    /// Why.
    pub reason: String,
}

impl AdjustmentEntry {
    /// The value of the field `adjustment`.
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
    use crate::log::LogEntry;
    use crate::order_id::Mark;

    #[test]
    fn an_adjustment_reads_back_whoever_made_it() {
        for (units, reason) in [(5, "more came"), (-5, "broken \\ \"in\" \u{a0}transit\n \\u0020")] {
            let entry = AdjustmentEntry {
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
        let bad = "00000000 demo adjust:demo:0:k TEE:-5 [\"ada\"]";
        assert_eq!(LogEntry::decode("adjustment", bad), Err(EntryError::Word("actor and reason")));
    }
}
