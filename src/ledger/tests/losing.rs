//! What is compared with a copy, and what is written back where the database has lost it.

use std::collections::BTreeSet;

use super::*;
use crate::token::{Change, Revocable};

/// All that is refused, read in parts of so many rows.
async fn in_parts(test: &Test, rows: i64) -> BTreeSet<String> {
    let (mut from, mut all, mut parts) = (Some(PartCursor::default()), BTreeSet::new(), 0);
    while let Some(cursor) = from {
        let part = test.ledger.refused_part(RETENTION, cursor, rows).await.unwrap();
        assert!(part.rows <= usize::try_from(rows).unwrap(), "{} rows", part.rows);
        all.extend(part.refused.iter().map(said));
        from = part.next;
        parts += 1;
        assert!(parts < 1000, "it has no end");
    }
    all
}

fn said(change: &Change) -> String {
    assert!(change.refused, "{change:?}");
    format!("{:?}", change.what)
}

/// All that is refused, as a process loads it when it starts.
async fn loaded(test: &Test) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    let sink = |page: Vec<Change>, _| {
        all.extend(page.iter().map(said));
        taken()
    };
    test.ledger.load_revocations::<LedgerError, _>(at(0) - TimeDelta::days(9999), RETENTION, sink).await.unwrap();
    all
}

fn cutoff(user: Option<&str>) -> NewCutoff {
    NewCutoff {
        user: user.map(Into::into),
        not_before: at(10),
        keep_until: at(DAY),
        reason: None,
        actor: actor(),
        at: at(10),
    }
}

/// Something of every kind that makes a token refused, and of every kind that does not.
async fn everything(test: &Test) {
    let (session, refresh) = test.login().await;
    let rotated = rotation(&refresh, session);
    let successor = rotated.new.jti.clone();
    test.ledger.rotate(rotated).await.unwrap();
    let (_, other) = test.login().await;
    test.blacklist_elsewhere(&other);
    let (own, _) = test.login().await;
    test.revoke(by_token(&successor, TokenKind::Refresh, session)).await;
    for _ in 0..3 {
        test.revoke(by_jti(&Jti::random())).await;
    }
    test.revoke(by_token(&Jti::random(), TokenKind::Access, own)).await;
    let freed = Jti::random();
    test.revoke(by_jti(&freed)).await;
    test.restore(&freed).await;
    test.login().await;
    test.ledger.cut_off(cutoff(None)).await.unwrap();
    test.ledger.cut_off(cutoff(Some("7"))).await.unwrap();
    // What Django has deleted since.
    let gone = Jti::random();
    test.revoke(by_jti(&gone)).await;
    let id = format!("(SELECT id FROM token_blacklist_outstandingtoken WHERE jti = '{gone}')");
    test.sql(&format!(
        "UPDATE token_blacklist_outstandingtoken SET expires_at = '2020-01-01 00:00:00' WHERE jti = '{gone}'"
    ));
    test.ledger.sequence_log().await;
    test.sql(&format!("DELETE FROM simplejwt_token WHERE jti = '{gone}'"));
    test.sql(&format!(
        "BEGIN; DELETE FROM token_blacklist_blacklistedtoken WHERE token_id = {id}; \
         DELETE FROM token_blacklist_outstandingtoken WHERE jti = '{gone}'; COMMIT"
    ));
    assert!(test.refused(&gone, None).await);
}

#[tokio::test]
async fn the_parts_are_all_that_is_refused() {
    let test = Test::new().await;
    everything(&test).await;
    let whole = loaded(&test).await;
    assert!(whole.len() >= 8, "{whole:?}");
    for rows in [1, 2, 3, 1000] {
        let parts = in_parts(&test, rows).await;
        assert_eq!(parts, whole, "in parts of {rows}");
    }
}

