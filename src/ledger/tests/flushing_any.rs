//! Nothing that makes a token refused is forgotten too early, whatever tokens and sessions there are.

use proptest::prelude::*;
use proptest::sample::select;

use super::ending::ending;
use super::flushing::{flush, plan};
use super::*;
use crate::ledger::sessions;

/// A token of any kind, in any state.
#[derive(Clone, Debug)]
struct Case {
    kind: Option<TokenKind>,
    /// When it expires, and until when it can be renewed if it is a sliding one.
    expires: i64,
    renewable: i64,
    /// Who refuses it.
    refused_by: RefusedBy,
    /// Of which session it is, by its number.
    session: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum RefusedBy {
    Nobody,
    Us,
    Elsewhere,
    Rotation,
}

/// How a session ends that no token of it ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum EndedWith {
    Nothing,
    ItsRowAlone,
    ItsTokens,
}

const SESSIONS: usize = 3;

impl Case {
    /// When the token is dead by itself.
    fn end(&self) -> i64 {
        if self.kind.is_none_or(|kind| kind == TokenKind::Sliding) { self.renewable } else { self.expires }
    }

    /// Django writes nothing of its sessions.
    fn session(&self) -> Option<usize> {
        self.session.filter(|_| self.kind.is_some())
    }
}

fn case() -> impl Strategy<Value = Case> {
    use RefusedBy::*;
    let kinds = vec![None, Some(TokenKind::Access), Some(TokenKind::Refresh), Some(TokenKind::Sliding)];
    let session = proptest::option::of(0..SESSIONS);
    (select(kinds), -200..200_i64, 0..300_i64, select(vec![Nobody, Us, Elsewhere, Rotation]), session).prop_map(
        |(kind, expires, longer, refused_by, session)| Case {
            kind,
            expires,
            renewable: expires + longer,
            refused_by,
            session,
        },
    )
}

fn ended_with() -> impl Strategy<Value = EndedWith> {
    select(vec![EndedWith::Nothing, EndedWith::ItsRowAlone, EndedWith::ItsTokens])
}

/// Records the token of a case as whoever issued it would; [`None`] as kind is Django.
async fn record(test: &Test, case: &Case, session: Option<SessionId>, leeway: i64) -> Jti {
    let end = case.end();
    let keep_until = at(end + leeway + MARGIN);
    let any = SessionId::starting_at(0);
    let record = NewRecord { session, created_at: at(-400), expires_at: at(end), keep_until, ..refresh_token(any) };
    let jti = record.jti.clone();
    match case.kind {
        // Django writes the first end of a sliding token, and nothing of how long it can be renewed.
        None => test.sql(&format!(
            "INSERT INTO token_blacklist_outstandingtoken (token, created_at, expires_at, jti) VALUES ('', '{}', '{}', '{jti}')",
            at(case.renewable - 300).format("%F %T"),
            at(case.expires).format("%F %T"),
        )),
        Some(kind) => test.ledger.record(NewRecord { kind, ..record }).await.unwrap(),
    }
    match case.refused_by {
        RefusedBy::Nobody => {}
        RefusedBy::Us => drop(test.revoke(RevokeItem { keep_until, expires_at: at(end), ..by_jti(&jti) }).await),
        RefusedBy::Elsewhere => test.blacklist_elsewhere(&jti),
        RefusedBy::Rotation => {
            let rotation = rotation(&jti, session.unwrap_or(any));
            let rotation = Rotation { old_session: None, old_keep_until: keep_until, ..rotation };
            test.ledger.rotate(rotation).await.unwrap();
        }
    }
    jti
}

/// A session, and what becomes of it.
struct Session {
    id: SessionId,
    /// When the last access token is dead that anybody bought with a token of it.
    dead: i64,
    /// Until when its row says that it is kept.
    kept: i64,
    /// One of its tokens was replaced by a token that lives for a day.
    goes_on: bool,
}

