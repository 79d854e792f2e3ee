//! Settings to a handle: keys are loaded, the database is opened and its tables are checked.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use super::claims::ClaimCallbacks;
use super::hooks::{Callback, Hooks, TokenEvent};
use super::limits::Limits;
use super::metrics::Metrics;
use super::uses::Uses;
#[cfg(feature = "webhook")]
use super::webhook::Webhook;
use super::{Inner, Simplejwt, retention};
use crate::blacklist::{
    Asked, Blacklist, Blacklists, CacheOptions, CachedBlacklist, Chosen, DatabaseBlacklist, OwnBlacklist,
    Source as BlacklistSource, SourceBlacklist, Uncertain, WhenStale,
};
#[cfg(feature = "redis")]
use crate::blacklist::{RedisBlacklist, RedisOptions, RedisUrlError};
use crate::ledger::{DatabaseUrl, DjangoColumns, Ledger, LedgerError, LedgerOptions, MigrateOptions, UserField};
#[cfg(feature = "redis")]
use crate::settings::Secret;
use crate::settings::{BlacklistKind, Settings, SettingsError, StalePolicy, UsersKind};
use crate::token::{Clock, KeyRing, Minter, NewToken, SystemClock, Verified, Verifier};
use crate::users::{Authenticator, DjangoUsers, Passwords, UserTable, Users};

/// What is to happen where the database, or our tables in it, are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// A server: a database that does not exist is made, and an empty one gets its tables.
    Serve,
    /// A command: a missing database is an error, so that no revocation lands in an empty file.
    Existing,
    /// A service that only verifies tokens which others issue and revoke: nothing is made, migrated, mended or ever written, so that
    /// the right to read does. What would issue or revoke is [`Refusal::Misuse`](super::Refusal::Misuse). A server that follows
    /// another one (a standby, a replica) is refused, because it may lag behind by any time. With `blacklist = "redis"` and no
    /// `database_url` there is no database at all: refresh tokens are unknown there, and there are no users.
    VerifyOnly,
}

/// Why there is no handle.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The settings are refused.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The database is.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The database of a Django project, and nobody has said whose users log in.
    #[error(
        "this is the database of a Django project: set `users = \"django\"` for its users to log in, or `users = \"builtin\"` if \
         the built-in users shall, whose ids Django takes for those of its own"
    )]
    WhoseUsers,
    /// The Redis that the settings name cannot be a blacklist.
    #[cfg(feature = "redis")]
    #[error("setting `redis_url`: Redis cannot be a blacklist as it is")]
    Redis(#[source] crate::blacklist::BlacklistError),
    /// The users lack a field.
    #[error("setting `{name}`: the users have no field '{value}'; use id, username or email")]
    UserField {
        /// The setting.
        name: &'static str,
        /// What it says.
        value: String,
    },
}

/// What an application brings along.
#[derive(Clone, Default)]
pub(crate) struct Parts {
    users: Option<Users>,
    store: Option<Arc<dyn Blacklist>>,
    source: Option<Arc<dyn BlacklistSource>>,
    asked: Option<Asked>,
    callbacks: Vec<Callback>,
    claim_callbacks: ClaimCallbacks,
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts").field("users", &self.users).finish_non_exhaustive()
    }
}

impl Parts {
    pub(crate) fn authenticator(&mut self, authenticator: impl Authenticator) {
        self.users = Some(Users::of_application(authenticator));
    }

    pub(crate) fn blacklist(&mut self, store: impl Blacklist) {
        self.store = Some(Arc::new(store));
    }

    pub(crate) fn blacklist_source(&mut self, source: impl BlacklistSource) {
        self.source = Some(Arc::new(source));
    }

    pub(crate) fn token_in_blacklist<F, E>(&mut self, closure: impl Fn(Verified) -> F + Send + Sync + 'static)
    where
        F: Future<Output = Result<bool, E>> + Send + 'static,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.asked = Some(Asked::new(closure));
    }

    pub(crate) fn on_event<F>(&mut self, closure: impl Fn(TokenEvent) -> F + Send + Sync + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.callbacks.push(Callback::new(closure));
    }

    pub(crate) fn claims(&mut self, add: impl Fn(&NewToken) -> Map<String, Value> + Send + Sync + 'static) {
        self.claim_callbacks.add = Some(Arc::new(add));
    }

