//! Those who end whole sessions: all of a user, one by a refresh token that was used before, one by a logout.

use std::sync::Arc;
use std::thread;

use serde_json::{Value, json};

use crate::actors::{Stage, acknowledged, listed};
use crate::cluster::SLOTS;
use crate::history::{Event, Operation, Outcome, TokenId, Via};
use crate::http;
use crate::random::Random;
use crate::support::database::Database;
use crate::support::mint::jti;
use crate::tokens::Token;

const REFRESH: &str = "/api/token/refresh/";

impl Stage {
    /// Ends everything of a user on the command line, by a cutoff or by disabling the user. Who has logged in since is let in.
    pub(crate) fn keep_ending_users(&self, name: &str, mut random: Random) {
        let (id, mut eye) = (self.cluster.user_id(name), None);
        while !self.is_over() {
            let logins = 1 + random.below(3);
            let tokens: Vec<Arc<Token>> = (0..logins).filter_map(|_| self.logged_in(name, &mut random)).collect();
            if tokens.is_empty() {
                // Nobody answers, or the last one who tried to let the user in again did not get through.
                self.cluster.cli(&["users", "enable", name]);
                continue;
            }
            self.pause(random.millis(0, 150));
            let ids: Vec<TokenId> = tokens.iter().map(|token| token.id).collect();
            let disables = random.one_in(2);
            let question = || {
                let ends = if disables { ["users", "disable", name] } else { ["blacklist", "--user", &id] };
                (None, if self.cluster.cli(&ends).success() { Outcome::Ok } else { Outcome::Unknown })
            };
            let events = self.recorder.ask_about_all(&ids, Operation::Revoke(Via::User), question);
            for (token, event) in tokens.iter().zip(events) {
                self.revoked(token, event);
                self.look_for(&mut eye, event, &token.ended_session());
            }
            if disables {
                self.cluster.cli(&["users", "enable", name]);
            }
            self.pause(random.millis(0, 100));
        }
    }

    /// Rotates, and then presents the first token once more.
    pub(crate) fn keep_using_twice(&self, mut random: Random) {
        let mut eye = None;
        while !self.is_over() {
            self.pause(random.millis(0, 200));
            let Some(pair) = self.login("ada", &mut random) else { continue };
            let token = self.tokens.of_login(&self.recorder, &pair);
            let Some(second) = self.rotated_by_two(&token, &mut eye, &mut random) else { continue };
            let Some(third) = self.got(random.below(SLOTS), REFRESH, &json!({ "refresh": second })) else { continue };
            assert!(third["refresh"].is_string(), "{third}");
            let slot = random.below(SLOTS);
            let mut gave = false;
            let body = json!({ "refresh": token.refresh });
            let question = || match self.cluster.ask(slot, |port| http::post(port, REFRESH, &body)) {
                Some((process, answer)) => {
                    gave = matches!(answer, Some((200, _)));
                    // That it is refused says that its session is over.
                    let over = matches!(answer, Some((401, _)));
                    (process, if over { Outcome::Ok } else { Outcome::Unknown })
                }
                None => (None, Outcome::Unknown),
            };
            let event = self.recorder.ask(token.id, Operation::Revoke(Via::Reuse), question);
            if gave {
                self.recorder.doubled(event);
            }
            self.check(slot, &token, Operation::Check);
            self.revoked(&token, event);
            self.look_for(&mut eye, event, &token.ended_session());
        }
    }

    /// What two processes make of the same refresh token at the same time: one successor, whoever gives it.
    fn rotated_by_two(&self, token: &Token, eye: &mut Option<Database>, random: &mut Random) -> Option<Value> {
        let (slot, other) = (random.below(SLOTS), random.below(SLOTS));
        let invoked = self.recorder.now();
        let answers = thread::scope(|scope| {
            let present = |slot| scope.spawn(move || self.got(slot, REFRESH, &json!({ "refresh": token.refresh })));
            let asked = [slot, other].map(present);
            asked.map(|thread| thread.join().expect("an answer"))
        });
        // A question without an answer may be asked later than the next one.
        let successors = answers.map(|answer| answer.map(|answer| answer["refresh"].clone()));
        let [Some(one), Some(other)] = successors else { return None };
        let event = Event {
            token: token.id,
            process: None,
            operation: Operation::Revoke(Via::Reuse),
            invoked,
            returned: self.recorder.now(),
            outcome: Outcome::Ok,
        };
        let name = |token: &Value| jti(token.as_str().expect("a refresh token"));
        if name(&one) != name(&other) {
            self.recorder.doubled(event);
        }
        self.look_for(eye, event, &listed(&token.refresh));
        Some(one)
    }

    /// Logs out at one process, and asks that one at once.
    pub(crate) fn keep_logging_out(&self, mut random: Random) {
        let mut eye = None;
        while !self.is_over() {
            self.pause(random.millis(0, 200));
            let Some(token) = self.logged_in("ada", &mut random) else { continue };
            self.pause(random.millis(0, 150));
            let slot = random.below(SLOTS);
            let question = || {
                let logout =
                    |port| http::post_as(port, "/api/token/logout/", &token.access, &json!({"scope": "local"}));
                match self.cluster.ask(slot, logout) {
                    Some((process, answer)) => (process, acknowledged(http::outcome(answer))),
                    None => (None, Outcome::Unknown),
                }
            };
            let event = self.recorder.ask(token.id, Operation::Revoke(Via::Logout), question);
            self.check(slot, &token, Operation::Check);
            self.revoked(&token, event);
            self.look_for(&mut eye, event, &token.ended_session());
        }
    }
}
