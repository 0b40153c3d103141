//! The log of a partition: a Redis Stream in which every change of stock is an entry.

mod address;
mod decided_entry;
mod entry;
mod entry_id;
mod fate;
mod lines;
mod range;
mod read;
mod sale_entry;
mod walk;

pub use address::{EntryAddress, EntryAddressError};
pub use decided_entry::DecidedEntry;
pub use entry::{EntryError, LogEntry, OrderEntry, StockEntry};
pub use entry_id::{EntryId, EntryIdError};
pub use fate::{Fate, fates};
pub use lines::{Lines, lines_text};
pub use range::{LogBound, LogBoundError, LogRange};
pub use read::{RawEntry, last_generated, mean_held, read_entries, read_entry, read_range};
pub use sale_entry::SaleEntry;
pub use walk::{Direction, LogWalk};
