//! The entry of a sale's definition.

use serde_json::Value;

use crate::catalogue::SaleId;
use crate::log::EntryError;
use crate::order_id::Mark;

/// A version of a sale, as the database had it when this partition was told: what another database needs to take the
/// sale's orders. Its fields are those of `sql/stock/unpublished.sql`, and read by `sql/persist/sale.sql` alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SaleEntry {
    /// Its mark.
    pub mark: Mark,
    /// Which sale.
    pub sale: SaleId,
    /// Rises with every change.
    pub version: i64,
    /// A JSON object.
    pub definition: Value,
}

impl SaleEntry {
    /// The value of the field `sale`.
    pub fn encode(&self) -> String {
        // Spaces stand in strings alone, where JSON knows another way to write them: the definition stays one word.
        let definition = self.definition.to_string().replace(' ', "\\u0020");
        format!("{} {} {} {definition}", self.mark, self.sale, self.version)
    }

    pub(super) fn read_definition(word: &str) -> Result<Value, EntryError> {
        serde_json::from_str(word).ok().filter(Value::is_object).ok_or(EntryError::Word("definition"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::log::LogEntry;

    #[test]
    fn a_sale_reads_back_whatever_its_name() {
        let name = "Friday \\ \"drop\" \u{a0}\n \\u0020";
        let sale = SaleEntry {
            mark: Mark::random(),
            sale: "demo".parse().unwrap(),
            version: 3,
            definition: json!({ "name": name, "items": [{ "sku": "TEE", "price": 1999 }] }),
        };
        let text = sale.encode();
        assert_eq!(text.split(' ').count(), 4, "{text}");
        assert!(text.starts_with(&format!("{} demo 3 {{", sale.mark)));
        assert_eq!(LogEntry::decode("sale", &text), Ok(LogEntry::Sale(sale)));
        for (bad, name) in [("00000000 demo 1 []", "definition"), ("00000000 demo x {}", "version")] {
            assert_eq!(LogEntry::decode("sale", bad), Err(EntryError::Word(name)));
        }
    }
}
