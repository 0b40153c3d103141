//! What the storage takes for a sync.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use super::LimitError;
use crate::drive::Sample;

/// As much as a batch of claims adds to the append-only file.
const BYTES: usize = 16 * 1024;
const SYNCS_MAX: usize = 2000;

/// Appends and syncs, one after the other, for at most a fifth of the time and at most 2,000 times.
///
/// # Errors
/// [`LimitError::Io`].
pub fn fdatasync(dir: &Path, mut sample: Sample, seconds: f64) -> Result<Sample, LimitError> {
    let io = |source| LimitError::Io { doing: "sync a file", source };
    let mut file = tempfile::tempfile_in(dir).map_err(io)?;
    let block = vec![b'x'; BYTES];
    let end = Instant::now() + Duration::from_secs_f64(seconds / 5.0);
    let mut times_us = Vec::with_capacity(SYNCS_MAX);
    while times_us.len() < SYNCS_MAX && (Instant::now() < end || times_us.is_empty()) {
        file.write_all(&block).map_err(io)?;
        let begin = Instant::now();
        file.sync_data().map_err(io)?;
        times_us.push(begin.elapsed().as_micros() as f64);
    }
    times_us.sort_by(f64::total_cmp);
    sample.set("fdatasync_p50_us", times_us[times_us.len() / 2]);
    sample.set("fdatasync_p99_us", times_us[times_us.len() * 99 / 100]);
    Ok(sample)
}
