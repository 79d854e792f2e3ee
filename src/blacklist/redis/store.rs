//! What Redis holds, and the scripts that read and write it.

use std::sync::LazyLock;

use chrono::{DateTime, Utc};
use redis::{RedisError, Script, Value, cmd, from_redis_value};

use super::keys::Keys;
use super::link::{Call, Link};
use crate::blacklist::Presented;
use crate::ledger::Position;

const HEAD: &str = include_str!("head.lua");
const CHECK: &str = include_str!("check.lua");
const APPLY: &str = include_str!("apply.lua");
const BEGIN: &str = include_str!("begin.lua");

static HEAD_SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(HEAD));
static CHECK_SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(CHECK));
static APPLY_SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(APPLY));
static BEGIN_SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(BEGIN));

/// For how long the head outlives the last word of a process. It goes by the same clock as the keys, and they outlive what they
/// refuse by [`MARGIN`]: a clock that jumps so far that it takes one of them too early has taken the head before.
const HEAD_LIFETIME: i64 = 60_000;
const MARGIN: i64 = 2 * HEAD_LIFETIME;

/// The same while everything is loaded: whoever does it says so with each batch, and if nobody does, somebody else begins.
const LOADING_LIFETIME: i64 = 15_000;

/// How Redis stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    /// Which run of which server that is.
    pub(super) server: String,
    /// What it does where its memory is full.
    pub(super) policy: String,
    /// How many keys it has thrown away for that reason.
    pub(super) evicted: String,
    /// Its time, in milliseconds since 1970.
    pub(super) time: i64,
    pub(super) found: Found,
}

/// What is where the head should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Nothing that can be used; what its epoch is said to be.
    Nothing(Seen),
    Head(Head),
}

/// What was seen at the place of the head, for whoever wants to replace just that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    kind: String,
    epoch: String,
}

/// How far Redis is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// Another one wherever something may have been lost.
    pub(super) epoch: String,
    /// One more with each change.
    pub(super) version: u64,
    /// Whether everything is being loaded.
    pub(super) loading: bool,
    /// Up to where the log of the ledger was applied. Something, unless everything is being loaded.
    pub(super) position: Option<Position>,
    /// The run of the server in which the epoch began.
    pub(super) server: String,
    /// What [`Standing::evicted`] was then.
    pub(super) evicted: String,
    /// When the ledger was last asked by whoever had read the log to its end, by the clock of Redis.
    pub(super) asked: Option<i64>,
}

impl Head {
    pub(super) fn seen(&self) -> Seen {
        Seen { kind: HERE.to_owned(), epoch: self.epoch.clone() }
    }
}

/// What is to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Write {
    /// To be refused until then.
    Refuse { key: String, until: DateTime<Utc> },
    /// Not to be refused any more.
    Allow { key: String },
    /// A not-before mark, and until when it is needed.
    Cutoff { key: String, not_before: DateTime<Utc>, until: DateTime<Utc> },
}

/// What else changes with it.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress<'a> {
    pub(super) position: Option<&'a Position>,
    /// Everything is loaded.
    pub(super) loaded: bool,
    /// When the ledger was asked, by the clock of Redis: everything that it knew then is applied.
    pub(super) asked: Option<i64>,
}

/// What the check of a request found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) epoch: String,
    pub(super) version: u64,
    /// Whether everything is loaded, and no key was thrown away since.
    pub(super) intact: bool,
    /// Whether the token is refused; nothing, where what stands there makes no sense.
    pub(super) refused: Option<bool>,
}

/// Redis, as we use it.
#[derive(Clone, Debug)]
pub(super) struct Store {
    pub(super) keys: Keys,
}

impl Store {
    /// How Redis stands.
    pub(super) async fn standing(&self, link: &mut Link) -> Result<Standing, RedisError> {
        let mut call = Call::default();
        call.key(self.keys.head());
        let reply = link.run(&HEAD_SCRIPT, HEAD, &call).await?;
        let fields: Vec<String> = from_redis_value(reply)?;
        let [server, policy, evicted, time, kind, head @ ..] = fields.as_slice() else { return Err(nonsense()) };
        let found = match head_of(head).filter(|_| kind == HERE) {
            Some(head) => Found::Head(head),
            None => {
                let epoch = head.first().cloned().unwrap_or_default();
                Found::Nothing(Seen { kind: kind.clone(), epoch })
            }
        };
        let (server, policy, evicted) = (server.clone(), policy.clone(), evicted.clone());
        let time = time.parse().map_err(|_| nonsense())?;
        Ok(Standing { server, policy, evicted, time, found })
    }

