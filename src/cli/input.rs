//! What a command reads: tokens, passwords and lists. Never more of it than makes sense.

use std::io::{self, BufRead, ErrorKind, IsTerminal as _, Read, Write as _};
use std::path::Path;

use chrono::{DateTime, Utc};
use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::exit::Failure;
use crate::ledger::{UserKeyType, storable};
use crate::settings::Span;
use crate::token::{Algorithm, Clock as _, Jti, ParseJtiError, ParseSessionIdError, SessionId, SystemClock, TokenKind};

/// More than any token that is looked at has (8 KiB), with its line end.
const LONGEST_TOKEN: u64 = 16 * 1024;
/// More than any password that is hashed has (1 KiB), with its line end.
const LONGEST_PASSWORD: u64 = 4 * 1024;
/// More than any jti has (255 bytes), with its line end.
const LONGEST_JTI: u64 = 512;
/// In characters.
const LONGEST_REASON: usize = 500;
/// More than anybody waits for.
const MOST_LINES: usize = 1_000_000;
/// More tokens than this do not go into one transaction: everybody else would wait for it.
pub(super) const MOST_AT_ONCE: usize = 5_000;

/// The token that an argument means: `-` is standard input (a hidden prompt on a terminal), `@FILE` a file, and
/// anything else the token itself.
pub(super) fn token(argument: &str) -> Result<String, Failure> {
    if argument == "-" {
        if io::stdin().is_terminal() {
            return prompt("Token: ").map(|token| token.trim().to_owned());
        }
        return first_line(io::stdin().lock(), LONGEST_TOKEN, "standard input", "a token");
    }
    match argument.strip_prefix('@') {
        Some(path) => {
            let file = std::fs::File::open(Path::new(path))
                .map_err(|error| Failure::Usage(format!("{path} cannot be read: {error}")))?;
            first_line(io::BufReader::new(file), LONGEST_TOKEN, path, "a token")
        }
        None if argument.is_empty() => Err(Failure::Usage("the token is empty".into())),
        None => Ok(argument.to_owned()),
    }
}

/// A new password: asked for twice on a terminal, else one line of standard input.
pub(super) fn new_password(user: &str) -> Result<String, Failure> {
    if !io::stdin().is_terminal() {
        return line_as_it_is(io::stdin().lock(), LONGEST_PASSWORD, "standard input", "a password");
    }
    let password = prompt(&format!("Password for {user}: "))?;
    if password.is_empty() {
        return Err(Failure::Usage("the password is empty; nothing was changed".into()));
    }
    if prompt("The same again: ")? != password {
        return Err(Failure::Usage("the two passwords differ; nothing was changed".into()));
    }
    Ok(password)
}

fn prompt(question: &str) -> Result<String, Failure> {
    rpassword::prompt_password(question).map_err(|error| Failure::Usage(format!("nothing was entered: {error}")))
}

/// Asks before something that cannot be undone. The answer is one line of standard input, also where that is no terminal.
pub(super) fn confirm(question: &str, yes: bool) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    if io::stdin().is_terminal() {
        let mut terminal = io::stderr();
        // If the question cannot be shown, no answer will come.
        drop(write!(terminal, "{question} [y/N] ").and_then(|()| terminal.flush()));
    }
    let answer = line_as_it_is(io::stdin().lock(), LONGEST_JTI, "standard input", "an answer");
    match answer {
        Ok(answer) if ["y", "yes"].contains(&answer.trim().to_lowercase().as_str()) => Ok(()),
        Ok(_) => Err(Failure::Failed("not confirmed; nothing was changed".into())),
        Err(_) => Err(Failure::Usage("not confirmed; answer y on standard input, or give --yes".into())),
    }
}

/// A jti that was given, or what is wrong with it, with a name to report it by.
pub(super) struct NamedJti {
    pub(super) name: String,
    pub(super) jti: Result<Jti, String>,
}

