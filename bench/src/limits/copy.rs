//! Binary COPY into the engine's tables: what Postgres takes when nothing is asked of it.

use std::ops::Range;
use std::time::Instant;

use doorbuster::config::Settings;
use doorbuster::persist::{COPY_ORDERS, COPY_TYPES};
use futures_util::future::try_join_all;
use futures_util::pin_mut;
use tokio_postgres::Client;
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::LimitError;
use crate::cost::{Processor, spent};
use crate::drive::Sample;
use crate::load::buyer_and_key;
use crate::stage::Engine;

/// For each second of a case: what a row costs depends on how many there are. Two thirds of what gathers in a second while the
/// worker of the case `backlog` is frozen: with a smaller index the limit is rather too high than too low.
const ORDERS_PER_SECOND: f64 = 35_000.0;

/// Copies orders with one line each, so many for each of these seconds, as the engine's workers do in a drain, by its defaults.
///
/// # Errors
/// [`LimitError`].
pub async fn copy(engine: &Engine, mut sample: Sample, seconds: f64) -> Result<Sample, LimitError> {
    let Settings { persist_batch_max, persist_workers, .. } = Settings::default();
    let (batch, sessions) = (persist_batch_max as u64, persist_workers as u64);
    let run = fastrand::u32(..);
    let sale = format!("copy-{run:08x}");
    let processor = Processor::default().with("postgres", engine.servers.postgres.pid()).with_load();
    let before = processor.usage();
    let share = (ORDERS_PER_SECOND * seconds) as u64 / sessions;
    let begin = Instant::now();
    let session = async |number: u64| -> Result<u64, LimitError> {
        let mut db = engine.servers.db().await?;
        let mut copied = 0;
        while copied < share {
            let from = number * 1_000_000_000_000 + copied;
            copy_batch(&mut db, &sale, run, from..from + batch).await?;
            copied += batch;
        }
        Ok(copied)
    };
    let copied: u64 = try_join_all((1..=sessions).map(session)).await?.into_iter().sum();
    let time = begin.elapsed();
    sample.set("orders_per_s", copied as f64 / time.as_secs_f64());
    sample.processor(&spent(&before, &processor.usage()), "order", copied);
    let count = "SELECT count(*) FROM orders WHERE sale_id = $1";
    let stored: i64 = engine.servers.db().await?.query_one(count, &[&sale]).await?.get(0);
    let same = stored.unsigned_abs() == copied;
    let fault = format!("{copied} orders copied, {stored} stored");
    Ok(sample.judged(if same { Vec::new() } else { vec![fault] }))
}

async fn copy_batch(db: &mut Client, sale: &str, run: u32, numbers: Range<u64>) -> Result<(), LimitError> {
    let transaction = db.transaction().await?;
    let writer = BinaryCopyInWriter::new(transaction.copy_in(COPY_ORDERS).await?, &COPY_TYPES);
    pin_mut!(writer);
    // Ids rise with time, as the engine's do: the low bits are the number.
    let id = |number: u64| Uuid::from_u128(u128::from(number) << 40 | u128::from(run));
    for number in numbers {
        let (buyer, key) = buyer_and_key(run, number);
        let row: [&(dyn ToSql + Sync); 10] = [
            &id(number),
            &sale,
            &0_i16,
            &buyer,
            &key,
            &7_i64,
            &"confirmed",
            &["UNIT-0"].as_slice(),
            &[1_i32].as_slice(),
            &[1999_i64].as_slice(),
        ];
        writer.as_mut().write(&row).await?;
    }
    writer.finish().await?;
    Ok(transaction.commit().await?)
}
