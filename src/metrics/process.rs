//! This process itself: read when the metrics are asked for.

use std::sync::atomic::AtomicU64;

use nix::sys::resource::{UsageWho, getrusage};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;

use super::register::Register;

#[derive(Clone, Debug)]
pub(super) struct ProcessMetrics {
    cpu: Counter<f64, AtomicU64>,
    memory: Gauge,
}

impl ProcessMetrics {
    pub fn new(register: &mut Register) -> Self {
        Self {
            cpu: register.add(
                "process_cpu_seconds",
                &[],
                "Processor time of this process, in seconds, of the user and of the system",
                Counter::default(),
            ),
            memory: register.add(
                "process_resident_memory_bytes",
                &[],
                "Memory of this process that is resident, in bytes; 0 where the system does not tell",
                Gauge::default(),
            ),
        }
    }

    pub fn refresh(&self) {
        if let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) {
            let (user, system) = (usage.user_time(), usage.system_time());
            let micros = [user, system].map(|time| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6);
            // Set, not added to: of two readers at once the later value stays.
            self.cpu
                .inner()
                .fetch_max(f64::to_bits(micros[0] + micros[1]), std::sync::atomic::Ordering::Relaxed);
        }
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        self.memory.set(resident_bytes(&status).unwrap_or(0));
    }
}

/// `VmRSS` of proc_pid_status(5), which is in kB.
fn resident_bytes(status: &str) -> Option<i64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.parse::<i64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_memory_is_read_in_bytes() {
        assert_eq!(resident_bytes("VmPeak:\t 9 kB\nVmRSS:\t  12 kB\n"), Some(12 * 1024));
        assert_eq!(resident_bytes("VmPeak:\t 9 kB\n"), None);
    }
}
