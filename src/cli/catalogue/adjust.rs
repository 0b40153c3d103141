//! `doorbuster sale adjust`

use std::io::Write;

use serde_json::json;

use super::args::AdjustArgs;
use super::{CatalogueAccess, CatalogueCliError, write_json};
use crate::catalogue::{Adjustment, AdjustmentKey, CatalogueStore};

pub(super) async fn run(
    store: &CatalogueStore,
    access: &CatalogueAccess,
    args: AdjustArgs,
    out: &mut (impl Write + Send),
) -> Result<(), CatalogueCliError> {
    let by = args.by.trim();
    let asked = Adjustment {
        sale: args.id,
        sku: args.sku,
        delta: args.delta,
        key: args.key.unwrap_or_else(AdjustmentKey::random),
        actor: if by.is_empty() { "cli".to_owned() } else { format!("cli: {by}") },
        reason: args.reason,
    };
    let adjusted = store.adjust(&asked, access.publish_wait).await?;
    if args.output.json {
        write_json(out, &json!({ "adjusted": adjusted, "key": asked.key.as_str() }))?;
    } else {
        writeln!(out, "sale {}: {} {:+} (key {})", asked.sale, asked.sku, adjusted.applied, asked.key)?;
        if adjusted.pending != 0 {
            writeln!(
                out,
                "not applied yet: {:+}; each partition takes its share once it is open",
                adjusted.pending
            )?;
        }
    }
    match adjusted.refused {
        0 => Ok(()),
        refused => Err(CatalogueCliError::Sold { units: refused.abs() }),
    }
}
