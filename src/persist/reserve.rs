//! Which workers read: some always, the others while the log is behind.

use tokio::sync::watch;

/// Workers of a process that read a partition's log all the time. More of them would share a steady stream of orders in
/// smaller batches, each a transaction.
const READERS: usize = 2;

/// The workers of one partition in this process, as they tell each other of the log.
#[derive(Clone)]
pub struct Reserve {
    is_behind: watch::Sender<bool>,
    batch_max: usize,
}

impl Reserve {
    /// Of workers that read about `batch_max` entries at once.
    pub fn new(batch_max: usize) -> Self {
        Self { is_behind: watch::Sender::new(false), batch_max }
    }

    /// A worker has read so many entries that were delivered to nobody before, and maybe left others: then it calls the
    /// reserve. Less than half of a batch lets the reserve rest.
    pub fn has_read(&self, entries: usize, left_others: bool) {
        let is_behind = match entries {
            few if few < self.batch_max.div_ceil(2) => false,
            _ if left_others => true,
            _ => return,
        };
        self.is_behind.send_if_modified(|was| std::mem::replace(was, is_behind) != is_behind);
    }

    /// Waits until this worker is to read: the first of them at once, the others while the log is behind.
    pub async fn wait_turn(&self, worker: usize) {
        if worker >= READERS {
            let _ = self.is_behind.subscribe().wait_for(|is_behind| *is_behind).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn the_reserve_reads_while_the_log_is_behind() {
        let reserve = Reserve::new(10);
        let reads = |worker| reserve.wait_turn(worker).now_or_never().is_some();
        assert!(reads(0) && reads(READERS - 1) && !reads(READERS));
        let read =
            [(9, false, false), (9, true, true), (5, false, true), (4, true, false), (5, false, false)];
        for (entries, left_others, is_called) in read {
            reserve.has_read(entries, left_others);
            assert_eq!(reads(READERS), is_called, "{entries}");
        }
    }
}