/// How often these arguments ask for standard input, which can be read only once.
pub(super) fn readers(arguments: &[String], stdin: bool) -> usize {
    usize::from(stdin) + arguments.iter().filter(|argument| *argument == "-").count()
}

pub(super) fn read_twice() -> Failure {
    Failure::Usage("standard input can be read only once, and was asked for more than once (- and --stdin)".into())
}

/// The jtis among the arguments and on standard input; one at least.
pub(super) fn jtis(arguments: &[String], stdin: bool) -> Result<Vec<NamedJti>, Failure> {
    let mut jtis = Vec::new();
    for (index, argument) in arguments.iter().enumerate() {
        if argument == "-" {
            jtis.extend(jti_lines(io::stdin().lock())?);
        } else {
            let jti = parse_jti(argument);
            // What is no jti is not repeated: it may be a token that somebody took for one.
            let name = if jti.is_ok() { argument.clone() } else { format!("argument {}", index + 1) };
            jtis.push(NamedJti { name, jti });
        }
    }
    if stdin {
        jtis.extend(jti_lines(io::stdin().lock())?);
    }
    if jtis.is_empty() && readers(arguments, stdin) > 0 {
        return Err(Failure::Usage("standard input holds no jti".into()));
    }
    Ok(jtis)
}

/// Jtis, one a line. Only the line end stands between two of them.
fn jti_lines(mut from: impl BufRead) -> Result<Vec<NamedJti>, Failure> {
    let mut jtis = Vec::new();
    for number in 1.. {
        let line = read_line(&mut from, LONGEST_JTI);
        let (jti, is_last) = match line.map_err(|error| Failure::io("standard input cannot be read", &error))? {
            Line::End => break,
            Line::Text(bytes) => (parse_jti(&String::from_utf8_lossy(&bytes)), false),
            // Where the next line begins is not looked for: this is no list.
            Line::TooLong => (parse_jti(""), true),
        };
        let name = jti.as_ref().map_or_else(|_| format!("line {number} of standard input"), Jti::to_string);
        jtis.push(NamedJti { name, jti });
        if jtis.len() > MOST_LINES {
            return Err(Failure::Usage(format!("standard input has more than {MOST_LINES} lines; split it")));
        }
        if is_last {
            break;
        }
    }
    Ok(jtis)
}

/// Why something is done, for the audit: a remark, not a document.
pub(super) fn parse_reason(text: &str) -> Result<String, String> {
    let text = text.trim();
    let fits = (1..=LONGEST_REASON).contains(&text.chars().count()) && !text.chars().any(char::is_control);
    let rule = || format!("a reason has 1 to {LONGEST_REASON} characters, none of them a control character");
    if fits { Ok(text.to_owned()) } else { Err(rule()) }
}

/// A jti, or why it is none. The reason does not repeat the text, which may be a token.
pub(super) fn parse_jti(text: &str) -> Result<Jti, String> {
    // Some tokens are short enough, and `eyJ` is how the `{"` of a header begins.
    if text.starts_with("eyJ") && text.bytes().filter(|byte| *byte == b'.').count() == 2 {
        return Err("that is a token and not its jti; give it with --token".into());
    }
    text.parse().map_err(|error: ParseJtiError| error.to_string())
}

/// A session, as the sid claim of its tokens has it.
pub(super) fn parse_session(text: &str) -> Result<SessionId, String> {
    text.parse().map_err(|error: ParseSessionIdError| error.to_string())
}

/// The jti that an argument means; `-` is standard input.
pub(super) fn jti_argument(argument: &str) -> Result<Jti, Failure> {
    let (name, text) = match argument {
        "-" => ("standard input", first_line(io::stdin().lock(), LONGEST_JTI, "standard input", "a jti")?),
        _ => ("JTI", argument.to_owned()),
    };
    parse_jti(&text).map_err(|why| Failure::Usage(format!("{name}: {why}")))
}

