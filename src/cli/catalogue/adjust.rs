//! `doorbuster sale adjust`

use std::io::{self, Write};

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
        key: args.key.unwrap_or_else(drawn_key),
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

/// A key for this call, told before anything is asked: whoever gets no answer needs it.
fn drawn_key() -> AdjustmentKey {
    let key = AdjustmentKey::random();
    // Nothing is left to do where the terminal is gone.
    let _ = writeln!(
        io::stderr(),
        "key {key}: if no answer comes, repeat this with --key {key}, which changes it once"
    );
    key
}
