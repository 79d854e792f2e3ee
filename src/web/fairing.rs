//! The fairing: one line that makes an application know its tokens.

#[cfg(feature = "admin")]
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rocket::fairing::{self, Fairing, Info, Kind};
use rocket::form::Form;
use rocket::http::uri::Origin;
use rocket::http::{Header, Method, Status};
use rocket::response::Responder as _;
use rocket::tokio::task::JoinHandle;
use rocket::{Build, Data, Orbit, Request, Response, Rocket};
use serde_json::{Map, Value};

use super::catchers;
use super::csrf;
use super::error::AuthError;
use super::implicit;
#[cfg(feature = "metrics")]
use super::metrics;
use super::protect::Protection;
use super::render::{ErrorAnswer, Renderer};
use super::routes::{NAME_PREFIX, is_at, needs_issuer};
use crate::chain::chain;
use crate::service::{Blacklist, OpenMode, Parts, Simplejwt, Source, TokenEvent};
use crate::settings::Settings;
use crate::token::{NewToken, Verified};
use crate::users::Authenticator;

/// For how long the first request waits for the blacklist to be in memory.
const FIRST_LOAD: Duration = Duration::from_secs(1);

impl Simplejwt {
    /// The fairing for an application whose settings stand in its `Rocket.toml`.
    #[must_use]
    pub fn fairing() -> SimplejwtFairing {
        SimplejwtFairing::default()
    }
}

/// Loads keys, opens the ledger and manages the [`Simplejwt`] handle; protects prefixes; answers errors in JSON where the
/// application has no catcher of its own; puts `WWW-Authenticate` on every 401.
///
/// An application whose settings are refused, or whose database cannot be opened, does not launch. A missing SQLite database is
/// made, an empty one gets its tables; an older schema is brought up to date only with `migrate = true`.
///
/// ```no_run
/// use rocket_simplejwt::{AccessToken, Simplejwt, token_routes};
///
/// #[rocket::get("/hello")]
/// fn hello(token: AccessToken) -> String {
///     format!("Hello, user {}", token.user_id().unwrap_or("nobody"))
/// }
///
/// #[rocket::launch]
/// fn launch() -> _ {
///     rocket::build()
///         .attach(Simplejwt::fairing().protect("/api"))
///         .mount("/api/token", token_routes())
///         .mount("/api", rocket::routes![hello])
/// }
/// ```
#[derive(Debug, Default)]
pub struct SimplejwtFairing {
    handle: Option<Simplejwt>,
    settings: Option<Settings>,
    parts: Parts,
    verifies_only: bool,
    /// It only knows our paths: another one, of the same handle, does the rest.
    beside: bool,
    protection: Protection,
    renderer: Renderer,
    /// The paths of our own routes, filled in at ignition.
    mounted: std::sync::OnceLock<Vec<String>>,
    background: Mutex<Vec<JoinHandle<()>>>,
    /// How to end the server of `metrics_address`.
    #[cfg(feature = "metrics")]
    metrics: std::sync::OnceLock<rocket::Shutdown>,
    /// The same for the server of `admin_address`.
    #[cfg(feature = "admin")]
    admin: std::sync::OnceLock<rocket::Shutdown>,
}

#[cfg(feature = "admin")]
/// Where the server of `admin_address` listens, kept by the Rocket that started it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AdminAddress(
    #[cfg_attr(not(feature = "cli"), expect(dead_code, reason = "`serve` says it"))] pub(crate) SocketAddr,
);

impl SimplejwtFairing {
    /// A fairing around a handle that is there already.
    #[must_use]
    pub fn with(jwt: Simplejwt) -> Self {
        Self { handle: Some(jwt), ..Self::default() }
    }

    /// The fairing of a second server on the same handle.
    #[cfg(feature = "admin")]
    pub(super) fn beside(jwt: Simplejwt) -> Self {
        Self { handle: Some(jwt), beside: true, ..Self::default() }
    }

