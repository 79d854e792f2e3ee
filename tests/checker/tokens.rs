//! The tokens that everybody works with.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use crate::cluster::LEEWAY;
use crate::history::{Nanos, Recorder, TokenId};
use crate::random::Random;
use crate::support::mint::{claims, jti, payload};
use crate::support::now;

/// An access or sliding token, and what it takes to revoke it.
#[derive(Debug)]
pub(crate) struct Token {
    pub(crate) id: TokenId,
    pub(crate) access: String,
    pub(crate) jti: String,
    /// What its row says of its end, in whole seconds since 1970. It is later where the token is a renewed sliding one.
    pub(crate) exp: i64,
    /// The refresh token of its session; of a sliding token, the token itself.
    pub(crate) refresh: String,
    /// Nobody accepts it from then on, revoked or not.
    pub(crate) dead_at: Nanos,
}

/// Every token, and which of them are worth a question.
#[derive(Default)]
pub(crate) struct Tokens {
    lists: Mutex<Lists>,
}

#[derive(Default)]
struct Lists {
    /// The latest that somebody revokes or is about to.
    recent: VecDeque<Arc<Token>>,
    /// Those that were acknowledged, with the moment; some are dead.
    acknowledged: Vec<(Arc<Token>, Nanos)>,
    /// The latest of them that expire soon.
    short: VecDeque<Arc<Token>>,
    /// Those that nobody ever revokes.
    spared: VecDeque<Arc<Token>>,
}

/// How many of the latest there are.
const RECENT: usize = 24;
/// In seconds: who expires earlier than that will be flushed while people ask for it.
const SHORT: i64 = 60;
/// For how many seconds a sliding token was renewed.
const RENEWED: i64 = 90;
/// How many of those that nobody revokes.
const SPARED: usize = 100;

impl Token {
    /// The row of its session, where that is over.
    pub(crate) fn ended_session(&self) -> String {
        let session = payload(&self.access)["sid"].as_str().expect("a session").to_owned();
        format!("simplejwt_session WHERE ended_at IS NOT NULL AND id = '{session}'")
    }
}

impl Tokens {
    /// One of a session of its own, which is about to be revoked.
    pub(crate) fn mint(&self, recorder: &Recorder, random: &mut Random) -> Arc<Token> {
        if random.one_in(4) {
            self.spare(recorder, random);
        }
        let token = made(recorder, random);
        self.with(|lists| push(&mut lists.recent, RECENT, &token));
        token
    }

    /// A sliding token that was renewed as Django does it, so that its row says that it is over long before it is.
    pub(crate) fn slide(&self, recorder: &Recorder, random: &mut Random) -> Arc<Token> {
        let (first, last) = (now() + soon(random), now() + RENEWED);
        let renewed = claims("sliding").with("exp", last).with("refresh_exp", last + 600);
        let (jti, text) = (renewed.jti().to_owned(), renewed.sign());
        let token = token(recorder, jti, Ends { recorded: first, actual: last }, text.clone(), text);
        self.with(|lists| push(&mut lists.recent, RECENT, &token));
        token
    }

    /// One that a login gave.
    pub(crate) fn of_login(&self, recorder: &Recorder, reply: &Value) -> Arc<Token> {
        let (access, refresh) = (text(reply, "access"), text(reply, "refresh"));
        let exp = payload(&access)["exp"].as_i64().expect("a whole exp");
        let token = token(recorder, jti(&access), Ends { recorded: exp, actual: exp }, access, refresh);
        self.with(|lists| push(&mut lists.recent, RECENT, &token));
        token
    }

    /// One more that nobody revokes.
    pub(crate) fn spare(&self, recorder: &Recorder, random: &mut Random) {
        let token = made(recorder, random);
        self.with(|lists| push(&mut lists.spared, SPARED, &token));
    }