/// Takes the kinds of token, and shows them in the help.
pub(super) fn kind_parser() -> impl TypedValueParser<Value = TokenKind> {
    PossibleValuesParser::new(TokenKind::ALL.map(TokenKind::as_str)).try_map(|word| word.parse::<TokenKind>())
}

/// Takes the names of algorithms, and shows them in the help.
pub(super) fn algorithm_parser() -> impl TypedValueParser<Value = Algorithm> {
    PossibleValuesParser::new(Algorithm::ALL.map(Algorithm::as_str)).try_map(|word| word.parse::<Algorithm>())
}

/// Takes the types of user id, and shows them in the help.
pub(super) fn user_key_parser() -> impl TypedValueParser<Value = UserKeyType> {
    PossibleValuesParser::new(UserKeyType::ALL.map(UserKeyType::as_str)).try_map(|word| word.parse::<UserKeyType>())
}

/// An instant in RFC 3339 or in Unix seconds.
pub(super) fn parse_instant(text: &str) -> Result<DateTime<Utc>, String> {
    let seconds = || text.parse().ok().filter(|seconds| *seconds >= 0);
    let parsed = DateTime::parse_from_rfc3339(text).ok().map(|at| at.to_utc());
    parsed
        .or_else(|| seconds().and_then(|seconds| DateTime::from_timestamp(seconds, 0)))
        .and_then(storable)
        .ok_or_else(|| "not an instant; write it like 2026-12-31T23:59:59Z, or in seconds since 1970".into())
}

/// An instant, or how long ago it was.
pub(super) fn parse_since(text: &str) -> Result<DateTime<Utc>, String> {
    if let Ok(span) = text.parse::<Span>() {
        return Ok(now() - span.as_delta());
    }
    parse_instant(text).map_err(|error| format!("{error}, or say how long ago, like 2h or 7d"))
}

/// Now, by the machine's clock.
pub(super) fn now() -> DateTime<Utc> {
    SystemClock::default().now()
}

/// The first line without white space around it; nothing else may follow but line ends.
fn first_line(mut from: impl BufRead, longest: u64, whence: &str, what: &str) -> Result<String, Failure> {
    let line = line_as_it_is(&mut from, longest, whence, what)?;
    let mut rest = Vec::new();
    let more = from.take(longest).read_to_end(&mut rest).is_ok() && !rest.iter().all(u8::is_ascii_whitespace);
    if more {
        return Err(Failure::Usage(format!("{whence} holds more than {what}")));
    }
    match line.trim() {
        "" => Err(Failure::Usage(format!("{whence} holds no {}", what.trim_start_matches("a ")))),
        line => Ok(line.to_owned()),
    }
}

/// The first line without its end. White space may belong to a password.
fn line_as_it_is(mut from: impl BufRead, longest: u64, whence: &str, what: &str) -> Result<String, Failure> {
    match read_line(&mut from, longest) {
        Ok(Line::Text(bytes)) => {
            String::from_utf8(bytes).map_err(|_| Failure::Usage(format!("{whence} holds no text in UTF-8")))
        }
        Ok(Line::End) => Err(Failure::Usage(format!("{whence} is empty, and {what} is expected there"))),
        Ok(Line::TooLong) => Err(Failure::Usage(format!("{whence} holds too long a line for {what}"))),
        Err(error) => Err(Failure::io(format_args!("{whence} cannot be read"), &error)),
    }
}

enum Line {
    End,
    Text(Vec<u8>),
    TooLong,
}