    /// Takes the settings from here instead of `Rocket.toml`.
    #[must_use]
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = Some(settings);
        self
    }

    /// Only verifies tokens, which others issue and revoke: opens the database with
    /// [`OpenMode::VerifyOnly`](crate::service::OpenMode::VerifyOnly), to read it. Guards and [`protect`](Self::protect) are the same;
    /// of our routes, such an application mounts [`verifier_routes`](crate::verifier_routes), or none.
    #[must_use]
    pub fn verify_only(mut self) -> Self {
        self.verifies_only = true;
        self
    }

    /// Takes the users from the application instead of the built-in table.
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
    pub fn blacklist_source(mut self, source: impl Source) -> Self {
        self.parts.blacklist_source(source);
        self
    }

    /// Also refuses a token for which this says `true`: [`Builder::token_in_blacklist`](crate::service::Builder::token_in_blacklist).
    #[must_use]
    pub fn token_in_blacklist<F, E>(mut self, closure: impl Fn(Verified) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<bool, E>> + Send + 'static,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.parts.token_in_blacklist(closure);
        self
    }

    /// Calls this for everything that happens: [`Builder::on_event`](crate::service::Builder::on_event).
    #[must_use]
    pub fn on_event<F>(mut self, closure: impl Fn(TokenEvent) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.parts.on_event(closure);
        self
    }

    /// Adds claims to every token at the moment it is made: [`Builder::claims`](crate::service::Builder::claims).
    #[must_use]
    pub fn claims(mut self, add: impl Fn(&NewToken) -> Map<String, Value> + Send + Sync + 'static) -> Self {
        self.parts.claims(add);
        self
    }

    /// Refuses every token for which this says `false`: [`Builder::verify_claims`](crate::service::Builder::verify_claims).
    #[must_use]
    pub fn verify_claims(mut self, ask: impl Fn(&Verified) -> bool + Send + Sync + 'static) -> Self {
        self.parts.verify_claims(ask);
        self
    }

    /// Gives errors another status and body: those of guards and of our routes, and where our catcher answers, all others. [`None`]
    /// leaves one as it is. Headers stay, and so does the status that other fairings and the application's catchers see.
    ///
    /// ```
    /// use rocket_simplejwt::{ErrorAnswer, Simplejwt};
    /// use serde_json::json;
    ///
    /// let fairing = Simplejwt::fairing().render_error(|error: &ErrorAnswer<'_>, _request| {
    ///     Some((error.status, json!({ "error": { "status": error.status.code, "text": error.body["detail"] } })))
    /// });
    /// ```
    #[must_use]
    pub fn render_error(
        mut self,
        render: impl Fn(&ErrorAnswer<'_>, &Request<'_>) -> Option<(Status, Value)> + Send + Sync + 'static,
    ) -> Self {
        self.renderer.0 = Some(Arc::new(render));
        self
    }

    /// Refuses every request to `prefix`, or anywhere below, that has no good token of a kind in `auth_token_classes`: also
    /// where no route is, and on routes without a guard. `OPTIONS` and our own token routes pass.
    ///
    /// A path that is none, such as `"/api/<path..>"`, keeps the application from launching. A fairing that rewrites the paths of
    /// requests has to be attached before this one.
    #[must_use]
    pub fn protect(mut self, prefix: &str) -> Self {
        self.protection.add(prefix);
        self
    }

    /// Leaves `path`, and everything below, open although it lies under a protected prefix.
    #[must_use]
    pub fn except(mut self, path: &str) -> Self {
        self.protection.except(path);
        self
    }

    async fn start(&self, rocket: &Rocket<Build>) -> Option<Simplejwt> {
        let complain = |error: &dyn std::error::Error| log::error!("simplejwt cannot start: {}", chain(error));
        let settings = match self.settings.clone().map_or_else(|| Settings::from_figment(rocket.figment()), Ok) {
            Ok(settings) => settings,
            Err(error) => {
                complain(&error);
                return None;
            }
        };
        let builder = Simplejwt::builder(settings).parts(self.parts.clone());
        builder
            .open(if self.verifies_only { OpenMode::VerifyOnly } else { OpenMode::Serve })
            .await
            .inspect_err(|error| complain(error))
            .ok()
    }

    /// Shows the figures where the settings say so, or not at all.
    #[cfg(feature = "metrics")]
    async fn show_metrics(&self, jwt: &Simplejwt, rocket: &Rocket<Build>) -> Result<(), ()> {
        let settings = jwt.settings();
        if settings.metrics_token.is_none() && rocket.routes().any(metrics::is_ours) {
            log::error!("simplejwt cannot start: metrics_routes() need the setting `metrics_token`");
            return Err(());
        }
        let Some(address) = settings.metrics_address else { return Ok(()) };
        let shutdown = metrics::serve(jwt.clone(), address, rocket.figment()).await;
        let shutdown = shutdown.map_err(|error| {
            log::error!("simplejwt cannot start: setting `metrics_address`: {address} cannot be listened on: {error}");
        })?;
        // Ignition happens once.
        let _ = self.metrics.set(shutdown);
        Ok(())
    }

    /// Shows the admin at an address of its own, where the settings say so.
    #[cfg(feature = "admin")]
    async fn show_admin(&self, jwt: &Simplejwt, rocket: &Rocket<Build>) -> Result<Option<AdminAddress>, ()> {
        let Some(address) = jwt.settings().admin_address.filter(|_| !self.beside && !jwt.verifies_only()) else {
            return Ok(None);
        };
        let served = super::admin::serve(jwt.clone(), address, rocket.figment()).await;
        let (shutdown, address) = served.map_err(|error| {
            log::error!("simplejwt cannot start: setting `admin_address`: {address} cannot be listened on: {error}");
        })?;
        // Ignition happens once.
        let _ = self.admin.set(shutdown);
        Ok(Some(AdminAddress(address)))
    }

    fn in_background<F: Future<Output = ()> + Send + 'static>(&self, jwt: &Simplejwt, task: fn(Simplejwt) -> F) {
        let task = tokio::spawn(task(jwt.clone()));
        self.background.lock().unwrap_or_else(PoisonError::into_inner).push(task);
    }

    /// Rocket tells `/refresh` from `/refresh/`; simplejwt's clients use either.
    fn drop_trailing_slash(request: &mut Request<'_>, mounted: &[String]) {
        let uri = request.uri();
        let (path, query) = (uri.path().as_str(), uri.query().map(|query| format!("?{query}")).unwrap_or_default());
        let Some(bare) = path.strip_suffix('/').filter(|bare| mounted.iter().any(|own| is_at(own, bare))) else {
            return;
        };
        if let Ok(uri) = Origin::parse_owned(format!("{bare}{query}")) {
            request.set_uri(uri);
        }
    }

    /// Undoes what Rocket makes of a form whose first field is `_method`: it would take the request for one of that method,
    /// which a page elsewhere could not have sent.
    async fn ignore_method_field(request: &mut Request<'_>, data: &mut Data<'_>) {
        if !request.content_type().is_some_and(|media| media.is_form()) {
            return;
        }
        // As much as Rocket looked at, so that it is here already: for more, a client could let us wait for ever.
        let start = data.peek("_method=delete".len()).await;
        let first = std::str::from_utf8(start).ok().and_then(|text| Form::values(text).next());
        // Rocket did it only where the field names a method, and then the request is of that method now.
        let renamed = first.filter(|field| field.name == "_method").and_then(|field| field.value.parse().ok());
        if renamed == Some(request.method()) {
            request.set_method(Method::Post);
        }
    }
}