    pub(crate) fn acknowledge(&self, token: &Arc<Token>, at: Nanos) {
        self.with(|lists| {
            if lists.acknowledged.len() % 64 == 63 {
                lists.acknowledged.retain(|(token, _)| at < token.dead_at);
            }
            lists.acknowledged.push((Arc::clone(token), at));
            if token.exp - now() < SHORT {
                push(&mut lists.short, RECENT, token);
            }
        });
    }

    /// One to ask for: mostly one that is just being revoked, at times an older one, or one that nobody revokes.
    pub(crate) fn choose(&self, now: Nanos, random: &mut Random) -> Option<Arc<Token>> {
        self.with(|lists| {
            let chosen = match random.below(10) {
                0 | 1 => pick(lists.spared.make_contiguous(), random),
                2 => pick(&lists.acknowledged, random).map(|(token, _)| token),
                3 => pick(lists.short.make_contiguous(), random),
                4..=6 => pick(&lists.acknowledged[lists.acknowledged.len().saturating_sub(8)..], random)
                    .map(|(token, _)| token),
                _ => pick(lists.recent.make_contiguous(), random),
            };
            chosen.filter(|token| now < token.dead_at)
        })
    }

    /// The latest so many that were acknowledged between two moments.
    pub(crate) fn acknowledged_between(&self, from: Nanos, to: Nanos, count: usize) -> Vec<Arc<Token>> {
        self.with(|lists| {
            let between = lists.acknowledged.iter().rev().filter(|(_, at)| (from..to).contains(at));
            between.take(count).map(|(token, _)| Arc::clone(token)).collect()
        })
    }

    /// All that were acknowledged and would be accepted now otherwise.
    pub(crate) fn acknowledged(&self, now: Nanos) -> Vec<Arc<Token>> {
        self.acknowledged_between(0, now, usize::MAX).into_iter().filter(|token| now < token.dead_at).collect()
    }

    fn with<T>(&self, does: impl FnOnce(&mut Lists) -> T) -> T {
        does(&mut self.lists.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn pick<T: Clone>(from: &[T], random: &mut Random) -> Option<T> {
    (!from.is_empty()).then(|| from[random.below(from.len())].clone())
}

fn push(list: &mut VecDeque<Arc<Token>>, most: usize, token: &Arc<Token>) {
    list.push_back(Arc::clone(token));
    if list.len() > most {
        list.pop_front();
    }
}

fn text(reply: &Value, name: &str) -> String {
    reply[name].as_str().expect("a token").to_owned()
}

/// Some expire soon, so that they are flushed while they may still be accepted.
fn made(recorder: &Recorder, random: &mut Random) -> Arc<Token> {
    let life = if random.below(10) < 4 { soon(random) } else { 600 };
    let (exp, session) = (now() + life, uuid::Uuid::new_v4().to_string());
    let access = claims("access").with("exp", exp).with("sid", json!(session));
    let refresh = claims("refresh").with("exp", exp).with("sid", json!(session));
    let ends = Ends { recorded: exp, actual: exp };
    token(recorder, access.jti().to_owned(), ends, access.sign(), refresh.sign())
}

/// In so many seconds a token expires that does it while people ask for it.
fn soon(random: &mut Random) -> i64 {
    3 + i64::try_from(random.below(8)).unwrap_or_default()
}

/// When a token expires: as its row says, and as it says itself.
#[derive(Clone, Copy)]
struct Ends {
    recorded: i64,
    actual: i64,
}

fn token(recorder: &Recorder, jti: String, ends: Ends, access: String, refresh: String) -> Arc<Token> {
    let exp = ends.recorded;
    // The other clock counts whole seconds, so that one is lost or won.
    let left = u64::try_from(ends.actual - now()).unwrap_or_default();
    let after = |seconds| recorder.now() + u64::try_from(Duration::from_secs(seconds).as_nanos()).unwrap_or(Nanos::MAX);
    let id = recorder.token(after(left.saturating_sub(1)));
    Arc::new(Token { id, access, jti, exp, refresh, dead_at: after(left + LEEWAY + 1) })
}