    pub(crate) fn verify_claims(&mut self, ask: impl Fn(&Verified) -> bool + Send + Sync + 'static) {
        self.claim_callbacks.ask = Some(Arc::new(ask));
    }
}

/// Puts a [`Simplejwt`] together.
#[derive(Debug)]
pub struct Builder {
    settings: Settings,
    parts: Parts,
    clock: Arc<dyn Clock>,
    keys_needed: bool,
    only_looks: bool,
}

impl Simplejwt {
    /// Starts to put a handle together.
    #[must_use]
    pub fn builder(settings: Settings) -> Builder {
        Builder {
            settings,
            parts: Parts::default(),
            clock: Arc::new(SystemClock::default()),
            keys_needed: true,
            only_looks: false,
        }
    }
}

impl Builder {
    /// Takes the users from the application, whatever the setting `users` says.
    #[must_use]
    pub fn authenticator(mut self, authenticator: impl Authenticator) -> Self {
        self.parts.authenticator(authenticator);
        self
    }

    /// Asks a store of the application's own whether a token is refused, whatever the setting `blacklist` says but for `"off"`.
    #[must_use]
    pub fn blacklist(mut self, store: impl Blacklist) -> Self {
        self.parts.blacklist(store);
        self
    }

    /// Also refuses what a store of the application's own refuses, which is read into memory.
    #[must_use]
    pub fn blacklist_source(mut self, source: impl BlacklistSource) -> Self {
        self.parts.blacklist_source(source);
        self
    }

    /// Also refuses a token for which this says `true`. It is asked each time, after everything else has let the token pass.
    ///
    /// ```
    /// # use rocket_simplejwt::{Settings, Simplejwt, Verified};
    /// # async fn is_banned(_: Option<&str>) -> Result<bool, std::io::Error> { Ok(false) }
    /// let builder = Simplejwt::builder(Settings::default())
    ///     .token_in_blacklist(async |token: Verified| is_banned(token.user_id()).await);
    /// ```
    #[must_use]
    pub fn token_in_blacklist<F, E>(mut self, closure: impl Fn(Verified) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<bool, E>> + Send + 'static,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.parts.token_in_blacklist(closure);
        self
    }

    /// Calls this for everything that happens, after it was committed: on a task of its own, one event after the other, and never so
    /// that a request waits or fails. What [`TokenEvent::Issued`] and [`TokenEvent::Refreshed`] tell waits in a queue; where that
    /// is full, because callbacks are slow, they are dropped and counted. A call that takes longer than 30 seconds is dropped.
    ///
    /// Somebody has to run [`Simplejwt::call_callbacks`]; the fairing does.
    ///
    /// ```
    /// # use rocket_simplejwt::{Settings, Simplejwt, TokenEvent};
    /// # async fn warn(_: Option<String>) {}
    /// let builder = Simplejwt::builder(Settings::default()).on_event(async |event| {
    ///     if let TokenEvent::Reuse(theft) = event {
    ///         warn(theft.user).await;
    ///     }
    /// });
    /// ```
    #[must_use]
    pub fn on_event<F>(mut self, closure: impl Fn(TokenEvent) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.parts.on_event(closure);
        self
    }

    /// Adds claims to every token at the moment it is made, at logins and at refreshes: what this says wins over what the token would
    /// inherit, so that such claims are never stale. It must not wait for anything; what needs a look at the user goes into
    /// [`AuthUser::claims`](crate::AuthUser::claims).
    ///
    /// ```
    /// # use rocket_simplejwt::{Settings, Simplejwt};
    /// # use rocket_simplejwt::token::NewToken;
    /// let builder = Simplejwt::builder(Settings::default())
    ///     .claims(|token: &NewToken| [("region".into(), "eu".into())].into_iter().collect());
    /// ```
    #[must_use]
    pub fn claims(mut self, add: impl Fn(&NewToken) -> Map<String, Value> + Send + Sync + 'static) -> Self {
        self.parts.claims(add);
        self
    }