#[tokio::test]
async fn what_was_lost_is_written_back_and_nothing_else() {
    let test = Test::new().await;
    let (open, refresh) = test.login().await;
    let (over, _) = test.login().await;
    let (lost, known, unknown) = (Jti::random(), Jti::random(), SessionId::starting_at(millis(at(5))));
    test.revoke(by_jti(&known)).await;
    test.ledger.end_session(over, at(DAY), "gone", &actor(), at(20)).await.unwrap();
    test.ledger.cut_off(cutoff(Some("8"))).await.unwrap();
    let until = at(DAY);
    let not_before = at(10);
    let lost_ones = vec![
        Revocable::Token { jti: lost.clone(), until },
        Revocable::Session { id: open, until },
        Revocable::Session { id: unknown, until },
        Revocable::Cutoff { user: Some("7".into()), not_before, until },
        Revocable::Cutoff { user: None, not_before, until },
        Revocable::Cutoff { user: Some("8".into()), not_before: at(11), until },
    ];
    let there = [
        Revocable::Token { jti: known.clone(), until },
        Revocable::Session { id: over, until },
        Revocable::Cutoff { user: Some("8".into()), not_before, until },
        // A refresh token is asked of the ledger wherever it is used.
        Revocable::Token { jti: refresh.clone(), until },
    ];
    let all: Vec<_> = lost_ones.iter().chain(&there).cloned().collect();
    assert_eq!(test.ledger.not_refused(RETENTION, all.clone()).await.unwrap(), lost_ones);
    let (rows, events) = (test.rows("token_blacklist_blacklistedtoken"), test.rows("simplejwt_event"));

    let mut follower = following::Follower::of(&test).await;
    let order = WriteBack { known: all, retention: RETENTION, actor: actor(), at: at(90) };
    assert_eq!(test.ledger.write_back(order.clone()).await.unwrap(), lost_ones);
    assert_eq!(test.ledger.write_back(order.clone()).await.unwrap(), [], "once");
    assert_eq!(test.ledger.not_refused(RETENTION, order.known).await.unwrap(), []);
    assert_eq!(test.rows("token_blacklist_blacklistedtoken"), rows + 1);
    assert_eq!(test.rows("simplejwt_event"), events + 6, "each is an event");
    for (jti, session) in [(&lost, None), (&Jti::random(), Some(open)), (&Jti::random(), Some(unknown))] {
        assert!(test.refused(jti, session).await);
    }
    // And whoever follows the log is told.
    assert!(follower.pull().await.unwrap() > 0);
    assert!(follower.refuses(&lost, None) && follower.refuses(&Jti::random(), Some(open)));
    assert!(follower.refuses(&Jti::random(), Some(unknown)));
}

#[tokio::test]
async fn several_processes_may_write_back_the_same_at_once() {
    let test = Test::new().await;
    let known: Vec<_> = (0..20).map(|_| Revocable::Token { jti: Jti::random(), until: at(DAY) }).collect();
    let sessions = (0..20).map(|n| Revocable::Session { id: SessionId::starting_at(n), until: at(DAY) });
    let known: Vec<_> = known.into_iter().chain(sessions).collect();
    let write = || {
        let (ledger, known) = (Ledger::open(&test.options()).unwrap(), known.clone());
        tokio::spawn(async move {
            let order = WriteBack { known, retention: RETENTION, actor: actor(), at: at(90) };
            ledger.write_back(order).await.unwrap();
        })
    };
    for done in [write(), write(), write()] {
        done.await.unwrap();
    }
    assert_eq!(test.ledger.not_refused(RETENTION, known).await.unwrap(), []);
    assert_eq!(test.rows("token_blacklist_blacklistedtoken"), 20);
}

#[tokio::test]
async fn a_reader_whose_position_is_gone_hears_why_and_from_where_to_go_on() {
    let test = Test::new().await;
    let (mut early, mut late) = (following::Follower::of(&test).await, following::Follower::of(&test).await);
    test.revoke(by_jti(&Jti::random())).await;
    early.pull().await.unwrap();
    test.revoke(by_jti(&Jti::random())).await;
    late.pull().await.unwrap();
    let generation = |name: &str| test.sql(&format!("UPDATE simplejwt_revocation_state SET generation = '{name}'"));
    let old = late.position.generation.clone();

    test.sql(&format!("DELETE FROM simplejwt_revocation WHERE seq > {}", early.position.seq));
    assert_eq!(late.pull().await, Err(Reload::WentBack));
    assert_eq!(early.pull().await, Ok(0));
    let there = test.ledger.position_at(late.position.at.unwrap()).await.unwrap();
    assert_eq!(there, early.position);
    generation("another");
    assert_eq!(late.pull().await, Err(Reload::Replaced));
    assert_eq!(early.pull().await, Err(Reload::Generation), "nothing that it has read is gone");
    test.sql("UPDATE simplejwt_revocation_state SET pruned_through = 1000000");
    assert_eq!(early.pull().await, Err(Reload::Replaced), "nobody can tell");
    generation(&old);
    assert_eq!(early.pull().await, Err(Reload::Pruned));
    assert!(!Reload::Pruned.may_have_lost() && !Reload::Generation.may_have_lost());
    let there = test.ledger.position_at(at(-DAY * 9999)).await.unwrap();
    assert_eq!((there.seq, there.at), (1_000_000, None));
}
