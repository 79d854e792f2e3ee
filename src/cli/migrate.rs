//! `migrate`: the tables, made, checked and taken down.

use super::connect::{Common, name_of};
use super::exit::{Exit, Failure};
use super::input;
use crate::ledger::{MigrateOptions, UserKeyType};
use crate::service::Tables;
use crate::settings::UnknownTokens;

#[derive(clap::Args)]
#[command(after_help = "Examples:
  simplejwt migrate
  simplejwt --database-url sqlite:////srv/app/db.sqlite3 migrate --with-index
  simplejwt migrate --check && deploy

Makes the database if there is none. Tables of Django's simplejwt are taken over as they are:
nothing is added to them but triggers named simplejwt_… and, with --with-index, the index on
expires_at and, on PostgreSQL, one on user_id and id. Triggers that were lost since are put back.
Exit code: 0 done, 1 --check found something to do, 2 the tables cannot be used.")]
pub(super) struct MigrateArgs {
    /// List the steps and whether they were taken; change nothing
    #[arg(long, group = "what")]
    status: bool,

    /// Ask whether there is something to do; change nothing
    #[arg(long, group = "what")]
    check: bool,

    /// Remove our tables with all that was recorded; Django's stay unless we made them
    #[arg(long, group = "what")]
    remove: bool,

    /// The type of user ids in a new database
    #[arg(long, value_name = "TYPE", value_parser = input::user_key_parser(), conflicts_with = "what")]
    user_key: Option<UserKeyType>,

    /// Also put the indexes on tables that Django made which make flushing and the admin fast
    #[arg(long, conflicts_with = "what")]
    with_index: bool,

    /// With --remove: do not ask
    #[arg(short, long, requires = "remove")]
    yes: bool,
}

/// What nobody can see in Django's tables.
const BEFORE_5_5: &str = "if a simplejwt before 5.5 rotated tokens here, it recorded none of the new ones: set \
     `unknown_refresh_tokens = \"accept\"` until the last of them has expired, or their users have to log in again";

/// Runs `migrate`.
pub(super) async fn run(common: &Common, args: MigrateArgs) -> Result<Exit, Failure> {
    let output = common.output();
    let settings = common.settings()?;
    let changes_nothing = args.status || args.check || args.remove;
    let tables = Tables::open(&settings, !changes_nothing)?;
    let database = name_of(tables.database());
    if args.status {
        let steps = tables.migrations().await?;
        let rows: Vec<_> =
            steps.iter().map(|step| vec![step.name.into(), step.applied.into(), step.adopted.into()]).collect();
        output.rows(&["migration", "applied", "adopted"], &rows)?;
    } else if args.check {
        let pending: Vec<_> =
            tables.migrations().await?.into_iter().filter(|step| !step.applied).map(|step| step.name).collect();
        if !pending.is_empty() {
            return Err(Failure::Failed(format!("{database} lacks {}; run `simplejwt migrate`", pending.join(", "))));
        }
        tables.check().await?;
        output.done(format_args!("{database} is up to date"))?;
    } else if args.remove {
        let question = format!("Remove our tables from {database}, with every user, session and revocation in them?");
        input::confirm(&question, args.yes)?;
        tables.remove().await?;
        output.done(format_args!("our tables are gone from {database}"))?;
    } else {
        let options = MigrateOptions { user_key: args.user_key, with_index: args.with_index };
        let made = tables.migrate(options).await?;
        tables.check().await?;
        // Of a database that was adopted before, somebody was told.
        if !made.is_empty() && settings.unknown_refresh_tokens == UnknownTokens::Refuse {
            let adopted = tables.migrations().await?.iter().any(|step| step.adopted);
            if adopted {
                output.aside(BEFORE_5_5);
            }
        }
        if output.is_for_people() {
            made.iter().try_for_each(|name| output.done(format_args!("applied {name}")))?;
            output.done(format_args!("{database} is up to date"))?;
        } else {
            let rows: Vec<_> = made.into_iter().map(|name| vec![name.into(), database.as_str().into()]).collect();
            output.rows(&["applied", "database"], &rows)?;
        }
    }
    Ok(Exit::Done)
}
