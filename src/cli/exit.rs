//! How a command ends: the exit codes, and the one place that maps every error to one of them.

use std::error::Error;
use std::fmt;
use std::process::ExitCode;

use crate::chain::chain;
use crate::ledger::LedgerError;
use crate::service::{AccountError, ClockError, FlushError, Refusal, StartError};
use crate::settings::SettingsError;
use crate::token::TokenError;

/// The exit code of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exit {
    /// Done, or yes.
    Done,
    /// Refused, failed, or no.
    Refused,
    /// Wrong usage or bad input; a database or tables that are not there.
    Usage,
    /// Not now: the same command may well succeed later. The code is that of `EX_TEMPFAIL` in `sysexits.h`.
    TryAgain,
}

impl Exit {
    /// The number.
    pub(super) const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Refused => 1,
            Self::Usage => 2,
            Self::TryAgain => 75,
        }
    }

    /// What several outcomes come to. To try again comes first, since that repeats the others; then what the caller has
    /// to mend.
    pub(super) fn worst(self, other: Self) -> Self {
        if self.code() >= other.code() { self } else { other }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Why a command did not do what it was asked. Its [`Display`](fmt::Display) is the line that is printed: it says what
/// to do, and no secret.
#[derive(Debug)]
pub(super) enum Failure {
    /// The command or its input makes no sense.
    Usage(String),
    /// It was refused, or failed.
    Failed(String),
    /// It may succeed later.
    TryAgain(String),
    /// The settings or the database cannot be used.
    Start(StartError),
    /// The database gave no answer.
    Ledger(LedgerError),
    /// A use case was refused.
    Refusal(Refusal),
    /// A user could not be added or changed.
    Account(AccountError),
    /// A flush did not run to its end.
    Flush(FlushError),
}

impl Failure {
    /// A failure to read or write something that is no database.
    pub(super) fn io(what: impl fmt::Display, error: &std::io::Error) -> Self {
        Self::Failed(format!("{what}: {error}"))
    }

    /// The one mapping from errors to exit codes.
    pub(super) fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) => Exit::Usage,
            Self::Failed(_) => Exit::Refused,
            Self::TryAgain(_) => Exit::TryAgain,
            Self::Start(error) => of_start(error),
            Self::Ledger(error) => of_ledger(error),
            Self::Refusal(refusal) => of_refusal(refusal),
            Self::Account(error) => of_account(error),
            Self::Flush(error) => match error {
                FlushError::Ledger { source, .. } => of_ledger(source),
                FlushError::Running { .. } => Exit::TryAgain,
                FlushError::ClockBehind { .. } | FlushError::Clock(_) => Exit::Refused,
            },
        }
    }
}

fn of_start(error: &StartError) -> Exit {
    match error {
        StartError::Settings(_) | StartError::UserField { .. } | StartError::WhoseUsers => Exit::Usage,
        #[cfg(feature = "redis")]
        StartError::Redis(_) => Exit::Usage,
        StartError::Ledger(error) => of_ledger(error),
    }
}

fn of_ledger(error: &LedgerError) -> Exit {
    match error {
        _ if error.is_transient() => Exit::TryAgain,
        LedgerError::Url(_)
        | LedgerError::Missing { .. }
        | LedgerError::NotADatabase
        | LedgerError::Denied(_)
        | LedgerError::Schema(_) => Exit::Usage,
        _ => Exit::Refused,
    }
}

fn of_refusal(refusal: &Refusal) -> Exit {
    match refusal {
        Refusal::Unavailable(source) => match (ledger_error(source.as_ref()), source.is::<ClockError>()) {
            (Some(error), _) => of_ledger(error),
            (None, true) => Exit::Refused,
            (None, false) => Exit::TryAgain,
        },
        Refusal::Misuse(_) | Refusal::FutureCutoff | Refusal::PastExpiry => Exit::Usage,
        _ => Exit::Refused,
    }
}

fn of_account(error: &AccountError) -> Exit {
    match error {
        AccountError::Duplicate | AccountError::NotFound(_) => Exit::Refused,
        AccountError::ManagedInDjango | AccountError::BadName | AccountError::Password(_) => Exit::Usage,
        AccountError::Ledger(error) => of_ledger(error),
        AccountError::Refused(refusal) => of_refusal(refusal),
    }
}

/// The ledger's error behind another one.
fn ledger_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a LedgerError> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(text) | Self::Failed(text) | Self::TryAgain(text) => f.write_str(text),
            Self::Start(error) => write!(f, "{}", chain(error)),
            Self::Ledger(error) => write!(f, "{}", chain(error)),
            Self::Refusal(refusal) | Self::Account(AccountError::Refused(refusal)) => reason(refusal, f),
            Self::Account(error) => write!(f, "{}", chain(error)),
            Self::Flush(error) => write!(f, "{}", chain(error)),
        }
    }
}

/// A refusal in the words of an operator: what a client must not be told is what an operator needs.
fn reason(refusal: &Refusal, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match refusal {
        Refusal::Unavailable(source) => match ledger_error(source.as_ref()) {
            Some(error) => write!(f, "{}", chain(error)),
            None => write!(f, "{}", chain(source.as_ref())),
        },
        Refusal::Misuse(source) => write!(f, "{}", chain(source.as_ref())),
        Refusal::Token(TokenError::Invalid(fault)) => write!(f, "Token is invalid: {fault}"),
        other => write!(f, "{}", chain(other)),
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        Self::Start(error)
    }
}

