//! The Makefile, the compose file and the script that installs packages do what they say.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

fn project_file(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// A directory that is the whole PATH of a script, with the commands given as (name, script).
fn commands(stubs: &[(&str, &str)]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, body) in stubs {
        let path = dir.path().join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    dir
}

fn install_deps(path: &TempDir, arguments: &[&str]) -> Output {
    Command::new("/bin/sh")
        .arg("deploy/install-deps.sh")
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("PATH", path.path())
        .env("DOORBUSTER_DEPS_ROOT", path.path())
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

const ROOT: (&str, &str) = ("id", "echo 0");
const PLAIN_USER: (&str, &str) = ("id", "echo 1000");
const FORBIDDEN: &str = "echo must not run >&2; exit 9";
const PRESENT: [(&str, &str); 6] = [
    ("redis-server", "echo Redis server v=7.0.15 sha=00000000:0"),
    ("postgres", "echo 'postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)'"),
    ("initdb", ""),
    ("cc", ""),
    ("curl", ""),
    ("make", ""),
];

#[test]
fn nothing_is_done_where_everything_is_there() {
    let output = install_deps(&commands(&PRESENT), &[]);
    assert!(output.status.success() && output.stdout.is_empty() && output.stderr.is_empty());
}

#[test]
fn a_dry_run_prints_the_commands_and_runs_none() {
    let output = install_deps(&commands(&[ROOT, ("apt-get", FORBIDDEN)]), &["--dry-run"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let printed = stdout(&output);
    assert!(printed.starts_with("would run: apt-get update"), "{printed}");
    assert!(printed.contains("redis-server postgresql gcc libc6-dev curl make"), "{printed}");
    assert!(printed.contains("DEBIAN_FRONTEND=noninteractive"), "{printed}");

    let output = install_deps(&commands(&[ROOT, ("apt-get", FORBIDDEN)]), &["--dry-run", "--build-only"]);
    assert!(!stdout(&output).contains("redis") && stdout(&output).contains("gcc"));
}

#[test]
fn each_package_manager_has_its_own_names() {
    for (manager, expected) in [
        ("dnf", "install -y redis postgresql-server gcc"),
        ("apk", "add --no-cache redis postgresql gcc musl-dev"),
        ("pacman", "--needed valkey postgresql gcc"),
        ("zypper", "install redis postgresql-server gcc"),
        ("brew", "brew install redis postgresql@17"),
    ] {
        let printed = stdout(&install_deps(&commands(&[ROOT, (manager, FORBIDDEN)]), &["--dry-run"]));
        assert!(printed.contains(expected), "{manager}: {printed}");
    }
}

#[test]
fn what_only_chaos_needs_is_installed_only_for_it() {
    let mut stubs = PRESENT.to_vec();
    stubs.extend([ROOT, ("apt-get", FORBIDDEN)]);
    let without = install_deps(&commands(&stubs), &[]);
    assert!(without.status.success() && without.stdout.is_empty());
    let with = stdout(&install_deps(&commands(&stubs), &["--dry-run", "--chaos"]));
    assert!(with.ends_with("--no-install-recommends iproute2\n"), "{with}");
    stubs.push(("ip", ""));
    let there = install_deps(&commands(&stubs), &["--chaos"]);
    assert!(there.status.success() && there.stdout.is_empty());
}

#[test]
fn nginx_is_installed_only_where_it_is_tested() {
    let mut stubs = PRESENT.to_vec();
    stubs.extend([ROOT, ("apt-get", FORBIDDEN)]);
    assert!(install_deps(&commands(&stubs), &[]).status.success());
    let with = stdout(&install_deps(&commands(&stubs), &["--dry-run", "--proxy"]));
    assert!(with.ends_with("--no-install-recommends nginx-light\n"), "{with}");
    stubs.push(("nginx", ""));
    assert!(install_deps(&commands(&stubs), &["--proxy"]).status.success());
}

#[test]
fn servers_that_are_too_old_count_as_missing() {
    let mut stubs = PRESENT.to_vec();
    stubs[0].1 = "echo Redis server v=6.2.14 sha=00000000:0";
    stubs[1].1 = "echo 'postgres (PostgreSQL) 14.9'";
    stubs.extend([ROOT, ("apt-get", "exit 0"), ("env", "exit 0")]);
    let path = commands(&stubs);
    let printed = stdout(&install_deps(&path, &["--dry-run"]));
    assert!(printed.ends_with("--no-install-recommends redis-server postgresql\n"), "{printed}");
    let output = install_deps(&path, &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("still missing after the installation: redis postgresql"));

    stubs.push(("valkey-server", "echo Valkey server v=8.0.1 sha=00000000:0"));
    stubs[1] = PRESENT[1];
    assert!(install_deps(&commands(&stubs), &[]).status.success());
}

#[test]
fn the_benchmark_has_a_section_of_its_own() {
    assert!(install_deps(&commands(&PRESENT), &[]).status.success(), "without --bench Node is not missed");
    let mut stubs = PRESENT.to_vec();
    stubs.extend([ROOT, ("apt-get", FORBIDDEN)]);
    let printed = stdout(&install_deps(&commands(&stubs), &["--bench", "--dry-run"]));
    assert!(printed.ends_with("--no-install-recommends nodejs npm\n"), "{printed}");

    stubs.extend([("node", "echo v18.20.4"), ("npm", "")]);
    let printed = stdout(&install_deps(&commands(&stubs), &["--bench", "--dry-run"]));
    assert!(printed.ends_with("--no-install-recommends nodejs\n"), "too old: {printed}");

    let mut stubs = PRESENT.to_vec();
    stubs.extend([("node", "echo v20.11.1"), ("npm", "")]);
    let output = install_deps(&commands(&stubs), &["--bench"]);
    assert!(output.status.success() && output.stdout.is_empty(), "{}", stderr(&output));
}

#[test]
fn sudo_is_used_where_it_asks_nothing_and_else_a_sentence_names_the_packages() {
    let with_sudo = commands(&[PLAIN_USER, ("apt-get", FORBIDDEN), ("sudo", "exit 0")]);
    let printed = stdout(&install_deps(&with_sudo, &["--dry-run"]));
    assert!(printed.starts_with("would run: sudo -n apt-get update"), "{printed}");

    for stubs in [
        vec![PLAIN_USER, ("apt-get", FORBIDDEN)],
        vec![PLAIN_USER, ("apt-get", FORBIDDEN), ("sudo", "exit 1")],
    ] {
        let output = install_deps(&commands(&stubs), &[]);
        assert_eq!(output.status.code(), Some(1));
        let said = stderr(&output);
        assert!(said.contains("neither root nor able to use sudo"), "{said}");
        assert!(said.contains("redis-server postgresql gcc libc6-dev curl make"), "{said}");
    }
    let output = install_deps(&commands(&[]), &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("No package manager"));
}

#[test]
fn an_installation_that_fails_fails_the_script() {
    let output = install_deps(&commands(&[ROOT, ("apt-get", ""), ("env", "exit 100")]), &[]);
    assert!(!output.status.success());
}

#[test]
fn every_make_target_has_its_line_of_help() {
    let makefile = project_file("Makefile");
    let phony = makefile.lines().find_map(|line| line.strip_prefix(".PHONY: ")).unwrap();
    for target in phony.split(' ') {
        let documented = |line: &str| line.starts_with(&format!("{target}:")) && line.contains(" ## ");
        assert!(makefile.lines().any(documented), "{target}");
    }
}

/// Runs `make run` with a docker that answers `info` as given, and a cargo that does nothing; what they were told.
fn make_run(docker_info: &str) -> String {
    let docker = format!("[ \"$1\" != info ] || exec {docker_info}; echo docker $* >>\"$LOG\"");
    let cargo = "echo cargo $* $DOORBUSTER_REDIS_URL $DOORBUSTER_POSTGRES_URL >>\"$LOG\"";
    let path = commands(&[("docker", &docker), ("cargo", cargo)]);
    let log = path.path().join("log");
    let search = format!("{}:{}", path.path().display(), std::env::var("PATH").unwrap());
    let output = Command::new("make")
        .arg("run")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("PATH", search)
        .env("LOG", &log)
        .env_remove("CARGO")
        .env_remove("MAKEFLAGS")
        .env_remove("MAKELEVEL")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    std::fs::read_to_string(log).unwrap()
}

#[test]
fn make_run_takes_containers_where_docker_answers_and_private_servers_elsewhere() {
    assert_eq!(make_run("false"), "cargo run --locked --release -- dev\n");
    assert_eq!(
        make_run("true"),
        "docker compose version\ndocker compose up -d --wait\n\
         cargo run --locked --release -- dev --external redis://127.0.0.1:16379 \
         postgres://doorbuster:doorbuster@127.0.0.1:15432/doorbuster\ndocker compose stop\n"
    );
}

#[test]
fn the_compose_file_is_pinned_local_and_where_the_makefile_expects_it() {
    let (compose, makefile) = (project_file("docker-compose.yml"), project_file("Makefile"));
    let values = |key: &str| -> Vec<String> {
        compose.lines().filter_map(|line| line.trim().strip_prefix(key)).map(str::to_owned).collect()
    };
    let images = values("image: ");
    assert_eq!(images.len(), 2);
    for image in images {
        let (_, tag) = image.split_once(':').unwrap();
        assert!(tag.contains('.') && !tag.contains("latest"), "{image}");
    }
    for port in values("- \"127.0.0.1:") {
        let (host_port, _) = port.split_once(':').unwrap();
        assert!(makefile.contains(&format!("127.0.0.1:{host_port}")), "{host_port}");
    }
    let published = compose.lines().filter(|line| line.contains(":6379") || line.contains(":5432"));
    assert!(published.into_iter().all(|line| line.contains("127.0.0.1:")));
}