/// One line without its end (LF or CR LF), of at most `longest` bytes.
fn read_line(from: &mut impl BufRead, longest: u64) -> io::Result<Line> {
    let mut bytes = Vec::new();
    loop {
        match from.by_ref().take(longest).read_until(b'\n', &mut bytes) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
            Ok(0) if bytes.is_empty() => return Ok(Line::End),
            Ok(_) => break,
        }
    }
    if bytes.ends_with(b"\n") {
        bytes.pop();
        if bytes.ends_with(b"\r") {
            bytes.pop();
        }
    } else if u64::try_from(bytes.len()).unwrap_or(u64::MAX) >= longest {
        return Ok(Line::TooLong);
    }
    Ok(Line::Text(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &[u8]) -> Vec<Option<String>> {
        jti_lines(text).expect("readable").into_iter().map(|line| line.jti.ok().map(|jti| jti.to_string())).collect()
    }

    #[test]
    fn a_list_has_a_jti_on_each_line_and_nothing_else() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(lines(b""), []);
        assert_eq!(lines(b"a\nb\r\nc"), [some("a"), some("b"), some("c")]);
        assert_eq!(lines(b"\n"), [None]);
        assert_eq!(lines(b"a\n\nb\n"), [some("a"), None, some("b")]);
        assert_eq!(lines(b"a \n\0\n\xff\n"), [None, None, None]);
        let mut long = vec![b'x'; 1 << 20];
        assert_eq!(lines(&long), [None], "what follows a line without end is not looked at");
        long.truncate(255);
        assert_eq!(lines(&long), [some(&"x".repeat(255))]);
    }

    #[test]
    fn what_is_no_jti_is_not_repeated() {
        let jtis =
            jtis(&["good".into(), "no good".into(), "eyJhbGciOi.eyJl.c2ln".into()], false).expect("nothing to read");
        let names: Vec<_> = jtis.iter().map(|jti| jti.name.as_str()).collect();
        assert_eq!(names, ["good", "argument 2", "argument 3"]);
        assert!(jtis[1].jti.is_err() && jtis[2].jti.is_err());
    }

    #[test]
    fn a_reason_is_one_short_line() {
        assert_eq!(parse_reason(" laptop stolen ").as_deref(), Ok("laptop stolen"));
        for bad in ["", "  ", "two\nlines", "\u{1b}[31m", &"x".repeat(LONGEST_REASON + 1)] {
            assert!(parse_reason(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_token_stands_alone_and_a_password_may_have_spaces() {
        let token = |text: &str| first_line(text.as_bytes(), 64, "standard input", "a token").ok();
        assert_eq!(token("a.b.c\n").as_deref(), Some("a.b.c"));
        assert_eq!(token(" a.b.c \r\n\n").as_deref(), Some("a.b.c"));
        for bad in ["", "\n", "a.b.c\nd.e.f\n", &"x".repeat(1000)] {
            assert_eq!(token(bad), None, "{bad:?}");
        }
        let password = |text: &[u8]| line_as_it_is(text, 64, "standard input", "a password").ok();
        assert_eq!(password(b" two words \n").as_deref(), Some(" two words "));
        assert_eq!(password(b"no end").as_deref(), Some("no end"));
        assert_eq!(password(b"\xff\n"), None);
        assert_eq!(password(b""), None);
    }

    #[test]
    fn an_instant_has_two_spellings() {
        let at = |text: &str| parse_instant(text).ok().map(|at| at.timestamp());
        assert_eq!(at("2026-11-21T12:00:00Z"), Some(1_795_262_400));
        assert_eq!(at("2026-11-21T13:00:00+01:00"), Some(1_795_262_400));
        assert_eq!(at("1795262400"), Some(1_795_262_400));
        for bad in ["", "tomorrow", "2026-11-21", "-1", "1e9", "99999999999999", "2026-11-21T12:00:00"] {
            assert_eq!(at(bad), None, "{bad}");
        }
        for far in
            ["+262142-12-31T23:59:59Z", "0999-12-31T23:59:59Z", "9999-12-31T23:59:59-00:01", "9223372036854775807"]
        {
            assert_eq!(at(far), None, "{far}");
        }
        assert_eq!(at("253402300799"), Some(253_402_300_799));
        assert!(parse_since("2h").is_ok_and(|at| (now() - at).num_minutes() == 120));
        assert!(parse_since("yesterday").is_err());
    }
}