impl From<SettingsError> for Failure {
    fn from(error: SettingsError) -> Self {
        Self::Start(error.into())
    }
}

impl From<LedgerError> for Failure {
    fn from(error: LedgerError) -> Self {
        Self::Ledger(error)
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refusal(refusal)
    }
}

impl From<AccountError> for Failure {
    fn from(error: AccountError) -> Self {
        Self::Account(error)
    }
}

impl From<FlushError> for Failure {
    fn from(error: FlushError) -> Self {
        Self::Flush(error)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::ledger::{Flushed, SchemaError};
    use crate::token::TokenFault;
    use crate::users::PasswordError;

    fn exit(failure: impl Into<Failure>) -> u8 {
        failure.into().exit().code()
    }

    fn missing() -> LedgerError {
        LedgerError::Missing { url: "sqlite://x".into() }
    }

    #[test]
    fn the_codes_are_those_of_the_manual() {
        let codes = [Exit::Done, Exit::Refused, Exit::Usage, Exit::TryAgain].map(Exit::code);
        assert_eq!(codes, [0, 1, 2, 75]);
    }

    #[test]
    fn of_several_outcomes_the_one_counts_that_the_caller_must_act_on() {
        assert_eq!(Exit::Done.worst(Exit::Refused), Exit::Refused);
        assert_eq!(Exit::Usage.worst(Exit::Refused), Exit::Usage);
        assert_eq!(Exit::Usage.worst(Exit::TryAgain), Exit::TryAgain);
        assert_eq!(Exit::Done.worst(Exit::Done), Exit::Done);
    }

    #[test]
    fn a_database_that_may_come_back_is_75_and_one_that_is_not_there_is_2() {
        assert_eq!(exit(LedgerError::Busy), 75);
        assert_eq!(exit(LedgerError::ReadOnly), 75);
        assert_eq!(exit(LedgerError::Full), 75);
        assert_eq!(exit(LedgerError::Saturated), 75);
        assert_eq!(exit(LedgerError::Timeout(Duration::from_secs(2))), 75);
        assert_eq!(exit(LedgerError::Unreachable { url: "sqlite://x".into(), reason: "gone".into() }), 75);
        assert_eq!(exit(missing()), 2);
        assert_eq!(exit(LedgerError::NotADatabase), 2);
        assert_eq!(exit(LedgerError::Denied("x".into())), 2);
        assert_eq!(exit(LedgerError::Schema(SchemaError::Missing("x".into()))), 2);
        assert_eq!(exit(StartError::Ledger(LedgerError::Busy)), 75);
        assert_eq!(exit(StartError::Ledger(missing())), 2);
    }

    #[test]
    fn a_refusal_is_1_unless_the_database_is_behind_it() {
        assert_eq!(exit(Refusal::Blacklisted), 1);
        assert_eq!(exit(Refusal::Token(TokenError::Expired)), 1);
        assert_eq!(exit(Refusal::Unavailable(Arc::new(LedgerError::Busy))), 75);
        assert_eq!(exit(Refusal::Unavailable(Arc::new(missing()))), 2);
        assert_eq!(exit(Refusal::Unavailable(Arc::new(ClockError))), 1);
        assert_eq!(exit(Refusal::Misuse(Arc::new(LedgerError::Busy))), 2);
        assert_eq!(exit(AccountError::Duplicate), 1);
        assert_eq!(exit(AccountError::NotFound("ada".into())), 1);
        assert_eq!(exit(AccountError::BadName), 2);
        assert_eq!(exit(AccountError::ManagedInDjango), 2);
        assert_eq!(exit(AccountError::Password(PasswordError::Empty)), 2);
        assert_eq!(exit(AccountError::Ledger(LedgerError::Busy)), 75);
        assert_eq!(exit(AccountError::Refused(Refusal::from(ClockError))), 1);
    }

    #[test]
    fn a_flush_that_stopped_ends_as_what_stopped_it() {
        let at = chrono::DateTime::UNIX_EPOCH;
        assert_eq!(exit(FlushError::Running { since: at }), 75);
        assert_eq!(exit(FlushError::ClockBehind { newest: at, now: at }), 1);
        assert_eq!(exit(FlushError::Ledger { flushed: Flushed::default(), source: LedgerError::Busy }), 75);
    }

    #[test]
    fn usage_and_settings_are_2() {
        assert_eq!(exit(Failure::Usage("x".into())), 2);
        assert_eq!(exit(SettingsError::Refused { name: "leeway", why: "too long".into() }), 2);
        assert_eq!(exit(StartError::UserField { name: "user_id_field", value: "x".into() }), 2);
    }

    #[test]
    fn an_operator_is_told_what_is_behind_a_refusal() {
        let text = Failure::from(Refusal::Unavailable(Arc::new(LedgerError::Busy))).to_string();
        assert_eq!(text, LedgerError::Busy.to_string());
        let text = Failure::from(Refusal::Token(TokenError::Invalid(TokenFault::Signature))).to_string();
        assert_eq!(text, "Token is invalid: wrong signature");
    }
}
