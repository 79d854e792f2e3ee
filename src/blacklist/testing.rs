//! What every [`Blacklist`] must do, as a test of it.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! use rocket_simplejwt::blacklist::{InMemoryBlacklist, testing};
//!
//! testing::conforms(&InMemoryBlacklist::default()).await;
//! # }
//! ```

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};

use super::{Blacklist, BlacklistError, Presented, Revocable};
use crate::token::{Clock as _, Jti, SessionId, SystemClock};

/// Registers tokens, sessions and cutoffs with a blacklist, and asks about them and about others. What the blacklist says that it
/// has not ([`BlacklistError::unsupported`]) is left out. Afterwards everything is refused that began before now: use a blacklist
/// of its own for each call.
///
/// # Panics
/// Where the blacklist does not do what it must, or answers with another error.
pub async fn conforms(blacklist: &dyn Blacklist) {
    let now = SystemClock::default().now().trunc_subsecs(3);
    let trial = Trial { blacklist, now, until: now + TimeDelta::hours(1) };
    trial.tokens().await;
    trial.sessions().await;
    trial.takes_back().await;
    // Last, as nothing takes a cutoff back.
    trial.cutoff_of(Some("O'Neill \u{1f980}")).await;
    trial.cutoff_of(None).await;
}

struct Trial<'a> {
    blacklist: &'a dyn Blacklist,
    now: DateTime<Utc>,
    until: DateTime<Utc>,
}

/// A token that began when the trial did, or so many milliseconds later.
fn token(jti: &Jti, session: Option<SessionId>, at: DateTime<Utc>) -> Presented<'_> {
    Presented { jti, session, issued_at: Some(at.timestamp()), user: Some("ada") }
}

fn session_at(at: DateTime<Utc>) -> SessionId {
    SessionId::starting_at(u64::try_from(at.timestamp_millis()).unwrap_or_default())
}

/// Whether the blacklist has such a thing at all.
fn has(done: Result<(), BlacklistError>) -> bool {
    match done {
        Ok(()) => true,
        Err(error) if error.is_unsupported() => false,
        Err(error) => panic!("{}", crate::chain::chain(&error)),
    }
}

impl Trial<'_> {
    async fn refuses(&self, token: &Presented<'_>) -> bool {
        match self.blacklist.is_blacklisted(token).await {
            Ok(refused) => refused,
            Err(error) => panic!("{}", crate::chain::chain(&error)),
        }
    }

    async fn register(&self, what: Revocable) -> bool {
        has(self.blacklist.register(&what).await)
    }

    async fn tokens(&self) {
        let hex = Jti::random();
        let upper = hex.as_str().to_uppercase();
        let hyphens = format!("{}-{}", &hex.as_str()[..8], &hex.as_str()[8..]);
        let long = format!("{}.~-_Z", "x".repeat(240));
        // Each is registered, and the others are not it.
        for (text, others) in [
            (hex.as_str(), [upper.as_str(), &hex.as_str()[..31], hyphens.as_str()]),
            (long.as_str(), [&long[1..], &long[..240], "0"]),
            ("Ab", ["ab", "A", "b"]),
        ] {
            let Ok(jti) = text.parse::<Jti>() else { panic!("{text} is no jti") };
            let refused = token(&jti, None, self.now);
            assert!(!self.refuses(&refused).await, "nobody registered {text}");
            let what = |until| Revocable::Token { jti: jti.clone(), until };
            assert!(self.register(what(self.until)).await, "a blacklist has tokens");
            assert!(self.refuses(&refused).await, "{text} was registered");
            // Again, and for a shorter time.
            assert!(self.register(what(self.now + TimeDelta::seconds(1))).await, "a blacklist has tokens");
            assert!(self.refuses(&refused).await, "{text} was registered twice");
            let anyhow = Presented { issued_at: None, user: None, ..refused };
            assert!(self.refuses(&anyhow).await, "{text} was registered, whatever else the token says");
            for other in others {
                let Ok(other) = other.parse::<Jti>() else { continue };
                assert!(!self.refuses(&token(&other, None, self.now)).await, "{other} is not {text}");
            }
        }
    }

    async fn sessions(&self) {
        let (over, open, jti) = (session_at(self.now), session_at(self.now), Jti::random());
        if !self.register(Revocable::Session { id: over, until: self.until }).await {
            return;
        }
        assert!(self.refuses(&token(&jti, Some(over), self.now)).await, "its session was registered");
        assert!(!self.refuses(&token(&jti, Some(open), self.now)).await, "its session was not registered");
        assert!(!self.refuses(&token(&jti, None, self.now)).await, "it has no session");
    }

    async fn takes_back(&self) {
        let what = Revocable::Token { jti: Jti::random(), until: self.until };
        let Revocable::Token { jti, .. } = &what else { return };
        assert!(self.register(what.clone()).await, "a blacklist has tokens");
        let taken_back = has(self.blacklist.unregister(&what).await);
        let refused = self.refuses(&token(jti, None, self.now)).await;
        assert_eq!(refused, !taken_back, "what was taken back is not refused, and what was not is");
        // Who takes back what was never registered has what it wants.
        let never = Revocable::Token { jti: Jti::random(), until: self.until };
        has(self.blacklist.unregister(&never).await);
        assert!(self.register(what.clone()).await, "a blacklist has tokens");
        assert!(self.refuses(&token(jti, None, self.now)).await, "it was registered again");
    }

    /// Of a user, or of everybody.
    async fn cutoff_of(&self, user: Option<&str>) {
        let jti = Jti::random();
        let millis = TimeDelta::milliseconds;
        // In the middle of a second, and a later one before an earlier one.
        let mark = self.now.trunc_subsecs(0) - TimeDelta::minutes(1) + millis(500);
        for not_before in [mark, mark - TimeDelta::minutes(1)] {
            let what = Revocable::Cutoff { user: user.map(str::to_owned), not_before, until: self.until };
            if !self.register(what).await {
                return;
            }
        }
        let of = |session: Option<i64>, issued_at: Option<i64>| Presented {
            jti: &jti,
            session: session.map(|offset| session_at(mark + millis(offset))),
            issued_at: issued_at.map(|offset| (mark + millis(offset)).timestamp()),
            user: user.or(Some("grace")),
        };
        let day = 24 * 60 * 60 * 1000;
        for (token, refused) in [
            (of(Some(0), Some(0)), true),
            (of(Some(-1), Some(0)), true),
            (of(Some(1), Some(0)), false),
            // However often it was renewed since.
            (of(Some(-day), Some(2000)), true),
            (of(Some(1), Some(-day)), false),
            (of(None, Some(0)), true),
            (of(None, Some(-1000)), true),
            (of(None, Some(1000)), false),
            (of(None, None), true),
        ] {
            assert_eq!(self.refuses(&token).await, refused, "the mark is {mark}: {token:?}");
        }
        if user.is_some() {
            let other = Presented { user: Some("grace"), ..of(Some(-day), None) };
            assert!(!self.refuses(&other).await, "the mark is of another user");
            let nobody = Presented { user: None, ..of(Some(-day), None) };
            assert!(!self.refuses(&nobody).await, "the mark is of a user, and the token is of none");
        }
    }
}
