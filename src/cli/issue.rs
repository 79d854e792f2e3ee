//! `issue`: a token without a login.

use serde_json::Value;

use super::connect::{Common, Keys};
use super::exit::{Exit, Failure};
use super::input;
use super::output::{self, instant};
use crate::service::{AccountError, Issue, Simplejwt};
use crate::settings::Span;
use crate::token::TokenKind;

#[derive(clap::Args)]
#[command(after_help = "Examples:
  simplejwt issue --user 42
  simplejwt issue --user 42 --kind refresh --claim role=editor --lifetime 2h
  TOKEN=$(simplejwt issue --user 42); curl -H \"Authorization: Bearer $TOKEN\" http://127.0.0.1:8000/

The token is recorded, so that it shows in `outstanding list` and can be blacklisted by its jti.
Only the token is printed; --format json adds its jti and its end. Treat it like a password.")]
pub(super) struct IssueArgs {
    /// For whom: what goes into the user claim, as a rule the user's id
    #[arg(long, value_name = "ID", value_parser = parse_user)]
    user: String,

    /// What the token is for
    #[arg(long, default_value = "access", value_parser = input::kind_parser())]
    kind: TokenKind,

    /// A further claim; the value is JSON (such as 7 or true) or else text
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_claim)]
    claim: Vec<(String, Value)>,

    /// A shorter life than the configured one, such as 90s, 5m or 12h
    #[arg(long, value_name = "TIME")]
    lifetime: Option<Span>,
}

fn parse_user(text: &str) -> Result<String, String> {
    let fits = (1..=255).contains(&text.chars().count()) && !text.chars().any(char::is_control);
    if fits {
        Ok(text.to_owned())
    } else {
        Err("a user id has 1 to 255 characters, none of them a control character".into())
    }
}

fn parse_claim(text: &str) -> Result<(String, Value), String> {
    let (name, value) = text.split_once('=').ok_or("write a claim as NAME=VALUE")?;
    if name.is_empty() {
        return Err("the claim has no name; write it as NAME=VALUE".into());
    }
    let value = serde_json::from_str(value).unwrap_or_else(|_| value.into());
    Ok((name.to_owned(), value))
}

/// Issues a token and prints it.
pub(super) async fn run(common: &Common, args: IssueArgs) -> Result<Exit, Failure> {
    let output = common.output();
    let mut issue = Issue::of(args.kind, args.user.as_str());
    for (index, (name, value)) in args.claim.iter().enumerate() {
        if args.claim[..index].iter().any(|(other, _)| other == name) {
            return Err(Failure::Usage(format!("the claim {name:?} is given twice")));
        }
        issue = issue.claim(name.as_str(), value.clone());
    }
    if let Some(lifetime) = args.lifetime {
        issue = issue.lifetime(lifetime);
    }
    let jwt = common.open(Keys::ToSign).await?;
    if let Some(hint) = name_for_id(&jwt, &args.user).await {
        output::warn(hint);
    }
    let issued = jwt.issue(issue).await?;
    if output.is_for_people() {
        output::line(&issued.text)?;
    } else {
        output.record(&[
            ("token", issued.text.into()),
            ("kind", args.kind.as_str().into()),
            ("jti", issued.jti.as_str().into()),
            ("user", args.user.into()),
            ("session", issued.session.map(|session| session.to_string()).into()),
            ("expires_at", instant(issued.expires_at)),
        ])?;
    }
    Ok(Exit::Done)
}

/// A hint for whoever gives a name where tokens name users by their id.
async fn name_for_id(jwt: &Simplejwt, user: &str) -> Option<String> {
    if jwt.settings().user_id_field != "id" || user.parse::<i64>().is_ok() {
        return None;
    }
    match jwt.user_named(user).await {
        Ok(found) => Some(format!("the user named {user} has the id {}: use --user {}", found.id, found.id)),
        Err(AccountError::NotFound(_)) => None,
        Err(error) => {
            log::info!("{error}");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_claim_is_json_or_else_text() {
        let value = |text: &str| parse_claim(text).map(|(_, value)| value);
        assert_eq!(value("a=7"), Ok(json!(7)));
        assert_eq!(value("a=true"), Ok(json!(true)));
        assert_eq!(value("a=[\"x\"]"), Ok(json!(["x"])));
        assert_eq!(value("a=\"7\""), Ok(json!("7")));
        assert_eq!(value("a=editor"), Ok(json!("editor")));
        assert_eq!(value("a=b=c"), Ok(json!("b=c")));
        assert_eq!(value("a="), Ok(json!("")));
        assert_eq!(value(&format!("a={}", "[".repeat(10_000))).map(|value| value.is_string()), Ok(true));
        assert!(value("a").is_err() && value("=7").is_err());
    }
}
