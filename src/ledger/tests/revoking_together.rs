//! What is revoked in one transaction ends as if each had been revoked by itself.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;

/// The tokens that may be revoked, each known in another way.
const TOKENS: [&str; 9] = [
    "unknown",
    "another-unknown",
    "logged-in",
    "replaced",
    "successor",
    "of-django-and-blacklisted-there",
    "revoked-alone",
    "deleted-by-django",
    "access",
];

fn jti(name: &str) -> Jti {
    name.parse().unwrap()
}

/// Everything that can be known of a token before it is revoked.
async fn prepare(test: &Test, sessions: &[SessionId; 4]) {
    let token = |name, session| NewRecord { jti: jti(name), ..refresh_token(session) };
    for (session, name) in sessions.iter().zip(["logged-in", "replaced", "revoked-alone"]) {
        test.ledger.record_login(new_session(*session), token(name, *session)).await.unwrap();
    }
    let rotation = rotation(&jti("replaced"), sessions[1]);
    let new = NewRecord { jti: jti("successor"), ..rotation.new };
    test.ledger.rotate(Rotation { new, ..rotation }).await.unwrap();
    for name in ["of-django-and-blacklisted-there", "deleted-by-django"] {
        test.ledger.record(token(name, sessions[0])).await.unwrap();
    }
    test.blacklist_elsewhere(&jti("of-django-and-blacklisted-there"));
    test.sql("DELETE FROM token_blacklist_outstandingtoken WHERE jti = 'deleted-by-django'");
    let order = revocation(vec![by_jti(&jti("revoked-alone"))]);
    test.ledger.revoke(Revocation { ends_session: false, at: at(20), ..order }).await.unwrap();
}

/// All that a revocation could change.
fn all_of_it(test: &Test) -> Vec<Vec<Option<String>>> {
    let listed =
        "token_blacklist_blacklistedtoken JOIN token_blacklist_outstandingtoken AS token ON token.id = token_id";
    let mut columns: Vec<String> = Vec::new();
    for column in ["jti", "created_at", "expires_at", "user_id"] {
        columns.push(format!("SELECT {column} AS value FROM token_blacklist_outstandingtoken ORDER BY jti"));
    }
    for column in ["jti", "blacklisted_at"] {
        columns.push(format!("SELECT {column} AS value FROM {listed} ORDER BY jti"));
    }
    for column in ["jti", "kind", "session_id", "superseded_at", "successor", "revoked_at", "claims", "keep_until"] {
        columns.push(format!("SELECT {column} AS value FROM simplejwt_token ORDER BY jti"));
    }
    for column in ["id", "user_id", "last_used_at", "user_agent", "ended_at", "ended_reason", "ended_by", "keep_until"]
    {
        columns.push(format!("SELECT {column} AS value FROM simplejwt_session ORDER BY id"));
    }
    for column in ["at", "action", "target", "user_id", "session_id", "reason", "who", "via", "address"] {
        columns.push(format!("SELECT {column} AS value FROM simplejwt_event ORDER BY id"));
    }
    // Of what there is news: how often it is said does not matter.
    let log = if test.database.kind() == Kind::Mysql { "simplejwt_inbox" } else { "simplejwt_revocation" };
    columns.push(format!(
        "SELECT DISTINCT session_id AS value FROM {log} WHERE session_id IS NOT NULL ORDER BY session_id"
    ));
    columns.push(format!(
        "SELECT DISTINCT token.jti AS value FROM {log} AS log \
         JOIN token_blacklist_outstandingtoken AS token ON token.id = log.token_id ORDER BY token.jti"
    ));
    let mut database = test.elsewhere();
    columns.iter().map(|column| database.column(column)).collect()
}

/// An order to revoke some of the tokens, and what is said of each.
fn order(sessions: [SessionId; 4]) -> impl Strategy<Value = Revocation> {
    let kinds = [None, Some(TokenKind::Refresh), Some(TokenKind::Access), Some(TokenKind::Sliding)];
    let session = prop_oneof![Just(None), proptest::sample::select(sessions.to_vec()).prop_map(Some)];
    let item = (
        proptest::sample::select(TOKENS.to_vec()),
        proptest::sample::select(kinds.to_vec()),
        session,
        proptest::option::of(Just(UserKey::from("8"))),
        0..3_i64,
        0..3_i64,
        any::<bool>(),
    );
    let item = item.prop_map(|(name, kind, session, user, kept, session_kept, token_known)| RevokeItem {
        kind,
        session,
        user,
        keep_until: at(kept * DAY),
        session_keep_until: at(session_kept * DAY),
        token_known,
        ..by_jti(&jti(name))
    });
    (proptest::collection::vec(item, 0..4), any::<bool>(), proptest::option::of("[a-z'\\\\\"é]{0,6}"), 30..60_i64)
        .prop_map(|(items, ends_session, reason, then)| Revocation {
            ends_session,
            reason,
            at: at(then),
            ..revocation(items)
        })
}

fn four_sessions() -> [SessionId; 4] {
    [0, 1, 2, 3].map(|second| SessionId::starting_at(millis(at(second))))
}

/// Sessions and orders.
fn orders() -> impl Strategy<Value = ([SessionId; 4], Vec<Revocation>)> {
    Just(())
        .prop_map(|()| four_sessions())
        .prop_flat_map(|sessions| (Just(sessions), proptest::collection::vec(order(sessions), 1..10)))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, max_shrink_iters: 60, ..ProptestConfig::default() })]

    #[test]
    fn a_set_gives_what_one_by_one_gives((sessions, orders) in orders()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (alone, together) = (Test::new().await, Test::new().await);
            prepare(&alone, &sessions).await;
            prepare(&together, &sessions).await;
            let mut one_by_one = Vec::new();
            for order in &orders {
                let mut revoked = Vec::new();
                for item in &order.items {
                    let order = Revocation { items: vec![item.clone()], ..order.clone() };
                    revoked.extend(alone.ledger.revoke(order).await.unwrap());
                }
                one_by_one.push(revoked);
            }
            let at_once = orders.into_iter().map(Arc::new).collect();
            prop_assert_eq!(together.ledger.revoke_together(at_once).await.unwrap(), one_by_one);
            prop_assert_eq!(all_of_it(&together), all_of_it(&alone));
            Ok(())
        })?;
    }
}
