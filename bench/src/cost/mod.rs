//! What work cost: processor time by component, bytes in memory, log and WAL. From the systems' own accounting.

mod processor;
mod storage;
mod syscalls;

pub use processor::{Processor, Usage, spent};
pub use storage::Storage;
pub use syscalls::Syscalls;
