//! What becomes of the samples: a file, a table, a page, a comparison.

mod compare;
mod headline;
mod page;
mod results;
mod statistics;
mod table;

pub use compare::compare;
pub use headline::headline;
pub use page::{write_page, write_svgs};
pub use results::{Results, ResultsError, write_json};
pub use table::{headline_table, table};
