#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;
use crate::config::{SETTINGS, Setting};

fn parsed(arguments: &[&str]) -> Result<(Cli, Effective), CliError> {
    let arguments = ["doorbuster"].iter().chain(arguments).map(OsString::from);
    parse(arguments.collect::<Vec<_>>(), [])
}

fn help(arguments: &[&str]) -> String {
    match parsed(arguments) {
        Err(CliError::Usage(error)) => error.render().to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_commands_are_well_formed() {
    settings_flags::add_to(Cli::command()).debug_assert();
}

#[test]
fn a_settings_flag_stands_before_or_after_the_command() {
    for arguments in [["--partitions", "4", "config"], ["config", "--partitions", "4"]] {
        let (_, effective) = parsed(&arguments).unwrap();
        assert_eq!(effective.settings.partitions, 4);
        assert_eq!(effective.origin(Setting::named("partitions").unwrap()).to_string(), "--partitions");
    }
}

#[test]
fn the_file_of_the_flag_is_read() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "partitions = 3").unwrap();
    let (_, effective) = parsed(&["config", "--config", file.path().to_str().unwrap()]).unwrap();
    assert_eq!(effective.settings.partitions, 3);
}

#[test]
fn settings_that_cannot_be_used_are_not_a_usage_error_of_one_flag() {
    let error = parsed(&["config", "--partitions", "-1", "--ack", "x"]).unwrap_err();
    assert_eq!(error.to_string().lines().count(), 3, "{error}");
}

#[test]
fn help_is_short_but_for_the_settings() {
    assert!(help(&["--help"]).lines().count() < 36);
    let settings = help(&["config", "--help"]);
    for setting in SETTINGS {
        assert!(settings.contains(&format!("--{} <", setting.flag())), "{}", setting.name);
    }
}