#[rocket::async_trait]
impl Fairing for SimplejwtFairing {
    fn info(&self) -> Info {
        let kind = Kind::Ignite | Kind::Liftoff | Kind::Request | Kind::Response | Kind::Shutdown;
        Info { name: "simplejwt", kind }
    }

    async fn on_ignite(&self, rocket: Rocket<Build>) -> fairing::Result {
        for path in self.protection.problems() {
            log::error!(
                "simplejwt cannot start: .protect and .except take a plain path such as \"/api\", not \"{path}\""
            );
        }
        if !self.protection.problems().is_empty() {
            return Err(rocket);
        }
        let jwt = match self.handle.clone() {
            Some(jwt) => jwt,
            None => match self.start(&rocket).await {
                Some(jwt) => jwt,
                None => return Err(rocket),
            },
        };
        #[cfg(feature = "jwk-url")]
        if !self.beside
            && let Err(error) = jwt.fetch_keys().await
        {
            // Tokens are refused until a later fetch succeeds; readiness says so.
            log::error!("{}", chain(&error));
        }
        if jwt.verifies_only() && rocket.routes().any(is_of_issuer) {
            log::error!(
                "simplejwt cannot start: this application only verifies tokens; mount verifier_routes() instead of token_routes(), \
                 and neither admin_routes() nor account_routes()"
            );
            return Err(rocket);
        }
        #[cfg(feature = "metrics")]
        if !self.beside && self.show_metrics(&jwt, &rocket).await.is_err() {
            return Err(rocket);
        }
        #[cfg(feature = "admin")]
        let rocket = match self.show_admin(&jwt, &rocket).await {
            Ok(Some(address)) => rocket.manage(address),
            Ok(None) => rocket,
            Err(()) => return Err(rocket),
        };
        let ours = |route: &rocket::Route| route.name.as_ref().is_some_and(|name| name.starts_with(NAME_PREFIX));
        let mut mounted: Vec<_> =
            rocket.routes().filter(|route| ours(route)).map(|route| route.uri.path().to_owned()).collect();
        mounted.dedup();
        // Ignition happens once; a second one would find the same routes.
        let _ = self.mounted.set(mounted);
        Ok(catchers::register(rocket.manage(jwt).manage(self.renderer.clone()).mount("/", self.protection.routes())))
    }

