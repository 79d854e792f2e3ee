//! `users …`: the built-in user table.

use clap::Subcommand;
use serde_json::Value;

use super::actor::actor;
use super::connect::{Common, Keys, name_of};
use super::exit::{Exit, Failure};
use super::input;
use super::output::{instant, maybe};
use crate::ledger::UserRow;
use crate::service::{AccountError, OpenMode, Simplejwt};
use crate::settings::UsersKind;
use crate::users::AdminAccess;

#[derive(Subcommand)]
pub(super) enum UsersCommand {
    /// Add a user; the password is asked for, or is one line of standard input
    #[command(after_help = "Examples:
  simplejwt users add ada
  simplejwt users add ada --email ada@example.org --staff < password.txt

Makes the database and its tables where there are none.
Exit code: 0 added, 1 there is such a user already, 2 the name or password cannot be one.")]
    Add {
        /// The name to log in with
        name: String,
        /// An address, which no other user has
        #[arg(long, value_name = "ADDRESS")]
        email: Option<String>,
        /// May manage others
        #[arg(long)]
        staff: bool,
        /// Staff who may look at everything in the admin, and change nothing
        #[arg(long, conflicts_with = "staff")]
        view_only: bool,
        /// What many try first.
        #[arg(hide = true)]
        password: Option<String>,
    },
    /// List users, a page at a time
    #[command(after_help = "Examples:
  simplejwt users list
  simplejwt users list --format csv > users.csv")]
    List {
        /// How many at most
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(i64).range(1..=100_000))]
        limit: i64,
        /// Only those with a greater id
        #[arg(long, value_name = "ID", default_value_t = 0, value_parser = clap::value_parser!(i64).range(0..))]
        after: i64,
    },
    /// Set a user's password and end the user's sessions
    #[command(after_help = "Examples:
  simplejwt users passwd ada
  pwgen 20 1 | simplejwt users passwd ada

Every token of the user is refused from then on.")]
    Passwd {
        /// The name of the user
        name: String,
        /// What many try first.
        #[arg(hide = true)]
        password: Option<String>,
    },
    /// Keep a user out: no login, and every token of the user is refused
    #[command(after_help = "Examples:
  simplejwt users disable ada")]
    Disable {
        /// The name of the user
        name: String,
    },
    /// Let a user in again; old tokens stay refused
    #[command(after_help = "Examples:
  simplejwt users enable ada")]
    Enable {
        /// The name of the user
        name: String,
    },
    /// Remove a user for good; every token of the user is refused
    #[command(after_help = "Examples:
  simplejwt users remove ada
  simplejwt users remove ada --yes")]
    Remove {
        /// The name of the user
        name: String,
        /// Do not ask
        #[arg(short, long)]
        yes: bool,
    },
}

/// Runs `users …`.
pub(super) async fn run(common: &Common, command: UsersCommand) -> Result<Exit, Failure> {
    // Before a password is asked for, and before a database is made.
    if common.settings()?.users() == UsersKind::Django {
        return Err(AccountError::ManagedInDjango.into());
    }
    match command {
        UsersCommand::Add { name, email, staff, view_only, password } => {
            refuse_argument(password.as_deref())?;
            let password = input::new_password(&name)?;
            let jwt = common.open_as(OpenMode::Serve, Keys::Unused).await?;
            let access = match (staff, view_only) {
                (true, _) => AdminAccess::Change,
                (false, true) => AdminAccess::View,
                (false, false) => AdminAccess::None,
            };
            let user = jwt.add_user(&name, email.as_deref(), &password, access, &actor()).await?;
            report(common, &jwt, &user, &format!("user {} added with the id {}", user.username, user.id))
        }
        UsersCommand::List { limit, after } => {
            let jwt = common.open(Keys::Unused).await?;
            list(common, &jwt.users(after, limit).await?, limit)
        }
        UsersCommand::Passwd { name, password } => {
            refuse_argument(password.as_deref())?;
            let jwt = common.open(Keys::Unused).await?;
            // Asking for a password that nobody can have would be a waste.
            jwt.user_named(&name).await?;
            let password = input::new_password(&name)?;
            jwt.set_password(&name, &password, &actor()).await?;
            changed(common, &jwt, &name, "has a new password, and the sessions are over").await
        }
        UsersCommand::Disable { name } => {
            let jwt = common.open(Keys::Unused).await?;
            jwt.set_active(&name, false, &actor()).await?;
            changed(common, &jwt, &name, "is disabled, and the sessions are over").await
        }
        UsersCommand::Enable { name } => {
            let jwt = common.open(Keys::Unused).await?;
            jwt.set_active(&name, true, &actor()).await?;
            changed(common, &jwt, &name, "may log in again").await
        }
        UsersCommand::Remove { name, yes } => {
            let jwt = common.open(Keys::Unused).await?;
            let user = jwt.user_named(&name).await?;
            input::confirm(&format!("Remove the user {} (id {}) for good?", user.username, user.id), yes)?;
            jwt.remove_user(&name, &actor()).await?;
            report(common, &jwt, &user, &format!("user {} is removed, and the sessions are over", user.username))
        }
    }
}

fn refuse_argument(password: Option<&str>) -> Result<(), Failure> {
    match password {
        None => Ok(()),
        Some(_) => Err(Failure::Usage(
            "a password is not taken from the command line, where every user of the machine can read it; leave it out to \
             be asked for it, or give it as one line of standard input"
                .into(),
        )),
    }
}

async fn changed(common: &Common, jwt: &Simplejwt, name: &str, what: &str) -> Result<Exit, Failure> {
    let user = jwt.user_named(name).await?;
    report(common, jwt, &user, &format!("user {} {what}", user.username))
}

const FIELDS: [&str; 7] = ["id", "username", "email", "is_active", "is_staff", "last_login", "created_at"];

fn cells(user: &UserRow) -> [Value; FIELDS.len()] {
    [
        user.id.into(),
        user.username.as_str().into(),
        user.email.as_deref().into(),
        user.is_active.into(),
        user.is_staff.into(),
        maybe(user.last_login),
        instant(user.created_at),
    ]
}

/// Says what was done, with the database to which: another one may have a user of the same name.
fn report(common: &Common, jwt: &Simplejwt, user: &UserRow, sentence: &str) -> Result<Exit, Failure> {
    let output = common.output();
    if output.is_for_people() {
        output.done(format_args!("{sentence} ({})", name_of(jwt.database())))?;
    } else {
        let fields: Vec<_> = FIELDS.into_iter().zip(cells(user)).collect();
        output.record(&fields)?;
    }
    Ok(Exit::Done)
}

fn list(common: &Common, users: &[UserRow], limit: i64) -> Result<Exit, Failure> {
    let output = common.output();
    let rows: Vec<_> = users.iter().map(|user| cells(user).to_vec()).collect();
    output.rows(&FIELDS, &rows)?;
    if let Some(last) = users.last().filter(|_| i64::try_from(users.len()).is_ok_and(|count| count == limit))
        && output.is_for_people()
    {
        output.aside(format_args!("there may be more: --after {}", last.id));
    }
    Ok(Exit::Done)
}
