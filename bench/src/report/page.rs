//! The page of a result: one file with its data, its charts and the library that draws them.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Results, ResultsError, headline};

const PAGE: &str = include_str!("../../report/page.html");
const CHARTS: &str = include_str!("../../report/charts.js");
const LIBRARY: &str = include_str!("../../report/vendor/echarts.min.js");

/// Writes the page beside the result; its path.
///
/// # Errors
/// [`ResultsError`].
pub fn write_page(results: &Results, path: &Path) -> Result<PathBuf, ResultsError> {
    let page_path = path.with_extension("html");
    let content = |source| ResultsError::Content { path: page_path.clone(), source };
    let data = serde_json::json!({ "results": results, "headline": headline(results) });
    let data = serde_json::to_string(&data).map_err(content)?;
    let page = fill(&data);
    std::fs::write(&page_path, page).map_err(|source| ResultsError::file(&page_path, source))?;
    Ok(page_path)
}

fn fill(data: &str) -> String {
    // Inside a script element only this sequence ends it.
    let data = data.replace("</", "<\\/");
    let mut page = String::with_capacity(PAGE.len() + CHARTS.len() + LIBRARY.len() + data.len());
    let parts = [("/*library*/", LIBRARY), ("/*charts*/", CHARTS), ("/*data*/", data.as_str())];
    let mut rest = PAGE;
    for (mark, text) in parts {
        let (before, after) = rest.split_once(mark).unwrap_or((rest, ""));
        page.push_str(before);
        page.push_str(text);
        rest = after;
    }
    page.push_str(rest);
    page
}

/// Draws the charts of the README into `dir`, with the same library and the same options as the page.
///
/// # Errors
/// [`ResultsError::Charts`] where node is missing or fails.
pub fn write_svgs(result: &Path, dir: &Path) -> Result<(), ResultsError> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("report/draw.cjs");
    let output = Command::new("node")
        .arg(script)
        .args([result, dir])
        .output()
        .map_err(|error| ResultsError::Charts(format!("{error}; run \"make bench-deps\"")))?;
    if output.status.success() {
        Ok(())
    } else {
        Err(ResultsError::Charts(String::from_utf8_lossy(&output.stderr).trim_end().to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_holds_all_it_needs() {
        let page = fill(r#"{"x":"</script>"}"#);
        assert!(page.contains(r#"{"x":"<\/script>"}"#));
        for mark in ["/*library*/", "/*charts*/", "/*data*/"] {
            assert!(!page.contains(mark), "{mark}");
        }
        assert!(!page.contains("src=\"http") && !page.contains("href=\"http"), "it loads nothing");
    }
}