    /// Refuses every token for which this says `false`, wherever one is used: in guards, at refresh, at `/verify/`. It is asked after
    /// everything else, and must not wait for anything; see [`Builder::token_in_blacklist`] for what does.
    ///
    /// ```
    /// # use rocket_simplejwt::{Settings, Simplejwt, Verified};
    /// let builder = Simplejwt::builder(Settings::default())
    ///     .verify_claims(|token: &Verified| token.claim::<String>("region").is_ok_and(|region| region.is_some()));
    /// ```
    #[must_use]
    pub fn verify_claims(mut self, ask: impl Fn(&Verified) -> bool + Send + Sync + 'static) -> Self {
        self.parts.verify_claims(ask);
        self
    }

    pub(crate) fn parts(mut self, parts: Parts) -> Self {
        self.parts = parts;
        self
    }

    /// Takes the time from elsewhere than the machine. For tests.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Loads no key: for work on the ledger alone, in which no token is made or read.
    #[must_use]
    pub fn without_keys(mut self) -> Self {
        self.keys_needed = false;
        self
    }

    /// Opens any database that answers, to see what is wrong with it. Nothing may be issued or revoked.
    #[cfg(feature = "cli")]
    pub(crate) fn only_to_look(mut self) -> Self {
        self.only_looks = true;
        self
    }

    /// Loads the keys, opens the database, checks or makes its tables.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn open(self, mode: OpenMode) -> Result<Simplejwt, StartError> {
        let settings = self.settings;
        settings.check()?;
        let ring = Arc::new(if self.keys_needed { settings.keys()? } else { KeyRing::default() });
        let Parts { users, store, source: refused, asked, callbacks, claim_callbacks } = self.parts;
        if !settings.has_blacklist() && (store.is_some() || refused.is_some() || asked.is_some()) {
            let why = "is off, but the application brings what refuses tokens, and nobody would ask it".to_owned();
            return Err(SettingsError::Refused { name: "blacklist", why }.into());
        }
        let source = match users {
            Some(users) => Source::Application(users),
            None => Source::of(&settings)?,
        };
        #[cfg(feature = "webhook")]
        let webhook = Webhook::new(&settings)?;
        let mut attempt = 1;
        let ledger = loop {
            if mode == OpenMode::VerifyOnly && store.is_none() && settings.does_without_database() {
                break Ledger::absent();
            }
            match open_ledger(&settings, mode, &source, self.only_looks).await {
                // A server that comes up while its database does is not started a second time by everybody.
                Err(StartError::Ledger(error @ LedgerError::Lost))
                    if mode != OpenMode::Existing && attempt < ATTEMPTS =>
                {
                    log::warn!("{error}");
                    attempt += 1;
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
                done => break done?,
            }
        };
        let passwords = Passwords::default();
        let (own, hasher, clock) = (ledger.clone(), passwords.clone(), Arc::clone(&self.clock));
        let users = match source {
            Source::Application(users) => users,
            Source::Builtin { login, claim } => Users::new(UserTable::new(own, hasher, login, claim, clock)),
            Source::Django { login, claim, columns } => {
                Users::new(DjangoUsers::new(own, columns, hasher, login, claim, clock))
            }
        };
        let users = users.checking(settings.check_user_is_active);
        let rules = Arc::new(settings.rules());
        let chosen = choose(&settings, store, &ledger, &self.clock)?;
        #[cfg(feature = "redis")]
        if let (Chosen::Redis(redis), OpenMode::Serve | OpenMode::VerifyOnly) = (&chosen, mode) {
            look_at_redis(redis).await?;
        }
        // Sessions are written by whoever serves, and nobody else.
        let noted = Uses::new(settings.last_used_interval).filter(|_| mode == OpenMode::Serve);
        let inner = Inner {
            minter: Minter::new(Arc::clone(&ring), Arc::clone(&rules)),
            verifier: Verifier::new(Arc::clone(&ring), rules),
            blacklist: Blacklists {
                chosen,
                source: refused.map(|source| also(&settings, source, &self.clock)),
                asked,
                uncertain: Uncertain::new(self.clock.now()),
            },
            ring,
            ledger,
            users,
            passwords,
            clock: self.clock,
            claim_callbacks,
            metrics: Metrics::default(),
            limits: Limits::new(&settings),
            uses: noted.filter(|_| settings.has_blacklist()),
            hooks: Hooks::new(callbacks),
            #[cfg(feature = "webhook")]
            webhook,
            #[cfg(feature = "admin")]
            admin: super::admin::AdminState::default(),
            settings,
        };
        Ok(Simplejwt { inner: Arc::new(inner) })
    }
}

