//! The architecture: arrows point down only.

use std::fs;
use std::path::{Path, PathBuf};

/// Each layer with the layers that it may name, and the crates that it may not.
const LAYERS: [(&str, &[&str], &[&str]); 8] = [
    ("token", &["token"], &["rocket", "diesel", "clap", "tokio"]),
    ("settings", &["settings", "token"], &["rocket", "diesel", "clap", "tokio"]),
    ("ledger", &["ledger", "token", "chain", "mutant"], &["rocket", "clap"]),
    ("blacklist", &["blacklist", "ledger", "token", "chain", "mutant"], &["rocket", "diesel", "clap"]),
    ("users", &["users", "ledger", "token", "chain"], &["rocket", "diesel", "clap"]),
    (
        "service",
        &["service", "blacklist", "users", "ledger", "settings", "token", "chain", "fetch"],
        &["rocket", "diesel", "clap"],
    ),
    (
        "cli",
        &["cli", "web", "service", "blacklist", "users", "ledger", "settings", "token", "chain", "fetch", "mutant"],
        &["diesel"],
    ),
    ("web", &["web", "service", "users", "settings", "token", "chain"], &["diesel", "clap"]),
];

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
        if entry.is_dir() {
            files(&entry, found);
        } else if entry.extension().is_some_and(|ending| ending == "rs") {
            found.push(entry);
        }
    }
}

/// The lines of a file that are code: documentation may point anywhere.
fn code(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).expect("a source file");
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default().to_owned();
    code.lines().filter(|line| !line.trim_start().starts_with("//")).map(Into::into).collect()
}

/// The words that follow `prefix`, as in `crate::word`.
fn words_after<'a>(line: &'a str, prefix: &'a str) -> impl Iterator<Item = &'a str> {
    line.split(prefix)
        .skip(1)
        .map(|rest| rest.split(|char: char| !char.is_alphanumeric() && char != '_').next().unwrap_or(""))
}

#[test]
fn every_layer_names_only_what_lies_below_it() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut wrong = Vec::new();
    for (layer, below, foreign) in LAYERS {
        let mut found = Vec::new();
        files(&src.join(layer), &mut found);
        found.extend(Some(src.join(format!("{layer}.rs"))).filter(|file| file.exists()));
        assert!(!found.is_empty(), "no layer {layer}");
        // What only tests use is no part of the layer.
        for file in found.into_iter().filter(|file| !file.ends_with("tests.rs")) {
            for line in code(&file) {
                // A list after `crate::` would hide its words, and a longer way up its end.
                let up = line.contains("crate::{") || line.contains("super::super::super");
                let up = up || words_after(&line, "crate::").any(|word| !word.is_empty() && !below.contains(&word));
                let foreign = foreign.iter().any(|name| line.contains(&format!("{name}::")));
                if up || foreign {
                    wrong.push(format!("{}: {}", file.strip_prefix(&src).expect("below src").display(), line.trim()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "arrows that point up:\n{}", wrong.join("\n"));
}

#[test]
fn only_serve_knows_rocket_in_the_command_line() {
    let cli = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cli");
    let mut found = Vec::new();
    files(&cli, &mut found);
    for file in found.into_iter().filter(|file| !file.ends_with("serve.rs")) {
        let line = code(&file).into_iter().find(|line| line.contains("rocket::") || line.contains("diesel::"));
        assert_eq!(line, None, "{}", file.display());
    }
}

/// The program ends in `main` alone, and only the command line prints.
#[test]
fn the_library_neither_prints_nor_exits_nor_reads_the_environment() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    files(&src, &mut found);
    // A folder of tests is no part of the library.
    let library = |file: &PathBuf| !file.starts_with(src.join("cli")) && !file.iter().any(|part| part == "tests");
    for file in found.into_iter().filter(library) {
        for line in code(&file) {
            for word in ["println!", "print!", "process::exit", "env::var", "dbg!", "todo!"] {
                assert!(!line.contains(word), "{}: {line}", file.display());
            }
        }
    }
}
