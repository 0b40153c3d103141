//! The settings as TOML, as JSON and as a table for the docs. Secrets are masked in all of them.

use std::fmt::Write;

use serde::{Serialize, Serializer};

use super::setting::Setting;
use super::source::Effective;
use super::table::{SETTINGS, Settings};
use super::value::Shown;

impl Effective {
    /// A TOML file that gives the same settings, each with who gave it as a comment.
    pub fn to_toml(&self) -> String {
        let lines: Vec<(&Setting, String)> = SETTINGS
            .iter()
            .map(|setting| {
                (setting, format!("{} = {}", setting.name, setting.show(&self.settings).to_toml()))
            })
            .collect();
        let mut toml = String::new();
        for section in lines.chunk_by(|(a, _), (b, _)| a.section == b.section) {
            let width = section.iter().map(|(_, line)| line.chars().count()).max().unwrap_or(0);
            for (index, (setting, line)) in section.iter().enumerate() {
                if index == 0 {
                    let gap = if toml.is_empty() { "" } else { "\n" };
                    write_line(&mut toml, format_args!("{gap}# {}", setting.section));
                }
                write_line(&mut toml, format_args!("{line:width$}  # {}", self.origin(setting)));
            }
        }
        toml
    }
}

/// Writing into a `String` does not fail.
fn write_line(text: &mut String, line: std::fmt::Arguments<'_>) {
    let _ = writeln!(text, "{line}");
}

/// As JSON: `{"lease_ms": {"value": 10000, "source": "default"}, …}`, in the order of the table.
impl Serialize for Effective {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Row {
            value: Shown,
            source: String,
        }
        serializer.collect_map(SETTINGS.iter().map(|setting| {
            let value = setting.show(&self.settings);
            (setting.name, Row { value, source: self.origin(setting).to_string() })
        }))
    }
}

/// Every setting as a Markdown table, for the docs.
pub fn settings_markdown() -> String {
    let defaults = Settings::default();
    let mut table =
        String::from("| Setting | Default | Unit | Allowed | What it does |\n|---|---|---|---|---|\n");
    for setting in SETTINGS {
        let default = match setting.show(&defaults) {
            Shown::Unset => "none".to_owned(),
            Shown::Number(number) => format!("`{number}`"),
            Shown::Text(text) => format!("`{text}`"),
        };
        let (name, unit, doc) = (setting.name, setting.bounds.unit, setting.doc());
        write_line(
            &mut table,
            format_args!("| `{name}` | {default} | {unit} | {} | {doc} |", setting.allowed()),
        );
    }
    table
}
