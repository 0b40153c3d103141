//! The names operators give: parsed once at the edge, never re-validated inside.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// An identifier was refused; the message says what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Not a sale id.
    #[error(
        "a sale id is 1 to 40 characters of a-z, 0-9 and '-', beginning with a letter or digit, not {0:?}"
    )]
    Sale(String),
    /// Not a SKU.
    #[error(
        "a SKU is 1 to 64 characters of A-Z, a-z, 0-9, '.', '_' and '-', beginning with a letter or digit, not {0:?}"
    )]
    Sku(String),
}

/// A sale's name in URLs, keys and rows: 1 to 40 of `a-z 0-9 -`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SaleId(Arc<str>);

/// A stock keeping unit: 1 to 64 of `A-Z a-z 0-9 . _ -`. No comma, colon or space, so that
/// `SKU:3,SKU:1` needs no escaping in the log.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sku(Arc<str>);

impl SaleId {
    /// Longest allowed, in bytes.
    pub const LENGTH_MAX: usize = 40;

    fn allows(text: &str) -> bool {
        let tail = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
        text.len() <= Self::LENGTH_MAX && !text.starts_with('-') && !text.is_empty() && text.bytes().all(tail)
    }
}

impl Sku {
    /// Longest allowed, in bytes.
    pub const LENGTH_MAX: usize = 64;

    fn allows(text: &str) -> bool {
        let tail = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-');
        text.len() <= Self::LENGTH_MAX
            && text.bytes().next().is_some_and(|c| c.is_ascii_alphanumeric())
            && text.bytes().all(tail)
    }
}

macro_rules! name_type {
    ($name:ident, $error:ident) => {
        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                if Self::allows(text) {
                    Ok(Self(text.into()))
                } else {
                    Err(IdError::$error(text.chars().take(80).collect()))
                }
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(&self.0)
            }
        }
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
name_type!(SaleId, Sale);
name_type!(Sku, Sku);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sale_ids_are_slugs() {
        for good in ["a", "demo", "summer-2026", "0-0", &"x".repeat(40)] {
            assert!(good.parse::<SaleId>().is_ok(), "{good}");
        }
        for bad in ["", "-a", "Demo", "a b", "a_b", "a:b", "ä", &"x".repeat(41)] {
            assert!(bad.parse::<SaleId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn skus_never_need_escaping_in_the_log() {
        for good in ["A", "TEE-RED.XL_2", "9", &"x".repeat(64)] {
            assert!(good.parse::<Sku>().is_ok(), "{good}");
        }
        for bad in ["", ".a", "-a", "a b", "a:b", "a,b", "a;b", "é", &"x".repeat(65)] {
            assert!(bad.parse::<Sku>().is_err(), "{bad}");
        }
    }
}
