//! Who sits at the keyboard, for the audit.

use std::process::{Command, Stdio};

use crate::ledger::{Actor, Via};

/// Whoever runs this command.
pub(super) fn actor() -> Actor {
    Actor { who: format!("cli:{}", user_name()), via: Via::Cli, address: None }
}

/// The name of the system's user. The system knows it from the process; the environment only says so.
fn user_name() -> String {
    let asked = Command::new("id").arg("-un").stdin(Stdio::null()).stderr(Stdio::null()).output();
    let known =
        asked.ok().filter(|answer| answer.status.success()).and_then(|answer| String::from_utf8(answer.stdout).ok());
    let said = || ["LOGNAME", "USER", "USERNAME"].into_iter().find_map(|name| std::env::var(name).ok());
    known.as_deref().and_then(name).or_else(|| name(&said()?)).unwrap_or_else(|| "unknown".into())
}

/// A text that can be a name.
fn name(text: &str) -> Option<String> {
    let text = text.trim();
    let fits = (1..=64).contains(&text.len()) && !text.chars().any(char::is_control);
    fits.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_always_a_name() {
        assert!(actor().who.len() > "cli:".len());
        assert_eq!(name(" ada\n").as_deref(), Some("ada"));
        assert_eq!(name("\n"), None);
        assert_eq!(name("a\u{1b}b"), None);
    }
}
