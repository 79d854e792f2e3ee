//! Those who revoke, those who ask, and the one who flushes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::RECOVERY;
use crate::cluster::{Cluster, SLOTS};
use crate::history::{Event, Operation, Outcome, Recorder, Via};
use crate::http;
use crate::random::Random;
use crate::support::database::{BLACKLISTED, Database, OUTSTANDING, instant};
use crate::support::mint::jti;
use crate::support::now;
use crate::support::server::PASSWORD;
use crate::tokens::{Token, Tokens};

/// What everybody has in hand.
pub(crate) struct Stage {
    pub(crate) cluster: Cluster,
    pub(crate) recorder: Recorder,
    pub(crate) tokens: Tokens,
    pub(crate) over: AtomicBool,
}

impl Stage {
    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    /// Waits, but not beyond the end.
    pub(crate) fn pause(&self, time: Duration) {
        let end = Instant::now() + time;
        while !self.is_over() && Instant::now() < end {
            thread::sleep(Duration::from_millis(5).min(time));
        }
    }

    /// Asks the process of a slot whether a token is good.
    pub(crate) fn check(&self, slot: usize, token: &Token, operation: Operation) -> Outcome {
        if !self.cluster.is_listening(slot) {
            thread::sleep(Duration::from_millis(5));
        }
        let question = || match self.cluster.whoami(slot, &token.access) {
            Some((process, answer)) => (process, http::outcome(answer)),
            None => (None, Outcome::Unknown),
        };
        self.recorder.ask(token.id, operation, question).outcome
    }

    pub(crate) fn revoked(&self, token: &Arc<Token>, event: Event) {
        if event.outcome == Outcome::Ok {
            self.tokens.acknowledge(token, event.returned);
        }
    }

    /// Asks one process, again and again.
    pub(crate) fn keep_asking(&self, slot: usize, mut random: Random) {
        while !self.is_over() {
            match self.tokens.choose(self.recorder.now(), &mut random) {
                Some(token) => drop(self.check(slot, &token, Operation::Check)),
                None => self.pause(Duration::from_millis(5)),
            }
            // Enough questions, and some time for those who are asked.
            thread::sleep(random.millis(0, 3));
        }
    }

    /// Blacklists over HTTP at one process, and asks that one at once.
    pub(crate) fn keep_posting(&self, slot: usize, mut random: Random) {
        let mut eye = None;
        while !self.is_over() {
            let token = self.tokens.mint(&self.recorder, &mut random);
            self.pause(random.millis(0, 150));
            let question = || {
                let body = json!({ "refresh": token.refresh });
                match self.cluster.ask(slot, |port| http::post(port, "/api/token/blacklist/", &body)) {
                    Some((process, answer)) => (process, acknowledged(http::outcome(answer))),
                    None => (None, Outcome::Unknown),
                }
            };
            let event = self.recorder.ask(token.id, Operation::Revoke(Via::Http), question);
            self.check(slot, &token, Operation::Check);
            self.revoked(&token, event);
            self.look_for(&mut eye, event, &listed(&token.refresh));
            self.pause(random.millis(0, 100));
        }
    }

    /// Looks by a connection of its own for the rows of what was acknowledged.
    pub(crate) fn look_for(&self, eye: &mut Option<Database>, event: Event, rows: &str) {
        if event.outcome != Outcome::Ok {
            return;
        }
        let begun = Instant::now();
        loop {
            match eye.get_or_insert_with(|| self.cluster.database()).try_count(rows) {
                Ok(count) => return self.recorder.looked(event, count > 0),
                // It was killed, and comes back with all of them.
                Err(error) => assert!(begun.elapsed() < RECOVERY, "{error}: {rows}"),
            }
            *eye = None;
        }
    }

    /// Blacklists on the command line.
    pub(crate) fn keep_commanding(&self, mut random: Random) {
        while !self.is_over() {
            let token = self.tokens.mint(&self.recorder, &mut random);
            self.pause(random.millis(0, 150));
            let question = || {
                let output = self.cluster.cli(&["blacklist", &token.jti, "--expires-at", &token.exp.to_string()]);
                (None, if output.success() { Outcome::Ok } else { Outcome::Unknown })
            };
            let event = self.recorder.ask(token.id, Operation::Revoke(Via::CommandLine), question);
            self.revoked(&token, event);
        }
    }