#[cfg_attr(
    not(feature = "redis"),
    expect(clippy::unnecessary_wraps, reason = "only the address of Redis can be wrong")
)]
fn choose(
    settings: &Settings,
    store: Option<Arc<dyn Blacklist>>,
    ledger: &Ledger,
    clock: &Arc<dyn Clock>,
) -> Result<Chosen, SettingsError> {
    let (ledger, clock) = (ledger.clone(), Arc::clone(clock));
    let options = CacheOptions {
        poll_interval: settings.poll_interval.as_std(),
        staleness_bound: settings.staleness_bound.as_std(),
        when_stale: match settings.stale_policy {
            StalePolicy::Refuse => WhenStale::Refuse,
            StalePolicy::Database => WhenStale::AskLedger,
        },
        retention: retention(settings),
    };
    Ok(match (settings.blacklist, store) {
        (BlacklistKind::Cached | BlacklistKind::Database | BlacklistKind::Redis, Some(store)) => {
            Chosen::Own(Box::new(OwnBlacklist::over(store, ledger, options, clock)))
        }
        (BlacklistKind::Cached, None) => Chosen::Cached(CachedBlacklist::new(ledger, options, clock)),
        #[cfg(feature = "redis")]
        (BlacklistKind::Redis, None) if ledger.is_there() => {
            Chosen::Redis(RedisBlacklist::new(ledger, redis(settings)?, clock))
        }
        #[cfg(feature = "redis")]
        (BlacklistKind::Redis, None) => Chosen::Redis(RedisBlacklist::without_ledger(redis(settings)?, clock)),
        // The settings are refused before.
        #[cfg(not(feature = "redis"))]
        (BlacklistKind::Redis, None) => Chosen::Database(DatabaseBlacklist::new(ledger, clock)),
        (BlacklistKind::Database | BlacklistKind::Off, _) => Chosen::Database(DatabaseBlacklist::new(ledger, clock)),
    })
}

