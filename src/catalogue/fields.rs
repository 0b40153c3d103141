//! Reads a definition field by field and collects every error, so that its author corrects it once.

use std::cell::RefCell;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};

use super::money::{self, PRICE_MAX};

/// A report lists this many errors at most; the rest shows once these are corrected.
pub const FIELD_ERRORS_MAX: usize = 100;

/// What is wrong with one field of a definition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// Where: `items[2].stock`; `(document)` for the whole.
    pub field: String,
    /// What is allowed there.
    pub message: String,
}

impl Display for FieldError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

/// Collects the errors of one definition.
#[derive(Default)]
pub(super) struct Report(RefCell<Vec<FieldError>>);

impl Report {
    pub fn add(&self, field: impl Into<String>, message: impl Display) {
        let mut errors = self.0.borrow_mut();
        if errors.len() < FIELD_ERRORS_MAX {
            errors.push(FieldError { field: field.into(), message: message.to_string() });
        }
    }

    /// The value, if nothing was wrong. A reader returns `None` only where it has added an error, or where
    /// an optional field is absent.
    pub fn finish<T>(self, value: Option<T>) -> Result<T, Vec<FieldError>> {
        let errors = self.0.into_inner();
        match value {
            Some(value) if errors.is_empty() => Ok(value),
            Some(_) => Err(errors),
            None if errors.is_empty() => {
                Err(vec![FieldError { field: "(document)".into(), message: "is incomplete".into() }])
            }
            None => Err(errors),
        }
    }
}

/// One object of the definition, and where it stands in it.
pub(super) struct Object<'a> {
    pub report: &'a Report,
    path: String,
    map: &'a Map<String, Value>,
}

impl<'a> Object<'a> {
    /// Opens `value`, whose fields may be `known` and no others.
    pub fn open(report: &'a Report, path: &str, value: &'a Value, known: &[&str]) -> Option<Self> {
        let Value::Object(map) = value else {
            let field = if path.is_empty() { "(document)" } else { path };
            report.add(field, "must be an object with named fields");
            return None;
        };
        let object = Self { report, path: path.to_owned(), map };
        for name in map.keys().filter(|name| !known.contains(&name.as_str())) {
            object.fault(name, unknown_field(name, known));
        }
        Some(object)
    }

    /// The full name of one of this object's fields.
    pub fn at(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    pub fn fault(&self, name: &str, message: impl Display) {
        self.report.add(self.at(name), message);
    }

    /// A field's value; `null` is the same as absent.
    pub fn value(&self, name: &str) -> Option<&'a Value> {
        self.map.get(name).filter(|value| !value.is_null())
    }

