//! The text of a definition: JSON or TOML, both read into the same tree.

use serde_json::{Map, Value};

/// A document that is not even JSON or TOML.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// With line and column.
    #[error("this is not JSON: {0}")]
    Json(String),
    /// With line and column.
    #[error("this is not TOML: {0}")]
    Toml(String),
}

/// Reads JSON (RFC 8259).
///
/// # Errors
/// [`DocumentError::Json`] with the place of the first mistake.
pub fn read_json(text: &[u8]) -> Result<Value, DocumentError> {
    serde_json::from_slice(text).map_err(|error| DocumentError::Json(error.to_string()))
}

/// Reads TOML 1.0; its times become RFC 3339 texts.
///
/// # Errors
/// [`DocumentError::Toml`] with the place of the first mistake.
pub fn read_toml(text: &str) -> Result<Value, DocumentError> {
    let table: toml::Table =
        text.parse().map_err(|error: toml::de::Error| DocumentError::Toml(error.to_string()))?;
    Ok(table_to_json(table))
}

fn table_to_json(table: toml::Table) -> Value {
    Value::Object(table.into_iter().map(|(name, value)| (name, to_json(value))).collect::<Map<_, _>>())
}

/// The parser limits the depth, and with it this recursion.
fn to_json(value: toml::Value) -> Value {
    match value {
        toml::Value::String(text) => Value::String(text),
        toml::Value::Integer(number) => number.into(),
        // Infinity and NaN have no JSON form; as text they are refused by every numeric field.
        toml::Value::Float(number) => {
            serde_json::Number::from_f64(number).map_or_else(|| number.to_string().into(), Value::Number)
        }
        toml::Value::Boolean(flag) => flag.into(),
        toml::Value::Datetime(time) => time.to_string().into(),
        toml::Value::Array(list) => list.into_iter().map(to_json).collect(),
        toml::Value::Table(table) => table_to_json(table),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn both_forms_give_the_same_tree() {
        let toml =
            read_toml("at = 2026-11-27T09:00:00Z\nn = 3\nf = 1.5\nb = true\n[[items]]\nsku = 'A'").unwrap();
        let json =
            read_json(br#"{"at":"2026-11-27T09:00:00Z","n":3,"f":1.5,"b":true,"items":[{"sku":"A"}]}"#);
        assert_eq!(Ok(toml), json);
    }

    #[test]
    fn a_mistake_is_placed() {
        assert!(read_json(b"{\n\"a\": }").unwrap_err().to_string().contains("line 2"));
        assert!(read_toml("a = 1\nb = ").unwrap_err().to_string().contains("line 2"));
    }
}