/// A Redis that may lose keys is not used. One that does not answer may come, and the ledger is asked until then.
#[cfg(feature = "redis")]
async fn look_at_redis(redis: &RedisBlacklist) -> Result<(), StartError> {
    match redis.probe().await {
        Err(error) if error.is_unsupported() => Err(StartError::Redis(error)),
        Err(error) => {
            log::warn!("Redis cannot be used now: {}", crate::chain::chain(&error));
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

#[cfg(feature = "redis")]
fn redis(settings: &Settings) -> Result<RedisOptions, SettingsError> {
    let url = settings.redis_url.as_ref().map_or("", Secret::reveal);
    let refused = |error: RedisUrlError| SettingsError::Refused { name: "redis_url", why: error.to_string() };
    Ok(RedisOptions {
        url: url.parse().map_err(refused)?,
        prefix: settings.redis_prefix.clone(),
        poll_interval: settings.poll_interval.as_std(),
        staleness_bound: settings.staleness_bound.as_std(),
        retention: retention(settings),
    })
}

fn also(settings: &Settings, source: Arc<dyn BlacklistSource>, clock: &Arc<dyn Clock>) -> SourceBlacklist {
    let (poll_interval, bound) = (settings.poll_interval.as_std(), settings.staleness_bound.as_std());
    SourceBlacklist::new(source, poll_interval, bound, Arc::clone(clock))
}

/// How often a server tries to open its database when the connection breaks.
const ATTEMPTS: u32 = 3;

/// Where the users come from, with the fields that they log in by and that tokens name them by.
enum Source {
    Application(Users),
    Builtin { login: UserField, claim: UserField },
    Django { login: UserField, claim: UserField, columns: DjangoColumns },
}

impl Source {
    fn of(settings: &Settings) -> Result<Self, StartError> {
        let login = user_field("username_field", &settings.username_field)?;
        let claim = user_field("user_id_field", &settings.user_id_field)?;
        Ok(match settings.users() {
            UsersKind::Builtin => Self::Builtin { login, claim },
            UsersKind::Django => Self::Django { login, claim, columns: django_columns(settings) },
        })
    }
}

async fn open_ledger(
    settings: &Settings,
    mode: OpenMode,
    source: &Source,
    only_looks: bool,
) -> Result<Ledger, StartError> {
    let url: DatabaseUrl = settings.database_url().parse().map_err(LedgerError::from)?;
    let (serve, verifies_only) = (mode == OpenMode::Serve, mode == OpenMode::VerifyOnly);
    // A new database has no users of Django.
    let create = serve && !matches!(source, Source::Django { .. });
    let ledger = Ledger::open(&LedgerOptions {
        create,
        pool_size: settings.database_pool_size,
        allow_unsafe_durability: settings.allow_unsafe_durability || only_looks,
        verifies_only,
        wake_ups: settings.wake_ups,
        ..LedgerOptions::new(url)
    })?;
    if settings.allow_unsafe_durability && !only_looks && !verifies_only {
        warn_of_unsafe(&ledger).await?;
    }
    if let Source::Django { columns, .. } = source
        && serve
    {
        // Before our tables are made in a database that is the wrong one. A command may need no user.
        ledger.django_table(columns.clone()).await?;
    }
    if serve {
        let steps = ledger.migrations().await?;
        let (fresh, pending) = (steps.iter().all(|step| !step.applied), steps.iter().any(|step| !step.applied));
        if fresh || (pending && settings.migrate) {
            ledger.migrate(MigrateOptions::default()).await?;
        }
    }
    ledger.check_schema().await?;
    if serve {
        mend_log(&ledger).await?;
    }
    if serve && matches!(source, Source::Builtin { .. }) && ledger.is_djangos().await? {
        if settings.users.is_none() {
            return Err(StartError::WhoseUsers);
        }
        log::warn!(
            "the built-in users share their ids with the users of the Django project whose database this is: to both sides \
             the token of one is the token of the other"
        );
    }
    Ok(ledger)
}

/// Puts back what tells every process of revocations, where it was lost. A service that may not do that runs all the same: whoever
/// follows the log looks at this again, and asks the database about every token until somebody has put it back.
async fn mend_log(ledger: &Ledger) -> Result<(), LedgerError> {
    match ledger.mend_log().await {
        Ok(faults) => faults.iter().for_each(|fault| log::warn!("{fault}; it was put back")),
        Err(error @ LedgerError::Denied(_)) => {
            log::warn!(
                "other processes may not hear of revocations, and what tells them cannot be put back, or not be seen: {error}"
            );
        }
        Err(error) => return Err(error),
    }
    Ok(())
}

/// Warns of settings of the database that are put up with, at every start.
pub(super) async fn warn_of_unsafe(ledger: &Ledger) -> Result<(), LedgerError> {
    for warning in ledger.durability().await? {
        log::warn!("the database may forget revocations that it acknowledged: {warning}");
    }
    Ok(())
}

fn django_columns(settings: &Settings) -> DjangoColumns {
    let columns = settings.django_user_columns.clone();
    let optional = |name: String| Some(name).filter(|name| !name.is_empty());
    DjangoColumns {
        table: settings.django_user_table.clone(),
        id: columns.id,
        username: optional(columns.username),
        email: optional(columns.email),
        password: columns.password,
        is_active: optional(columns.is_active),
        last_login: optional(columns.last_login),
    }
}

fn user_field(name: &'static str, value: &str) -> Result<UserField, StartError> {
    match value {
        "id" if name == "user_id_field" => Ok(UserField::Id),
        "username" => Ok(UserField::Username),
        "email" => Ok(UserField::Email),
        _ => Err(StartError::UserField { name, value: value.into() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_refuses_tokens_is_not_brought_along_for_nothing() {
        let mut settings = Settings::default();
        (settings.blacklist, settings.blacklist_after_rotation) = (BlacklistKind::Off, false);
        let builder = Simplejwt::builder(settings).without_keys();
        let opened = builder.token_in_blacklist(async |_| Ok::<_, fmt::Error>(true)).open(OpenMode::Existing).await;
        assert!(matches!(opened, Err(StartError::Settings(SettingsError::Refused { name: "blacklist", .. }))));
    }
}