    /// Asks for a token.
    pub(super) async fn check(&self, link: &mut Link, token: &Presented<'_>) -> Result<Answer, RedisError> {
        let mut call = Call::default();
        call.key(self.keys.head()).key(self.keys.everybody()).key(self.keys.token(token.jti));
        if let Some(session) = token.session {
            call.key(self.keys.session(session));
        }
        if let Some(user) = token.user {
            call.key(self.keys.user(user));
        }
        let Value::Array(reply) = link.run(&CHECK_SCRIPT, CHECK, &call).await? else { return Err(nonsense()) };
        let (head, values) = reply.split_at_checked(4).ok_or_else(nonsense)?;
        let [epoch, version, state, intact] = head else { return Err(nonsense()) };
        let state: String = from_redis_value(state.clone())?;
        let intact: i64 = from_redis_value(intact.clone())?;
        let version: String = from_redis_value(version.clone())?;
        Ok(Answer {
            epoch: from_redis_value(epoch.clone())?,
            version: version.parse().unwrap_or(0),
            intact: intact == 1 && state == READY,
            refused: refused(token, values),
        })
    }

    /// Begins an epoch in which everything is loaded, if what was seen is still there. `from` is where to go on afterwards.
    pub(super) async fn begin(
        &self,
        link: &mut Link,
        seen: &Seen,
        epoch: &str,
        from: Option<&Position>,
    ) -> Result<bool, RedisError> {
        self.replace(link, seen, epoch, LOADING_LIFETIME, from).await
    }

    /// Ends an epoch in which not everything could be loaded, so that nobody waits for it.
    pub(super) async fn give_up(&self, link: &mut Link, epoch: &str, from: Option<&Position>) {
        let seen = Seen { kind: HERE.to_owned(), epoch: epoch.to_owned() };
        // Where that fails it ends by itself.
        drop(self.replace(link, &seen, epoch, 1, from).await);
    }

    async fn replace(
        &self,
        link: &mut Link,
        seen: &Seen,
        epoch: &str,
        lifetime: i64,
        from: Option<&Position>,
    ) -> Result<bool, RedisError> {
        let mut call = Call::default();
        call.key(self.keys.head()).argument(&seen.kind).argument(&seen.epoch).argument(epoch).argument(lifetime);
        call.argument(&*from.map(written).unwrap_or_default());
        let begun: i64 = from_redis_value(link.run(&BEGIN_SCRIPT, BEGIN, &call).await?)?;
        Ok(begun == 1)
    }

    /// Writes what has changed, if nobody has written anything since the head was read. The version that it is then.
    pub(super) async fn apply(
        &self,
        link: &mut Link,
        (epoch, version): (&str, u64),
        loading: bool,
        writes: &[Write],
        progress: &Progress<'_>,
        now: DateTime<Utc>,
    ) -> Result<Option<u64>, RedisError> {
        let stays_loading = loading && !progress.loaded;
        let mut call = Call::default();
        call.key(self.keys.head()).argument(epoch).argument(version).argument(if loading { LOADING } else { READY });
        call.argument(&*progress.position.map(written).unwrap_or_default());
        call.argument(if progress.loaded { READY } else { "" });
        call.argument(&*progress.asked.map(|asked| asked.to_string()).unwrap_or_default());
        call.argument(now.timestamp_millis()).argument(MARGIN);
        call.argument(if stays_loading { LOADING_LIFETIME } else { HEAD_LIFETIME }).argument(&*self.keys.channel());
        for write in writes {
            match write {
                Write::Refuse { key, until } => call.key(key).argument(&*format!("S{}", end(*until))),
                Write::Allow { key } => call.key(key).argument("D"),
                Write::Cutoff { key, not_before, until } => {
                    call.key(key).argument(&*format!("C{}:{}", not_before.timestamp_millis(), end(*until)))
                }
            };
        }
        let version: i64 = from_redis_value(link.run(&APPLY_SCRIPT, APPLY, &call).await?)?;
        Ok(u64::try_from(version).ok())
    }

    /// Whether it is this process that reads everything once more in the time to come.
    pub(super) async fn claim_reading_again(&self, link: &mut Link, every_millis: u64) -> Result<bool, RedisError> {
        let mut set = cmd("SET");
        set.arg(self.keys.again()).arg(1).arg("NX").arg("PX").arg(every_millis);
        Ok(link.send(&set).await? != Value::Nil)
    }
}

/// The head is what it should be, or nothing.
const HERE: &str = "head";

const READY: &str = "ready";
const LOADING: &str = "loading";

/// The latest end that is written: a hundred years from any now. What is never forgotten is not forgotten by then.
const LATEST: i64 = 7_258_118_400_000;

fn end(until: DateTime<Utc>) -> i64 {
    until.timestamp_millis().clamp(0, LATEST)
}

