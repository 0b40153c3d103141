//! `doorbuster migrate`.

use std::io::{self, Write};

use super::CliError;
use super::runtime::block_on;
use crate::config::Settings;
use crate::postgres::{Migrated, connect_pool, ensure_partitions, migrate};
use crate::telemetry;

/// Migrates, as each node does at its start; for those who want it done, and seen, before.
pub(super) fn run(settings: &Settings) -> Result<(), CliError> {
    telemetry::init(settings)?;
    let migrated = block_on(bring_up_to_date(settings))??;
    Ok(report(&migrated, settings.partitions, &mut io::stdout())?)
}

pub(super) async fn bring_up_to_date(settings: &Settings) -> Result<Migrated, CliError> {
    let timeout = settings.postgres_timeout_ms.duration();
    let url = settings.postgres_url.expose();
    let migrated = migrate(url, timeout).await?;
    let pool = connect_pool(url, 1, timeout)?;
    ensure_partitions(&pool, settings.partitions).await?;
    Ok(migrated)
}

fn report(migrated: &Migrated, partitions: u8, out: &mut impl Write) -> io::Result<()> {
    for migration in &migrated.applied {
        writeln!(out, "applied {migration}")?;
    }
    let done = if migrated.applied.is_empty() { "nothing to apply: " } else { "" };
    let s = if partitions == 1 { "" } else { "s" };
    writeln!(out, "{done}the schema is at version {}, with {partitions} partition{s}", migrated.version)
}