    async fn on_liftoff(&self, rocket: &Rocket<Orbit>) {
        let Some(jwt) = rocket.state::<Simplejwt>().filter(|_| !self.beside) else { return };
        #[cfg(feature = "jwk-url")]
        self.in_background(jwt, |jwt| async move { jwt.keep_keys_fresh().await });
        self.in_background(jwt, |jwt| async move { jwt.follow_revocations().await });
        self.in_background(jwt, |jwt| async move { jwt.keep_last_used().await });
        self.in_background(jwt, |jwt| async move { jwt.call_callbacks().await });
        #[cfg(feature = "webhook")]
        self.in_background(jwt, |jwt| async move { jwt.deliver_webhooks().await });
        #[cfg(feature = "admin")]
        self.in_background(jwt, |jwt| async move { jwt.keep_hours().await });
        // What takes longer is answered with 503 meanwhile.
        jwt.loaded_within(FIRST_LOAD).await;
    }

    async fn on_request(&self, request: &mut Request<'_>, data: &mut Data<'_>) {
        let mounted = self.mounted.get().map_or(&[][..], Vec::as_slice);
        Self::drop_trailing_slash(request, mounted);
        let is_ours = mounted.iter().any(|own| is_at(own, request.uri().path().as_str()));
        if is_ours {
            Self::ignore_method_field(request, data).await;
        }
        if let Some(jwt) = request.rocket().state::<Simplejwt>() {
            csrf::look_into_form(request, data, &jwt.settings().transport).await;
        }
        if !is_ours {
            // Our own routes ask for a token where they need one.
            self.protection.check(request).await;
        }
    }

    async fn on_response<'r>(&self, request: &'r Request<'_>, response: &mut Response<'r>) {
        // `Option<AccessToken>` makes `None` of every error. Whoever sent a bad token is not anonymous, though.
        if let Some(error) = catchers::bad_token(request)
            && response.status().code < 400
            && let Ok(refusal) = error.reply().respond_to(request)
        {
            *response = refusal;
        }
        implicit::renew(request, response).await;
        if response.status() == Status::Unauthorized && !response.headers().contains("WWW-Authenticate") {
            response.set_header(Header::new("WWW-Authenticate", challenge(request)));
        }
    }

    async fn on_shutdown(&self, rocket: &Rocket<Orbit>) {
        for task in self.background.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            task.abort();
        }
        if let Some(jwt) = rocket.state::<Simplejwt>() {
            jwt.write_last_used().await;
        }
        #[cfg(feature = "metrics")]
        if let Some(metrics) = self.metrics.get() {
            metrics.clone().notify();
        }
        #[cfg(feature = "admin")]
        if let Some(admin) = self.admin.get() {
            admin.clone().notify();
        }
    }
}

/// Whether a service that only verifies cannot have this route.
fn is_of_issuer(route: &rocket::Route) -> bool {
    #[cfg(feature = "admin")]
    if super::admin::is_ours(route) || super::account::is_ours(route) {
        return true;
    }
    needs_issuer(route)
}

/// The challenge of a 401 (RFC 6750 §3): it names an error only where a token was sent in the header.
fn challenge(request: &Request<'_>) -> String {
    let scheme = request.rocket().state::<Simplejwt>().and_then(|jwt| jwt.settings().auth_header_types.first());
    // A token without a scheme is a bearer token all the same.
    let scheme = scheme.map(String::as_str).filter(|scheme| !scheme.is_empty()).unwrap_or("Bearer");
    let error = match catchers::remembered(request) {
        Some(AuthError::Refused { .. }) => ", error=\"invalid_token\"",
        // RFC 9470: a new login helps.
        Some(AuthError::NotFresh) => ", error=\"insufficient_user_authentication\"",
        _ => "",
    };
    format!("{scheme} realm=\"api\"{error}")
}
