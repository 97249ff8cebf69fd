//! The rooms and who may import whom: reads every Cargo.toml and every source file, and fails when an arrow runs
//! the wrong way.
#![expect(clippy::disallowed_methods, reason = "a guard reads the sources")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The workspace's own crates that a crate may depend on. A crate that is not here must be added on purpose.
const ARROWS: [(&str, &[&str]); 7] = [
    ("steelyard-core", &[]),
    ("steelyard-proxy", &["steelyard-core"]),
    ("steelyard-sim", &["steelyard-core"]),
    ("steelyard-origin", &[]),
    ("steelyard-py", &["steelyard-core", "steelyard-proxy", "steelyard-sim", "steelyard-origin"]),
    ("steelyard-bench-tools", &["steelyard-core", "steelyard-proxy", "steelyard-sim", "steelyard-origin"]),
    ("steelyard-bench-scores", &["steelyard-core"]),
];

/// Foreign crates that only these may depend on.
const KEPT: [(&str, &[&str]); 9] = [
    ("tokio", &["steelyard-proxy", "steelyard-origin", "steelyard-bench-tools"]),
    ("pyo3", &["steelyard-py"]),
    ("socket2", &["steelyard-proxy", "steelyard-origin", "steelyard-bench-tools"]),
    ("rustix", &["steelyard-proxy", "steelyard-origin", "steelyard-bench-tools", "steelyard-bench-scores"]),
    ("libc", &["steelyard-proxy", "steelyard-origin", "steelyard-bench-tools"]),
    ("rustls", &["steelyard-proxy", "steelyard-bench-tools"]),
    ("x509-cert", &["steelyard-proxy"]),
    ("hyper", &[]),
    ("mio", &[]),
];

/// What no source file of the core may name, tests aside.
const NOT_IN_CORE: [&str; 12] = [
    "Instant",
    "SystemTime",
    "std::thread",
    "std::env",
    "std::fs",
    "std::process",
    "std::io",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "ToSocketAddrs",
    "std::os",
];

#[test]
fn every_crate_is_in_a_room() {
    let rooms: BTreeSet<&str> = ARROWS.iter().map(|(name, _)| *name).collect();
    for crate_name in crates().keys() {
        assert!(rooms.contains(crate_name.as_str()), "{crate_name} has no room; add it to ARROWS");
    }
}

#[test]
fn arrows_between_rooms_run_the_right_way() {
    let crates = crates();
    let rooms: BTreeMap<&str, &[&str]> = ARROWS.into_iter().collect();
    for (name, folder) in &crates {
        for dependency in dependencies(folder).into_iter().filter(|name| crates.contains_key(name)) {
            assert!(
                rooms[name.as_str()].contains(&dependency.as_str()),
                "{name} must not depend on {dependency}"
            );
        }
    }
}

#[test]
fn foreign_crates_stay_where_they_belong() {
    for (name, folder) in crates() {
        let dependencies = dependencies(&folder);
        for (kept, rooms) in KEPT {
            assert!(
                rooms.contains(&name.as_str()) || !dependencies.contains(kept),
                "{name} must not depend on {kept}"
            );
        }
    }
}

#[test]
fn sources_name_only_what_their_room_may_use() {
    for (name, folder) in crates() {
        for (file, line, code) in code(&folder.join("src")) {
            for (kept, rooms) in KEPT {
                assert!(
                    rooms.contains(&name.as_str()) || !names_crate(&code, kept),
                    "{}:{line}: {name} must not use {kept}",
                    file.display()
                );
            }
        }
    }
}

#[test]
fn the_core_has_no_clock_no_socket_no_thread_and_no_environment() {
    let folder = &crates()["steelyard-core"];
    for (file, line, code) in code(&folder.join("src")) {
        for word in NOT_IN_CORE {
            assert!(!names(&code, word), "{}:{line}: the core must not use {word}", file.display());
        }
    }
}

#[test]
fn the_reader_sees_what_it_must() {
    assert!(names("use std::time::Instant;", "Instant"));
    assert!(!names("let instantly = 1;", "Instant"));
    assert!(!names("InstantNoodles", "Instant"));
    assert!(names_crate("use tokio::net::TcpStream;", "tokio"));
    assert!(names_crate("    ::tokio::spawn(x)", "tokio"));
    assert!(!names_crate("mod tokio_like;", "tokio"));
    assert!(!names_crate("self.tokio.x()", "tokio"));
    let core = &crates()["steelyard-core"];
    assert!(dependencies(core).contains("regex"));
    assert!(dependencies(core).contains("loom"), "dependencies of a target count");
    assert!(dependencies(core).contains("proptest"), "dependencies of the tests count");
    assert!(code(&core.join("src")).len() > 500);
}

/// The folder of every crate of the workspace, by name.
fn crates() -> BTreeMap<String, PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let folders = fs::read_dir(root.join("crates")).unwrap().map(|entry| entry.unwrap().path());
    let bench = ["bench/tools", "bench/scores"].map(|folder| root.join(folder));
    folders
        .chain(bench)
        .filter(|folder| folder.join("Cargo.toml").exists())
        .map(|folder| (package_name(&folder), folder))
        .collect()
}

fn manifest(folder: &Path) -> String {
    fs::read_to_string(folder.join("Cargo.toml")).unwrap()
}

fn package_name(folder: &Path) -> String {
    let manifest = manifest(folder);
    let line = manifest.lines().find(|line| line.starts_with("name = ")).unwrap();
    line.trim_start_matches("name = ").trim_matches('"').to_owned()
}

/// The names in every table of dependencies.
fn dependencies(folder: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut inside = false;
    for line in manifest(folder).lines().map(str::trim) {
        if let Some(table) = line.strip_prefix('[') {
            inside = table.ends_with("dependencies]");
            // `[dependencies.tokio]`
            if let Some((_, name)) = table.trim_end_matches(']').split_once("dependencies.") {
                found.insert(name.to_owned());
            }
        } else if inside && let Some((name, _)) = line.split_once(['=', '.', ' ']) {
            found.insert(name.trim().trim_matches('"').to_owned());
        }
    }
    found.remove("#");
    found
}

/// Every line of code below a folder that is neither comment nor test, with its file and number.
fn code(folder: &Path) -> Vec<(PathBuf, usize, String)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs")
                && path.file_name().is_some_and(|name| name != "tests.rs" && name != "loom.rs")
            {
                let text = fs::read_to_string(&path).unwrap();
                let lines = text.lines().take_while(|line| !begins_tests(line)).enumerate();
                found.extend(
                    lines
                        .map(|(index, line)| (path.clone(), index + 1, code_of(line)))
                        .filter(|(_, _, code)| !code.is_empty()),
                );
            }
        }
    }
    found
}

/// Tests stand at the end of a file, in a module of their own.
fn begins_tests(line: &str) -> bool {
    line.starts_with("mod ") && line.ends_with("tests {")
}

fn code_of(line: &str) -> String {
    line.split("//").next().unwrap_or_default().trim().to_owned()
}

/// Whether the word stands there, not as a part of a longer one.
fn names(code: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word)
        .any(|(at, _)| !code[..at].ends_with(part) && !code[at + word.len()..].starts_with(part))
}

/// Whether a path into that crate stands there.
fn names_crate(code: &str, name: &str) -> bool {
    code.match_indices(name).any(|(at, _)| {
        let before = &code[..at];
        let after = &code[at + name.len()..];
        !before.ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '.' || c == '"')
            && (after.starts_with("::")
                || (before.trim_end().ends_with("use") && after.starts_with([';', ' '])))
    })
}
