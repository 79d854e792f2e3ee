#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod blacklist;
mod chain;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
#[cfg(any(feature = "cli", feature = "jwk-url", feature = "webhook"))]
mod fetch;
pub mod ledger;
#[cfg(feature = "mutants")]
mod mutant;
pub mod service;
pub mod settings;
pub mod token;
pub mod users;
pub mod web;

/// For an [`Authenticator`], whose methods are asynchronous.
pub use async_trait::async_trait;
pub use ledger::{
    Actor, BlacklistedToken, EventFilter, EventRow, OutstandingToken, SessionChain, SessionFilter, SessionRow,
    SessionState, SessionToken, UserKey, Via,
};
pub use service::{Client, Issue, Issued, Pair, Refusal, RevokeReport, Simplejwt, Target, TokenEvent};
pub use settings::Settings;
pub use token::{SessionId, TokenKind, Verified};
pub use users::{AdminAccess, AuthUser, Authenticator, AuthenticatorError, Credentials, DjangoUser, User};
#[cfg(feature = "metrics")]
pub use web::metrics_routes;
pub use web::{
    AccessToken, AnyToken, AuthError, AuthToken, CsrfFault, CurrentUser, ErrorAnswer, Fresh, HasRole, Maybe,
    RefreshToken, Role, SameOrigin, SimplejwtFairing, SkipRevocation, SlidingToken, TokenBody, TokenCookies,
    health_routes, token_routes, verifier_routes,
};
#[cfg(feature = "admin")]
pub use web::{account_routes, admin_routes};
