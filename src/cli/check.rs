//! `check` and `verify`: may this token be used?

use serde_json::{Map, Value, json};

use super::connect::{Common, Keys, name_of};
use super::exit::{Exit, Failure};
use super::input;
use super::output::{Output, instant, instant_text, maybe};
use crate::service::{Finding, Refusal};
use crate::token::{StatedKind, TokenError, Verified};

#[derive(clap::Args)]
#[command(after_help = "Examples:
  simplejwt check 8f14e45fceea467a9d4f2f6a0c3f5d11
  simplejwt check --token @token.txt && echo still good

A jti tells only what is recorded here. With the token itself, its signature, times and kind are
checked too, as a server would.
Exit code: 0 yes, 1 no, with the reason on standard error.")]
pub(super) struct CheckArgs {
    /// The jti claim of the token; - for standard input
    #[arg(value_name = "JTI", required_unless_present = "token", conflicts_with = "token")]
    jti: Option<String>,

    /// The token itself; - for standard input, @FILE for a file
    #[arg(long, value_name = "TOKEN")]
    token: Option<String>,
}

#[derive(clap::Args)]
#[command(after_help = "Examples:
  simplejwt verify < token.txt
  simplejwt verify @token.txt --format json

Checks signature, times, issuer, audience and revocation, as the verify endpoint does, and shows
what the token says. Tokens on the command line can be seen by every user of the machine.
Exit code: 0 it is good, 1 it is not, with the reason on standard error.")]
pub(super) struct VerifyArgs {
    /// The token; - for standard input, @FILE for a file
    #[arg(value_name = "TOKEN", default_value = "-")]
    token: String,
}

/// Says whether a token may be used.
pub(super) async fn check(common: &Common, args: CheckArgs) -> Result<Exit, Failure> {
    let output = common.output();
    let Some(jti) = args.jti else {
        let text = input::token(args.token.as_deref().unwrap_or("-"))?;
        return match judge(common, &text).await? {
            Ok(token) => answer(output, Some(token.jti().as_str()), Answer::yes(instant(token.expires_at()))),
            Err(no) => answer(output, None, no),
        };
    };
    let jti = input::jti_argument(&jti)?;
    let jwt = common.open(Keys::Unused).await?;
    let found = Answer::from_finding(jwt.inspect(&jti).await?, &name_of(jwt.database()));
    answer(output, Some(jti.as_str()), found)
}

/// Says whether a token may be used, and what it says.
pub(super) async fn verify(common: &Common, args: VerifyArgs) -> Result<Exit, Failure> {
    let output = common.output();
    let text = input::token(&args.token)?;
    match judge(common, &text).await? {
        Ok(token) => {
            output.record(&fields(&token))?;
            Ok(Exit::Done)
        }
        Err(no) => answer(output, None, no),
    }
}

/// Whether the token may be used; and if it may not, why. An error means that this cannot be told now.
async fn judge(common: &Common, text: &str) -> Result<Result<Verified, Answer>, Failure> {
    let jwt = common.open(Keys::ToVerify).await?;
    match jwt.verify(text).await {
        Ok(token) => Ok(Ok(token)),
        Err(refusal @ (Refusal::Unavailable(_) | Refusal::Misuse(_))) => Err(refusal.into()),
        Err(refusal) => {
            let code = match &refusal {
                Refusal::Blacklisted => "blacklisted",
                Refusal::Unknown => "unknown",
                Refusal::Token(TokenError::Expired) => "expired",
                _ => "invalid",
            };
            let text = match &refusal {
                Refusal::Blacklisted => "it is blacklisted, or its session has ended".into(),
                Refusal::Unknown => format!("it is a refresh token that {} does not know", name_of(jwt.database())),
                _ => Failure::from(refusal).to_string(),
            };
            Ok(Err(Answer::no(code, text)))
        }
    }
}

/// Yes, or no and why.
struct Answer {
    /// A word for programs.
    reason: Option<&'static str>,
    /// A sentence for people.
    text: String,
    expires_at: Value,
}

impl Answer {
    fn yes(expires_at: Value) -> Self {
        Self { reason: None, text: String::new(), expires_at }
    }

    fn no(reason: &'static str, text: impl Into<String>) -> Self {
        Self { reason: Some(reason), text: text.into(), expires_at: Value::Null }
    }

    fn from_finding(finding: Finding, database: &str) -> Self {
        let because = |reason: Option<String>| reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
        let since = |at: Option<_>| at.map(|at| format!(" since {}", instant_text(at))).unwrap_or_default();
        match finding {
            Finding::Good { expires_at } => Self::yes(instant(expires_at)),
            Finding::Unknown => Self::no(
                "unknown",
                format!(
                    "no such token is recorded in {database}; access tokens are not recorded, as a rule: check the token \
                     itself with --token"
                ),
            ),
            Finding::Blacklisted { at, reason } => {
                Self::no("blacklisted", format!("blacklisted{}{}", since(at), because(reason)))
            }
            Finding::Superseded { at } => Self::no("superseded", format!("replaced in a rotation{}", since(at))),
            Finding::SessionEnded { at, reason } => {
                Self::no("session_ended", format!("its session is over{}{}", since(at), because(reason)))
            }
            Finding::Expired { at } => Self::no("expired", format!("expired{}", since(at))),
        }
    }
}

/// Prints yes or no. A no is a failure, whose reason stands where the reason of any failure stands.
fn answer(output: Output, jti: Option<&str>, answer: Answer) -> Result<Exit, Failure> {
    let usable = answer.reason.is_none();
    if output.is_for_people() {
        match answer.expires_at.as_str() {
            Some(end) if usable => output.done(format_args!("yes, until {end}"))?,
            _ => output.done("no")?,
        }
    } else {
        let detail = if usable { Value::Null } else { answer.text.as_str().into() };
        output.record(&[
            ("usable", usable.into()),
            ("reason", answer.reason.into()),
            ("detail", detail),
            ("jti", jti.into()),
            ("expires_at", answer.expires_at),
        ])?;
    }
    if usable { Ok(Exit::Done) } else { Err(Failure::Failed(answer.text)) }
}

/// What a token says.
fn fields(token: &Verified) -> Vec<(&'static str, Value)> {
    let kind = match token.kind() {
        StatedKind::Known(kind) => kind.as_str().into(),
        StatedKind::Missing | StatedKind::Other => Value::Null,
    };
    let custom: &Map<String, Value> = token.custom_claims();
    vec![
        ("usable", true.into()),
        ("kind", kind),
        ("jti", token.jti().as_str().into()),
        ("user", token.user_id().into()),
        ("session", token.session().map(|session| session.to_string()).into()),
        ("issued_at", maybe(token.issued_at())),
        ("expires_at", instant(token.expires_at())),
        ("refresh_expires_at", maybe(token.refresh_expires_at())),
        ("claims", json!(custom)),
    ]
}