/// Records a session of these tokens, as a login does.
async fn record_session(test: &Test, cases: &[Case], number: usize, leeway: i64) -> Session {
    let of_it = || cases.iter().filter(|case| case.session() == Some(number));
    let access = RETENTION.access_lifetime.num_seconds();
    let dead = of_it().map(Case::end).max().unwrap_or_default() + access + leeway;
    let goes_on = of_it().any(|case| case.refused_by == RefusedBy::Rotation);
    let session = Session { id: SessionId::starting_at(millis(at(-400))), dead, kept: dead + MARGIN, goes_on };
    let new = NewSession { created_at: at(-400), keep_until: at(session.kept), ..new_session(session.id) };
    test.ledger.write(move |connection| Ok(sessions::insert(connection, &new)?)).await.unwrap();
    session
}

async fn end(test: &Test, session: &Session, with: EndedWith) {
    match with {
        EndedWith::Nothing => {}
        EndedWith::ItsRowAlone => {
            test.ledger.end_session(session.id, at(0), "logout", &actor(), at(100)).await.unwrap();
        }
        EndedWith::ItsTokens => drop(test.ledger.end_session_and_tokens(ending(session.id)).await.unwrap()),
    }
}

/// Whether a session is over by its own row.
fn has_ended(test: &Test, session: &Session) -> bool {
    let own = format!("FROM simplejwt_session WHERE ended_at IS NOT NULL AND id = '{}'", session.id);
    test.number(&format!("SELECT count(*) {own}")) > 0
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// However tokens expire, whoever refuses them or ends their sessions, whatever the leeway and the moment: a token that a
    /// verifier could still take for valid is refused after the flush if it was before. And what nobody needs is gone.
    #[test]
    fn no_flush_revives_a_token(
        cases in proptest::collection::vec(case(), 1..12),
        ended in proptest::array::uniform3(ended_with()),
        leeway in 0..300_i64,
        now in -300..1300_i64,
        rows in 1..5_i64,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let test = Test::new().await;
            let mut sessions = Vec::new();
            for number in 0..SESSIONS {
                sessions.push(record_session(&test, &cases, number, leeway).await);
            }
            let mut tokens = Vec::new();
            for case in &cases {
                let session = case.session().map(|number| sessions[number].id);
                tokens.push((case, session, record(&test, case, session, leeway).await));
            }
            for (session, with) in sessions.iter().zip(ended) {
                end(&test, session, with).await;
            }
            let (mut before, mut own) = (Vec::new(), Vec::new());
            for (case, session, jti) in &tokens {
                let refused = test.refused(jti, *session).await;
                assert!(session.is_some() || refused == (case.refused_by != RefusedBy::Nobody), "{case:?}");
                before.push(refused);
            }
            for session in &sessions {
                own.push((has_ended(&test, session), test.refused(&Jti::random(), Some(session.id)).await));
            }
            let (margin, renewable) = (TimeDelta::seconds(leeway + MARGIN), TimeDelta::seconds(300));
            let retention = Retention { margin, sliding_refresh_lifetime: renewable, ..RETENTION };
            let plan = FlushPlan { retention, ..plan(at(now)) };
            let estimate = test.ledger.flush_estimate(&plan).await.unwrap();
            let (flushed, _) = flush(&test.ledger, &plan, rows).await;
            assert_eq!(flushed, estimate);
            for ((case, session, jti), before) in tokens.iter().zip(before) {
                let end = case.end();
                if now < end + leeway {
                    assert_eq!(test.refused(jti, *session).await, before, "{case:?}");
                }
                if now >= end + leeway + MARGIN {
                    assert!(!test.ledger.standing(presented(jti, None)).await.unwrap().known, "{case:?}");
                }
            }
            for (number, (session, (own, before))) in sessions.iter().zip(own).enumerate() {
                if now < session.dead {
                    let access = Jti::random();
                    assert_eq!(test.refused(&access, Some(session.id)).await, before, "session {number}");
                }
                if own && !session.goes_on && now >= session.kept {
                    assert!(!has_ended(&test, session), "session {number} is kept for longer than it says");
                }
            }
            assert_eq!(flush(&test.ledger, &plan, rows).await.0, Flushed::default());
        });
    }
}
