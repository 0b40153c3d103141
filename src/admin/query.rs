//! The query of a list: `after` and `limit`.

use std::fmt::Display;
use std::str::FromStr;

use super::AdminError;
use crate::catalogue::PAGE_MAX;

const PAGE_DEFAULT: u16 = 100;

/// Which page of a list is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PageQuery<Key> {
    pub after: Option<Key>,
    pub limit: u16,
}

impl<Key: FromStr<Err: Display>> PageQuery<Key> {
    /// Reads `after=KEY&limit=N`. Keys need no percent-encoding, so nothing is decoded.
    pub fn read(query: Option<&str>) -> Result<Self, AdminError> {
        let mut page = Self { after: None, limit: PAGE_DEFAULT };
        for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("after", key)) => {
                    let key =
                        key.parse().map_err(|error| AdminError::Malformed(format!("after: {error}")))?;
                    page.after = Some(key);
                }
                Some(("limit", number)) => {
                    let limit = number.parse().ok().filter(|limit| (1..=PAGE_MAX).contains(limit));
                    page.limit = limit.ok_or_else(|| {
                        AdminError::Malformed(format!("limit must be a whole number from 1 to {PAGE_MAX}"))
                    })?;
                }
                _ => return Err(AdminError::Malformed("a list takes only after=KEY and limit=N".into())),
            }
        }
        Ok(page)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::catalogue::SaleId;

    #[test]
    fn reads_only_what_a_list_takes() {
        let read = PageQuery::<SaleId>::read;
        assert_eq!(read(None), Ok(PageQuery { after: None, limit: 100 }));
        let page = read(Some("limit=5&after=demo")).unwrap();
        assert_eq!((page.after.unwrap().as_str(), page.limit), ("demo", 5));
        for bad in ["limit=0", "limit=1001", "limit=x", "after=A B", "page=2", "after"] {
            assert!(matches!(read(Some(bad)), Err(AdminError::Malformed(_))), "{bad}");
        }
    }
}
