//! The flags of the settings, made from their table.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Arg, ArgMatches, Command, value_parser};

use crate::config::{SETTINGS, Setting, Settings, Shown, Sources};

const CONFIG: &str = "config_file";

/// Gives every command the flags. Only `config --help` shows them, so that other help stays short.
pub(super) fn add_to(command: Command) -> Command {
    let file = Arg::new(CONFIG)
        .long("config")
        .value_name("FILE")
        .value_parser(value_parser!(PathBuf))
        .global(true)
        .help("TOML file with settings, also DOORBUSTER_CONFIG");
    let defaults = Settings::default();
    let flags = || SETTINGS.iter().map(|setting| flag(setting, &defaults));
    command
        .arg(file)
        .args(flags().map(|flag| flag.hide(true)))
        .mut_subcommand("config", |config| config.args(flags()))
}

/// The text is judged together with that of the other sources, not by clap.
fn flag(setting: &Setting, defaults: &Settings) -> Arg {
    let default = match setting.show(defaults) {
        Shown::Unset => "none".to_owned(),
        Shown::Number(number) => number.to_string(),
        Shown::Text(text) => text,
    };
    let doc = setting.doc();
    Arg::new(setting.name)
        .long(setting.flag())
        .value_name(if setting.bounds.unit.is_empty() { "VALUE" } else { "NUMBER" })
        .allow_negative_numbers(true)
        .global(true)
        .help_heading(setting.section)
        .help(format!("{doc} [default: {default}]"))
        .long_help(format!("{doc}\nGive {}. [default: {default}]", setting.allowed()))
}

/// What the flags gave, with the environment.
pub(super) fn sources(matches: &ArgMatches, environment: Vec<(OsString, OsString)>) -> Sources {
    let flags = SETTINGS
        .iter()
        .filter_map(|setting| Some((setting, matches.get_one::<String>(setting.name)?.clone())))
        .collect();
    Sources { flags, file: matches.get_one(CONFIG).cloned(), environment }
}
