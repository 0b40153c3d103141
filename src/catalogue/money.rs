//! Prices: whole minor units of an ISO 4217 currency. No float ever holds money here.

use std::fmt;

use iso_currency::Currency;
use serde::{Serialize, Serializer};

/// Highest price in minor units. Times the largest order it still fits 64 bits.
pub const PRICE_MAX: i64 = 1_000_000_000_000;

/// An amount of money. In JSON it is two fields, `price` and `currency`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Money {
    /// Amount in the currency's minor units: 1999 is 19.99 EUR, and 1999 JPY.
    #[serde(rename = "price")]
    pub minor_units: i64,
    /// ISO 4217.
    #[serde(serialize_with = "as_code")]
    pub currency: Currency,
}

/// The currency of an ISO 4217 alphabetic code, upper case.
pub fn currency(code: &str) -> Option<Currency> {
    Currency::from_code(code)
}

fn as_code<S: Serializer>(currency: &Currency, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(currency.code())
}

impl fmt::Display for Money {
    /// For people: `19.99 EUR`, with as many decimals as ISO 4217 gives the currency.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decimals = usize::from(self.currency.exponent().unwrap_or(0));
        let sign = if self.minor_units < 0 { "-" } else { "" };
        let digits = format!("{:0width$}", self.minor_units.unsigned_abs(), width = decimals + 1);
        let (whole, fraction) = digits.split_at(digits.len() - decimals);
        let point = if decimals == 0 { "" } else { "." };
        write!(f, "{sign}{whole}{point}{fraction} {}", self.currency.code())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn shows_the_decimals_of_the_currency() {
        let shown = |minor_units, code| Money { minor_units, currency: currency(code).unwrap() }.to_string();
        assert_eq!(shown(1999, "EUR"), "19.99 EUR");
        assert_eq!(shown(5, "USD"), "0.05 USD");
        assert_eq!(shown(1999, "JPY"), "1999 JPY");
        assert_eq!(shown(1999, "KWD"), "1.999 KWD");
        assert_eq!(shown(0, "EUR"), "0.00 EUR");
    }

    #[test]
    fn knows_only_iso_codes() {
        assert!(currency("EUR").is_some());
        assert!(currency("EURO").is_none());
        assert!(currency("eur").is_none());
    }
}
