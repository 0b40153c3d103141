//! `{"items": [{"sku": "TEE", "quantity": 1}]}`

use std::borrow::Cow;

use serde::Deserialize;

use crate::catalogue::Sku;
use crate::claim::sorted_lines;
use crate::http::{Problem, ProblemKind};
use crate::log::Lines;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body<'a> {
    #[serde(borrow)]
    items: Vec<Item<'a>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Item<'a> {
    #[serde(borrow)]
    sku: Cow<'a, str>,
    quantity: u64,
}

/// The lines that a body asks for, sorted by SKU.
pub(super) fn read(body: &[u8]) -> Result<Lines, Problem> {
    let malformed = |detail: String| Problem::new(ProblemKind::MalformedRequest).with_detail(detail);
    let body: Body<'_> = serde_json::from_slice(body).map_err(|error| {
        malformed(format!("{error}; send {{\"items\":[{{\"sku\":\"...\",\"quantity\":1}}]}}"))
    })?;
    let asked = body
        .items
        .into_iter()
        .enumerate()
        .map(|(index, item)| match item.sku.parse::<Sku>() {
            Ok(sku) => Ok((sku, item.quantity)),
            Err(error) => Err(malformed(format!("items[{index}].sku: {error}"))),
        })
        .collect::<Result<Vec<_>, _>>()?;
    sorted_lines(asked).map_err(|error| malformed(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_lines() {
        let lines =
            read(br#" {"items": [{"quantity": 2, "sku": "B"}, {"sku": "A", "quantity": 1}]} "#).unwrap();
        assert_eq!(lines, [("A".parse().unwrap(), 1), ("B".parse().unwrap(), 2)]);
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        for bad in [
            "",
            "[]",
            "{}",
            r#"{"items":[]}"#,
            r#"{"items":[{"sku":"A"}]}"#,
            r#"{"items":[{"sku":"A","quantity":0}]}"#,
            r#"{"items":[{"sku":"A","quantity":-1}]}"#,
            r#"{"items":[{"sku":"A","quantity":1.5}]}"#,
            r#"{"items":[{"sku":"A","quantity":1,"qty":2}]}"#,
            r#"{"items":[{"sku":"a b","quantity":1}]}"#,
            r#"{"items":[{"sku":"A","quantity":1}],"price":1}"#,
            r#"{"items":[{"sku":"A","quantity":1}]} x"#,
        ] {
            assert_eq!(read(bad.as_bytes()).unwrap_err().kind(), ProblemKind::MalformedRequest, "{bad}");
        }
    }
}
