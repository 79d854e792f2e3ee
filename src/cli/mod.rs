//! The command line: parse first, then decide, then do. Nothing below this folder knows clap.
//!
//! | file | what it holds |
//! |---|---|
//! | `connect` | the flags that every command takes; which settings, keys and database they mean |
//! | `input`, `output`, `progress` | what is read and what is written |
//! | `exit`, `usage`, `logger` | how a command ends, and what is said of it |
//! | `serve`, `demo` | the token service |
//! | `blacklist`, `unblacklist`, `check`, `issue`, `list` | tokens |
//! | `sessions`, `wide` | sessions, and whatever is more than single tokens |
//! | `events` | what happened |
//! | `flush`, `migrate`, `status` | the database |
//! | `users`, `keys`, `docs` | the rest |
//! | `actor` | who sits at the keyboard |

mod actor;
mod blacklist;
mod check;
mod connect;
mod demo;
mod docs;
mod events;
mod exit;
mod flush;
mod input;
mod issue;
mod keys;
mod list;
mod logger;
mod migrate;
mod output;
mod past;
mod progress;
mod serve;
mod server;
mod sessions;
mod status;
mod unblacklist;
mod usage;
mod users;
mod wide;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use connect::Common;
use exit::{Exit, Failure};

/// Issues, checks and revokes JSON web tokens, compatible with Django's simplejwt
#[derive(Parser)]
#[command(name = "simplejwt", version, max_term_width = 100, disable_help_subcommand = true)]
#[command(after_help = "First steps:
  simplejwt serve --demo          try it: a server with a user and commands to paste
  simplejwt users add ada         make a database with a user in it
  simplejwt serve                 run the token service on http://127.0.0.1:8000/api/token
  simplejwt blacklist JTI         refuse a token from now on
  simplejwt flushexpiredtokens    for cron: delete what nobody needs any more

Databases: sqlite://x.sqlite3 is a file in the working directory, sqlite:////var/lib/x.sqlite3 one
elsewhere; postgres://user:password@host/name and mysql://user:password@host/name where the build
has the features postgres and mysql. Each command has examples of its own: simplejwt COMMAND --help
Exit codes: 0 done, 1 refused or failed, 2 wrong usage or bad input, 75 try again later.")]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the token service
    Serve(serve::ServeArgs),
    /// Make or update the tables
    Migrate(migrate::MigrateArgs),
    /// Delete what nobody needs any more: for cron
    #[command(visible_alias = "flush")]
    Flushexpiredtokens(flush::FlushArgs),
    /// Refuse tokens from now on
    #[command(visible_alias = "revoke")]
    Blacklist(blacklist::BlacklistArgs),
    /// Take tokens off the blacklist
    Unblacklist(unblacklist::UnblacklistArgs),
    /// List or show recorded tokens
    Outstanding {
        #[command(subcommand)]
        command: list::OutstandingCommand,
    },
    /// List blacklisted tokens
    Blacklisted {
        #[command(subcommand)]
        command: list::BlacklistedCommand,
    },
    /// See who revoked or changed what, and why
    Events {
        #[command(subcommand)]
        command: events::EventsCommand,
    },
    /// List, show or end sessions
    Sessions {
        #[command(subcommand)]
        command: sessions::SessionsCommand,
    },
    /// Ask whether a token may be used
    Check(check::CheckArgs),
    /// Check a token and show what it says
    Verify(check::VerifyArgs),
    /// Make a token for a user
    Issue(issue::IssueArgs),
    /// Manage the built-in users
    Users {
        #[command(subcommand)]
        command: users::UsersCommand,
    },
    /// Make or list signing keys
    Keys {
        #[command(subcommand)]
        command: keys::KeysCommand,
    },
    /// Show counts, the last flush, the tables and what is wrong
    Status(status::StatusArgs),
    /// Print the completions for a shell
    Completions(docs::CompletionsArgs),
    /// Print the manual page
    Man(docs::ManArgs),
}

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    #[cfg(feature = "mutants")]
    if let Ok(name) = std::env::var("SIMPLEJWT_MUTANT")
        && !crate::mutant::choose(&name)
    {
        output::complain("error: ", &format!("there is no mutant {name}"));
        return ExitCode::FAILURE;
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage::explain(&error).into(),
    };
    let configured = match &cli.command {
        Command::Serve(_) => serve::log_level(&cli.common),
        _ => None,
    };
    logger::install(cli.common.quiet, cli.common.verbose, configured);
    match run(&cli.common, cli.command) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            output::complain("error: ", &failure);
            failure.exit().into()
        }
    }
}

fn run(common: &Common, command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Keys { command } => keys::run(common, command),
        Command::Completions(args) => docs::completions(&args),
        Command::Man(args) => docs::man(common.output(), &args),
        Command::Serve(args) => serve::run(common, &args),
        other => wait_for(work(common, other))?,
    }
}

async fn work(common: &Common, command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Migrate(args) => migrate::run(common, args).await,
        Command::Flushexpiredtokens(args) => flush::run(common, args).await,
        Command::Blacklist(args) => blacklist::run(common, args).await,
        Command::Unblacklist(args) => unblacklist::run(common, args).await,
        Command::Outstanding { command } => list::outstanding(common, command).await,
        Command::Blacklisted { command } => list::blacklisted(common, command).await,
        Command::Events { command } => events::run(common, command).await,
        Command::Sessions { command } => sessions::run(common, command).await,
        Command::Check(args) => check::check(common, args).await,
        Command::Verify(args) => check::verify(common, args).await,
        Command::Issue(args) => issue::run(common, args).await,
        Command::Users { command } => users::run(common, command).await,
        Command::Status(args) => status::run(common, args).await,
        Command::Serve(_) | Command::Keys { .. } | Command::Completions(_) | Command::Man(_) => Ok(Exit::Done),
    }
}

/// Runs a future to its end on a runtime of our own. Work that a hung database still holds up is left behind.
fn wait_for<T>(future: impl Future<Output = T>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|error| Failure::io("no threads can be started", &error))?;
    let done = runtime.block_on(future);
    runtime.shutdown_background();
    Ok(done)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_tree_of_commands_is_sound() {
        Cli::command().debug_assert();
    }
}
