//! `completions` and `man`: what a shell and `man` need to know.

use std::path::{Path, PathBuf};

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::Cli;
use super::exit::{Exit, Failure};
use super::output::{self, Output};

#[derive(clap::Args)]
#[command(after_help = "Examples:
  simplejwt completions bash > /etc/bash_completion.d/simplejwt
  simplejwt completions zsh > \"${fpath[1]}/_simplejwt\"
  simplejwt completions fish > ~/.config/fish/completions/simplejwt.fish")]
pub(super) struct CompletionsArgs {
    /// For which shell
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(clap::Args)]
#[command(after_help = "Examples:
  simplejwt man | man -l -
  simplejwt man --out /usr/local/share/man/man1")]
pub(super) struct ManArgs {
    /// Write the pages of all commands into this directory, instead of printing the first
    #[arg(long, value_name = "DIRECTORY")]
    out: Option<PathBuf>,
}

/// Prints the completions for a shell.
pub(super) fn completions(args: &CompletionsArgs) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "simplejwt", &mut script);
    output::text(&script)?;
    Ok(Exit::Done)
}

/// Prints the manual page, or writes all of them.
pub(super) fn man(output: Output, args: &ManArgs) -> Result<Exit, Failure> {
    if let Some(directory) = &args.out {
        let unwritten = |error| Failure::io(format_args!("{} cannot be written", directory.display()), &error);
        clap_mangen::generate_to(Cli::command(), directory).map_err(unwritten)?;
        output.done(format_args!("the pages are in {}", Path::new(directory).display()))?;
        return Ok(Exit::Done);
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(Cli::command())
        .render(&mut page)
        .map_err(|error| Failure::io("the page cannot be made", &error))?;
    output::text(&page)?;
    Ok(Exit::Done)
}