    /// Writes rows as Django does, each in a transaction that stays open for this long at most.
    pub(crate) fn keep_writing(&self, via: Via, longest: Duration, mut random: Random) {
        let mut connection = None;
        while !self.is_over() {
            let token = match random.below(10) {
                0 => self.logged_in("ada", &mut random),
                1 => Some(self.tokens.slide(&self.recorder, &mut random)),
                _ => None,
            };
            let token = token.unwrap_or_else(|| self.tokens.mint(&self.recorder, &mut random));
            self.pause(random.millis(0, 150));
            let open = random.millis(0, u64::try_from(longest.as_millis()).unwrap_or_default());
            let database = connection.get_or_insert_with(|| self.cluster.database());
            let question = || {
                let written = write(database, &token, via == Via::LateSql, || self.pause(open));
                (None, if written.is_ok() { Outcome::Ok } else { Outcome::Unknown })
            };
            let event = self.recorder.ask(token.id, Operation::Revoke(via), question);
            self.revoked(&token, event);
            if event.outcome != Outcome::Ok {
                connection = None;
            }
            self.pause(random.millis(0, 100));
        }
    }

    /// The tokens of a login, where somebody answers: the access token has to go with its session, when the refresh token is blacklisted.
    pub(crate) fn logged_in(&self, name: &str, random: &mut Random) -> Option<Arc<Token>> {
        let mut pair = self.login(name, random)?;
        // At times it is renewed first. The access token of the login goes with the session all the same.
        if random.one_in(2) {
            let body = json!({ "refresh": pair["refresh"] });
            let renewed = self.got(random.below(SLOTS), "/api/token/refresh/", &body)?;
            pair["refresh"] = renewed["refresh"].clone();
        }
        Some(self.tokens.of_login(&self.recorder, &pair))
    }

    /// What a login gives, where somebody answers.
    pub(crate) fn login(&self, name: &str, random: &mut Random) -> Option<Value> {
        self.got(random.below(SLOTS), "/api/token/", &json!({"username": name, "password": PASSWORD}))
    }

    /// What the process of a slot gives, if it gives something.
    pub(crate) fn got(&self, slot: usize, path: &str, body: &Value) -> Option<Value> {
        let (_, answer) = self.cluster.ask(slot, |port| http::post(port, path, body))?;
        let (_, reply) = answer.filter(|(status, _)| *status == 200)?;
        Some(serde_json::from_str(&reply).expect("JSON"))
    }

    /// Flushes, again and again.
    pub(crate) fn keep_flushing(&self, mut random: Random) {
        while !self.is_over() {
            let output = self.cluster.cli(&["flushexpiredtokens"]);
            assert!([0, 75].contains(&output.code()), "{output:?}");
            self.pause(random.millis(200, 1500));
        }
    }
}

/// To have been refused is no acknowledgement: a token that expired meanwhile is not written down.
pub(crate) fn acknowledged(outcome: Outcome) -> Outcome {
    if outcome == Outcome::Ok { Outcome::Ok } else { Outcome::Unknown }
}

/// The row of a token that is on the blacklist.
pub(crate) fn listed(token: &str) -> String {
    format!("{BLACKLISTED} b JOIN {OUTSTANDING} o ON b.token_id = o.id WHERE o.jti = '{}'", jti(token))
}

/// What Django's admin page does. A token that nobody recorded is recorded first; of a login, the refresh token is.
fn write(database: &mut Database, token: &Token, late: bool, meanwhile: impl FnOnce()) -> diesel::QueryResult<()> {
    let refresh = jti(&token.refresh);
    if late {
        database.try_begin()?;
    }
    let at = instant(now());
    let listed = format!(
        "INSERT INTO {BLACKLISTED} (blacklisted_at, token_id) SELECT '{at}', id FROM {OUTSTANDING} WHERE jti = "
    );
    if database.try_execute(&format!("{listed}'{refresh}'"))? == 0 {
        let (expires, jti) = (instant(token.exp), &token.jti);
        database.try_execute(&format!(
            "INSERT INTO {OUTSTANDING} (token, created_at, expires_at, user_id, jti) VALUES ('', '{at}', '{expires}', NULL, '{jti}')"
        ))?;
        database.try_execute(&format!("{listed}'{jti}'"))?;
    }
    if late {
        meanwhile();
        database.try_execute("COMMIT")?;
    }
    Ok(())
}