    /// A field that has to be there.
    pub fn required(&self, name: &str) -> Option<&'a Value> {
        let value = self.value(name);
        if value.is_none() {
            self.fault(name, "is required");
        }
        value
    }

    /// Text of `length` characters. Control characters are refused (a NUL cannot be stored), line breaks
    /// and tabs only where `multiline` is not set.
    pub fn text(
        &self,
        name: &str,
        value: &Value,
        length: RangeInclusive<usize>,
        multiline: bool,
    ) -> Option<String> {
        let Value::String(text) = value else {
            self.fault(name, "must be a text");
            return None;
        };
        let allowed = |c: char| !c.is_control() || (multiline && matches!(c, '\n' | '\r' | '\t'));
        if !length.contains(&text.chars().count()) {
            self.fault(name, format_args!("must have {} to {} characters", length.start(), length.end()));
            return None;
        }
        if !text.chars().all(allowed) {
            self.fault(name, "must not contain control characters");
            return None;
        }
        Some(text.clone())
    }

    /// A text that is read by its own type.
    pub fn parsed<T: FromStr<Err: Display>>(&self, name: &str, value: &Value) -> Option<T> {
        let Value::String(text) = value else {
            self.fault(name, "must be a text");
            return None;
        };
        text.parse().map_err(|error: T::Err| self.fault(name, error)).ok()
    }

    /// A whole number within `allowed`, of `unit`.
    pub fn integer(
        &self,
        name: &str,
        value: &Value,
        allowed: RangeInclusive<i64>,
        unit: &str,
    ) -> Option<i64> {
        match value.as_i64() {
            Some(number) if allowed.contains(&number) => Some(number),
            _ => {
                let (from, to) = (allowed.start(), allowed.end());
                self.fault(
                    name,
                    format_args!(
                        "must be a whole number of {unit} from {from} to {to}, not {}",
                        brief(value)
                    ),
                );
                None
            }
        }
    }

    /// A price: integer minor units, never a float or a text, in which a rounding could hide.
    pub fn price(&self, name: &str) -> Option<i64> {
        let value = self.value(name)?;
        match value.as_i64() {
            Some(price) if (0..=PRICE_MAX).contains(&price) => return Some(price),
            Some(price) if price < 0 => self.fault(name, format_args!("must not be negative, not {price}")),
            Some(_) => self.fault(name, format_args!("must not be above {PRICE_MAX} minor units")),
            None => self.fault(
                name,
                format_args!(
                    "must be a whole number of minor units, e.g. 1999 for 19.99, not {}",
                    brief(value)
                ),
            ),
        }
        None
    }

    /// An ISO 4217 currency code.
    pub fn currency(&self, name: &str) -> Option<iso_currency::Currency> {
        let value = self.value(name)?;
        let known = value.as_str().and_then(money::currency);
        if known.is_none() {
            self.fault(
                name,
                format_args!("must be an ISO 4217 currency code such as EUR or USD, not {}", brief(value)),
            );
        }
        known
    }

    /// A required RFC 3339 time, cut to milliseconds: the precision of Redis' clock in the claim script.
    pub fn time(&self, name: &str) -> Option<Timestamp> {
        let value = self.required(name)?;
        let time = value.as_str().and_then(|text| text.parse::<Timestamp>().ok());
        let cut = time.and_then(|time| Timestamp::from_millisecond(time.as_millisecond()).ok());
        match cut {
            Some(time) if time >= Timestamp::UNIX_EPOCH => Some(time),
            _ => {
                self.fault(
                    name,
                    format_args!(
                        "must be an RFC 3339 time with its offset, e.g. 2026-11-27T09:00:00Z, not {}",
                        brief(value)
                    ),
                );
                None
            }
        }
    }

    /// The elements of a list with their full names; an absent list is empty.
    pub fn list(&self, name: &str, length_max: usize) -> Vec<(String, &'a Value)> {
        match self.value(name) {
            None => Vec::new(),
            Some(Value::Array(list)) if list.len() <= length_max => {
                list.iter().enumerate().map(|(n, value)| (format!("{}[{n}]", self.at(name)), value)).collect()
            }
            Some(Value::Array(list)) => {
                self.fault(name, format_args!("must have at most {length_max} entries, not {}", list.len()));
                Vec::new()
            }
            Some(_) => {
                self.fault(name, "must be a list");
                Vec::new()
            }
        }
    }
}

/// A value as its author wrote it, short enough for a message.
fn brief(value: &Value) -> String {
    const LENGTH_MAX: usize = 40;
    match value {
        Value::Object(_) => "an object".into(),
        Value::Array(_) => "a list".into(),
        other => {
            let text = other.to_string();
            match text.char_indices().nth(LENGTH_MAX) {
                Some((end, _)) => format!("{}…", &text[..end]),
                None => text,
            }
        }
    }
}

fn unknown_field(name: &str, known: &[&str]) -> String {
    let near = known
        .iter()
        .map(|candidate| (strsim::damerau_levenshtein(candidate, name), *candidate))
        .filter(|(distance, candidate)| *distance <= 2 && *distance < candidate.len())
        .min();
    match near {
        Some((_, candidate)) => format!("is not a known field; did you mean {candidate:?}?"),
        None => format!("is not a known field; known are: {}", known.join(", ")),
    }
}
