//! What can be typed after `doorbuster product` and `doorbuster sale`.

use std::error::Error;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Subcommand};

use crate::admin::REASON_MAX;
use crate::catalogue::{AdjustmentKey, SaleId, Sku, adjustment_delta};
use crate::cli::login_name::login_name;

/// `doorbuster product`
#[derive(Debug, Clone, Subcommand)]
pub enum ProductCommand {
    /// Create or change products from a file
    Put {
        /// JSON or TOML by its extension; - reads JSON from standard input
        file: PathBuf,
        /// How the answer is written.
        #[command(flatten)]
        output: Output,
    },
    /// List the products by SKU
    List {
        /// Which page.
        #[command(flatten)]
        page: PageArgs<Sku>,
        /// How the answer is written.
        #[command(flatten)]
        output: Output,
    },
}

/// `doorbuster sale`
#[derive(Debug, Clone, Subcommand)]
pub enum SaleCommand {
    /// Create a sale from a file; the same file again changes nothing
    Create {
        /// JSON or TOML by its extension; - reads JSON from standard input
        file: PathBuf,
        /// How the answer is written.
        #[command(flatten)]
        output: Output,
    },
    /// List the sales by id
    List {
        /// Which page.
        #[command(flatten)]
        page: PageArgs<SaleId>,
        /// How the answer is written.
        #[command(flatten)]
        output: Output,
    },
    /// Show a sale with its items and stock
    Show(OneSale),
    /// Sell from now on, also before the window or out of a pause
    Open(ControlArgs),
    /// Stop selling for a while
    Pause(ControlArgs),
    /// Let the window decide again
    Resume(ControlArgs),
    /// Stop selling for ever
    Close(ControlArgs),
    /// Add units to an item of a running sale, or take away units that are not sold
    Adjust(AdjustArgs),
}

/// `doorbuster sale adjust`
#[derive(Debug, Clone, Args)]
pub struct AdjustArgs {
    /// The sale's id
    pub id: SaleId,
    /// The item
    pub sku: Sku,
    /// Units: +100 adds, -5 takes away
    #[arg(allow_hyphen_values = true, value_parser = delta, value_name = "UNITS")]
    pub delta: i64,
    /// Why; kept with the change
    #[arg(long, value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub reason: String,
    /// The same key again changes nothing; without one a new key is drawn, and told on stderr
    #[arg(long)]
    pub key: Option<AdjustmentKey>,
    /// Who you are
    #[arg(long, value_name = "NAME", default_value_t = login_name())]
    pub by: String,
    /// How the answer is written.
    #[command(flatten)]
    pub output: Output,
}

fn delta(text: &str) -> Result<i64, String> {
    let delta = text.parse().map_err(|_| "give a number of units, such as +100 or -5".to_owned())?;
    adjustment_delta(delta).map_err(str::to_owned)
}

/// How the answer is written.
#[derive(Debug, Clone, Copy, Args)]
pub struct Output {
    /// Write JSON instead of a table
    #[arg(long)]
    pub json: bool,
}

/// Which page of a list.
#[derive(Debug, Clone, Args)]
pub struct PageArgs<Key>
where
    Key: FromStr<Err: Error + Send + Sync> + Clone + Send + Sync + 'static,
{
    /// Begin after this one
    #[arg(long, value_name = "ID")]
    pub after: Option<Key>,
    /// Show at most this many
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub limit: u16,
}

/// The sale that a command is about.
#[derive(Debug, Clone, Args)]
pub struct OneSale {
    /// The sale's id
    pub id: SaleId,
    /// How the answer is written.
    #[command(flatten)]
    pub output: Output,
}

/// The sale that is opened, paused, resumed or closed.
#[derive(Debug, Clone, Args)]
pub struct ControlArgs {
    /// Which.
    #[command(flatten)]
    pub sale: OneSale,
    /// Why, for the sale's history; at most 500 characters
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    pub reason: Option<String>,
}

fn reason(text: &str) -> Result<String, String> {
    if text.chars().count() > REASON_MAX {
        return Err(format!("at most {REASON_MAX} characters"));
    }
    Ok(text.to_owned())
}
