//! What no source may do but the places named here.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// What brings a script to a server, or calls what does. Lower case, as the lines are compared.
const LOADING: [&str; 12] = [
    "\"script\"",
    "\"eval\"",
    "\"eval_ro\"",
    "\"function\"",
    "\"load\"",
    ".eval(",
    ".script_load",
    ".function_load",
    "run_keeper(",
    "load_scripts(",
    "load_beside_marker(",
    "load_text(",
];

/// Where that happens. A script that is loaded where no keeper has opened lets a server sell that has lost orders: think
/// of every restart, failover and flush before a line is added here.
const ALLOWED: [(&str, &[&str]); 6] = [
    // The keeper's scripts, unstamped: each refuses by its token. Nobody else calls run_keeper.
    ("src/redis/client.rs", &[".eval(", "run_keeper("]),
    // One place that loads: for the keeper, and beside its marker.
    (
        "src/redis/session.rs",
        &["\"load\"", "\"script\"", "load_beside_marker(", "load_scripts(", "load_text(", "run_keeper("],
    ),
    // Asks SCRIPT EXISTS; loads beside the marker.
    ("src/gate.rs", &["\"script\"", "load_beside_marker("]),
    ("src/keeper/closing.rs", &["run_keeper("]),
    ("src/keeper/opening.rs", &["load_scripts(", "run_keeper("]),
    // A label.
    ("src/metrics/claims.rs", &["\"script\""]),
];

/// What `text` does of [`LOADING`], comments apart.
fn loading(text: &str) -> BTreeSet<&'static str> {
    let code = text.lines().map(str::trim_start).filter(|line| !line.starts_with("//"));
    let code: Vec<String> = code.map(str::to_lowercase).collect();
    LOADING.into_iter().filter(|needle| code.iter().any(|line| line.contains(needle))).collect()
}

fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

#[test]
fn nothing_but_the_keeper_loads_scripts_without_the_marker() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for path in sources(&root.join("src")) {
        let name = path.strip_prefix(root).unwrap().display().to_string();
        let allowed = ALLOWED.iter().find(|(file, _)| *file == name).map_or(&[][..], |(_, allowed)| allowed);
        let allowed: BTreeSet<&str> = allowed.iter().copied().collect();
        // Also what is allowed and no longer done: the list is no longer than it must be.
        assert_eq!(loading(&std::fs::read_to_string(&path).unwrap()), allowed, "{name}");
    }
    for (file, _) in ALLOWED {
        assert!(root.join(file).exists(), "{file}");
    }
}

#[test]
fn the_search_finds_what_it_is_for() {
    for line in [
        "redis.command(\"SCRIPT\", &meta, vec![\"LOAD\".into(), text.into()]).await?;",
        "redis.command(\"EVAL\", &meta, args).await?;",
        "client.eval(text, keys, args).await?;",
        "client.script_load(text).await?;",
        "redis.on_key(\"Function\", &meta, args).await?;",
        "session.load_scripts(&scripts, &meta).await?;",
    ] {
        assert!(!loading(line).is_empty(), "{line}");
    }
    for line in ["// client.eval(text)", "client.evalsha(digest, keys, args)", "desks.load(sale)"] {
        assert!(loading(line).is_empty(), "{line}");
    }
}

/// NOSCRIPT means that the server is not the one that was opened: nothing may answer it by sending the text.
#[test]
fn a_server_without_the_scripts_is_not_sent_them() {
    for path in sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src")) {
        let text = std::fs::read_to_string(&path).unwrap();
        for shorthand in
            ["fred::types::scripts", "evalsha_with_reload", "Script::from_lua", "Library::from_code"]
        {
            assert!(!text.contains(shorthand), "{} uses {shorthand}", path.display());
        }
    }
}