/// Whether the token is refused by what stands at its keys: the cutoff of everybody, the token, then its session and the cutoff
/// of its user, as far as it has them.
fn refused(token: &Presented<'_>, values: &[Value]) -> Option<bool> {
    let mut values = values.iter();
    let mut mark = cutoff(values.next()?)?;
    let mut refused = is_set(values.next()?)?;
    if token.session.is_some() {
        refused |= is_set(values.next()?)?;
    }
    if token.user.is_some() {
        mark = mark.max(cutoff(values.next()?)?);
    }
    Some(refused || mark != NEVER && token.began_at_millis() <= mark)
}

fn is_set(value: &Value) -> Option<bool> {
    match value {
        Value::Nil => Some(false),
        Value::BulkString(text) if text == b"1" => Some(true),
        _ => None,
    }
}

/// Before everything.
const NEVER: i64 = i64::MIN;

/// A not-before mark in milliseconds since 1970, or [`NEVER`].
fn cutoff(value: &Value) -> Option<i64> {
    match value {
        Value::Nil => Some(NEVER),
        Value::BulkString(text) => std::str::from_utf8(text).ok()?.parse().ok(),
        _ => None,
    }
}

/// Of epoch, version, state, position, server, evicted, asked.
fn head_of(fields: &[String]) -> Option<Head> {
    let [epoch, version, state, position, server, evicted, asked] = fields else { return None };
    let (loading, position) = match state.as_str() {
        READY => (false, Some(read(position)?)),
        LOADING => (true, read(position)),
        _ => return None,
    };
    let asked = if asked.is_empty() { None } else { Some(asked.parse().ok()?) };
    let is_ours = epoch.len() == 32 && !server.is_empty() && !evicted.is_empty();
    is_ours.then_some(())?;
    Some(Head {
        epoch: epoch.clone(),
        version: version.parse().ok()?,
        loading,
        position,
        server: server.clone(),
        evicted: evicted.clone(),
        asked,
    })
}

/// A position as text: number, moment, generation.
fn written(position: &Position) -> String {
    let at = position
        .at
        .map_or_else(|| "-".to_owned(), |at| format!("{}.{:09}", at.timestamp(), at.timestamp_subsec_nanos()));
    format!("{} {at} {}", position.seq, position.generation)
}

fn read(text: &str) -> Option<Position> {
    let mut parts = text.splitn(3, ' ');
    let seq = parts.next()?.parse().ok()?;
    let at = match parts.next()? {
        "-" => None,
        at => {
            let (seconds, nanoseconds) = at.split_once('.')?;
            Some(DateTime::from_timestamp(seconds.parse().ok()?, nanoseconds.parse().ok()?)?)
        }
    };
    Some(Position { seq, at, generation: parts.next()?.to_owned() })
}

fn nonsense() -> RedisError {
    (redis::ErrorKind::UnexpectedReturnType, "the answer is not what was asked for").into()
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::token::Jti;

    #[test]
    fn a_position_is_read_as_it_was_written() {
        for at in [None, DateTime::from_timestamp(1_795_343_718, 821_153_000), DateTime::from_timestamp(-1, 7)] {
            let position = Position { generation: "a b".to_owned(), seq: -3, at };
            assert_eq!(read(&written(&position)), Some(position));
        }
        for junk in ["", "1", "1 -", "x - a", "1 2 a", "1 2.x a", "1 2.9999999999 a"] {
            assert_eq!(read(junk), None, "{junk}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_no_answer() {
        let jti = Jti::random();
        let token = Presented { jti: &jti, session: None, issued_at: Some(10), user: Some("ada") };
        let text = |text: &str| Value::BulkString(text.into());
        let asked = |everybody: Value, token_key: Value, user: Value| refused(&token, &[everybody, token_key, user]);
        assert_eq!(asked(Value::Nil, Value::Nil, Value::Nil), Some(false));
        assert_eq!(asked(Value::Nil, text("1"), Value::Nil), Some(true));
        assert_eq!(asked(text("10000"), Value::Nil, Value::Nil), Some(true), "not later than the mark");
        assert_eq!(asked(Value::Nil, Value::Nil, text("9999")), Some(false));
        for junk in [text(""), text("2"), text("!"), Value::Int(1), Value::Boolean(false)] {
            assert_eq!(asked(Value::Nil, junk.clone(), Value::Nil), None, "{junk:?}");
        }
        assert_eq!(asked(text("!"), text("1"), Value::Nil), None);
        assert_eq!(asked(Value::Nil, text("1"), text("x")), None);
        assert_eq!(refused(&token, &[Value::Nil, text("1")]), None, "an answer is missing");
    }
}
