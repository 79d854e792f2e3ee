//! What clap has to say, in our way: help as it is, an error in one line.

use clap::error::ErrorKind;

use super::exit::Exit;
use super::output::complain;

/// Longer than this no line is of use to anybody.
const LONGEST: usize = 400;

/// Prints what clap found, and says how to end.
pub(super) fn explain(error: &clap::Error) -> Exit {
    if !error.use_stderr() || error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        // Whoever closed the pipe does not want the rest.
        drop(error.print());
    } else {
        complain("", &one_line(&error.render().to_string()));
    }
    if error.use_stderr() { Exit::Usage } else { Exit::Done }
}

/// The message and the tips of an error, without the usage that follows them.
fn one_line(text: &str) -> String {
    let said = text.lines().take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more information"));
    let mut line = String::new();
    for part in said.map(str::trim).filter(|part| !part.is_empty()) {
        let joint = match line.chars().last() {
            None => "",
            Some(':') => " ",
            Some(_) => "; ",
        };
        line.extend([joint, part]);
    }
    if let Some((end, _)) = line.char_indices().nth(LONGEST) {
        line.truncate(end);
        line.push('…');
    }
    line + "; try --help"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_line_with_its_tip() {
        let text = "error: unexpected argument '-x' found\n\n  tip: use '-- -x'\n\nUsage: simplejwt\n\nFor more information, try '--help'.\n";
        assert_eq!(one_line(text), "error: unexpected argument '-x' found; tip: use '-- -x'; try --help");
        let text = "error: the following required arguments were not provided:\n  <NAME>\n\nUsage: simplejwt\n";
        assert_eq!(one_line(text), "error: the following required arguments were not provided: <NAME>; try --help");
        assert!(one_line(&"x".repeat(100_000)).len() < 2 * LONGEST);
    }
}
