//! What `--help` says, of every command. A change shows in `snapshots/`; take it with `INSTA_UPDATE=always cargo test cli_help`.

use crate::support::server::Server;

/// Every command. The first test fails where one is missing here.
const COMMANDS: [&[&str]; 34] = [
    &[],
    &["serve"],
    &["migrate"],
    &["flushexpiredtokens"],
    &["blacklist"],
    &["unblacklist"],
    &["outstanding"],
    &["outstanding", "list"],
    &["outstanding", "show"],
    &["blacklisted"],
    &["blacklisted", "list"],
    &["events"],
    &["events", "list"],
    &["events", "follow"],
    &["sessions"],
    &["sessions", "list"],
    &["sessions", "show"],
    &["sessions", "end"],
    &["check"],
    &["verify"],
    &["issue"],
    &["users"],
    &["users", "add"],
    &["users", "list"],
    &["users", "passwd"],
    &["users", "disable"],
    &["users", "enable"],
    &["users", "remove"],
    &["keys"],
    &["keys", "generate"],
    &["keys", "list"],
    &["status"],
    &["completions"],
    &["man"],
];

fn help(server: &Server, command: &[&str]) -> String {
    let mut process = server.command();
    process.env_remove("COLUMNS").args(command).arg("--help");
    let output = crate::support::server::run(process, "");
    assert_eq!((output.code(), output.stderr.as_str()), (0, ""), "{command:?}");
    output.stdout
}

/// The names under `Commands:`.
fn listed(help: &str) -> Vec<&str> {
    let list = help.split("\nCommands:\n").nth(1).unwrap_or_default();
    let list = list.split("\n\n").next().unwrap_or_default();
    list.lines().filter_map(|line| line.split_whitespace().next()).collect()
}

#[test]
fn every_help_is_as_it_was() {
    let server = Server::new();
    for command in COMMANDS {
        let text = help(&server, command);
        for name in listed(&text) {
            let whole = [command, &[name]].concat();
            assert!(COMMANDS.contains(&whole.as_slice()), "{whole:?} is not in the list above");
        }
        let name = ["simplejwt"].iter().chain(command).copied().collect::<Vec<_>>().join("_");
        insta::assert_snapshot!(name, text);
    }
}

#[test]
fn every_command_has_examples_that_are_commands() {
    let server = Server::new();
    for command in COMMANDS.iter().filter(|command| {
        !["outstanding", "blacklisted", "events", "sessions", "users", "keys"].contains(&command.join(" ").as_str())
    }) {
        let text = help(&server, command);
        let mark = if command.is_empty() { "First steps:" } else { "Examples:" };
        let examples = text.split(mark).nth(1).unwrap_or_else(|| panic!("no examples of {command:?}"));
        let examples: Vec<_> =
            examples.split("\n\n").next().unwrap_or_default().lines().filter(|line| line.starts_with("  ")).collect();
        assert!(!examples.is_empty(), "{command:?}");
        for example in examples {
            assert!(example.contains("simplejwt "), "{command:?}: {example}");
        }
    }
}

#[test]
fn an_alias_is_the_same_command() {
    let server = Server::new();
    for (alias, command) in [("flush", "flushexpiredtokens"), ("revoke", "blacklist")] {
        assert_eq!(help(&server, &[alias]), help(&server, &[command]));
    }
}

#[test]
fn completions_and_manual_name_every_command() {
    let server = Server::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = server.cli(&["completions", shell]);
        assert_eq!(output.code(), 0, "{output:?}");
        for command in COMMANDS {
            assert!(command.iter().all(|word| output.stdout.contains(word)), "{shell}: {command:?}");
        }
    }
    let page = server.cli(&["man"]);
    assert!(page.success() && page.stdout.contains(".TH simplejwt 1"), "{page:?}");
    let directory = server.directory().join("man");
    std::fs::create_dir(&directory).expect("a directory");
    let output = server.cli(&["man", "--out", directory.to_str().expect("a path in UTF-8")]);
    assert_eq!(output.code(), 0, "{output:?}");
    for command in COMMANDS {
        let page = ["simplejwt"].iter().chain(command).copied().collect::<Vec<_>>().join("-") + ".1";
        assert!(directory.join(&page).exists(), "no page {page}");
    }
}
