//! The log of a partition: a Redis Stream in which every change of stock is an entry.

mod entry;
mod entry_id;
mod lines;
mod read;
mod sale_entry;

pub use entry::{EntryError, LogEntry, OrderEntry, StockEntry};
pub use entry_id::{EntryId, EntryIdError};
pub use lines::{Lines, lines_text};
pub use read::{RawEntry, last_generated, read_entries, read_range};
pub use sale_entry::SaleEntry;
