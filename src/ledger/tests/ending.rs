//! Many tokens at once: what is refused then, and what Django is told of it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::*;

pub(super) fn ending(id: SessionId) -> SessionEnding {
    SessionEnding { id, owner: None, keep_until: at(DAY), reason: "logout".to_owned(), actor: actor(), at: at(100) }
}

fn cutoff(user: Option<&str>, not_before: DateTime<Utc>) -> NewCutoff {
    NewCutoff {
        user: user.map(Into::into),
        not_before,
        keep_until: at(9 * DAY),
        reason: Some("stolen".to_owned()),
        actor: actor(),
        at: at(100),
    }
}

impl Test {
    /// A login of a user at an instant.
    async fn login_of(&self, user: &str, began: DateTime<Utc>) -> (SessionId, Jti) {
        let session = SessionId::starting_at(millis(began));
        let token = NewRecord { user: Some(user.into()), created_at: began, ..refresh_token(session) };
        let jti = token.jti.clone();
        let login = NewSession { user: Some(user.into()), created_at: began, ..new_session(session) };
        self.ledger.record_login(login, token).await.unwrap();
        (session, jti)
    }

    /// A row that Django wrote when it rotated a token of a session.
    pub(super) fn rotated_by_django(&self, user: &str, session: SessionId) -> Jti {
        let jti = Jti::random();
        let claims = URL_SAFE_NO_PAD.encode(json!({ "jti": jti.as_str(), "sid": session.to_string() }).to_string());
        self.sql(&format!(
            "INSERT INTO token_blacklist_outstandingtoken (token, created_at, expires_at, user_id, jti) VALUES \
             ('e30.{claims}.c2ln', '2027-01-15 08:00:50', '2027-01-16 08:00:00', '{user}', '{jti}')"
        ));
        jti
    }

    pub(super) async fn is_listed(&self, jti: &Jti) -> bool {
        self.ledger.outstanding_by_jti(jti).await.unwrap().unwrap().blacklisted_at.is_some()
    }

    /// Everything that is left after a cutoff, as the service does it.
    async fn sweep(&self, sweep: &Sweep) -> (u64, u64) {
        let names = self.ledger.sessions_to_end(sweep, "", 100).await.unwrap();
        let sessions = match sweep.meant {
            Meant::Until(_) => self.ledger.end_listed_sessions(names, "stolen", sweep.at).await.unwrap(),
            Meant::Session(_) | Meant::AllBut(_) => 0,
        };
        let (mut rows, mut after) = (0, Some(i64::MIN));
        while let Some(from) = after {
            let page = self.ledger.rows_to_blacklist(sweep, from, 2).await.unwrap();
            rows += self.ledger.blacklist_rows(page.ids, sweep.at).await.unwrap();
            after = page.next;
        }
        (sessions, rows)
    }
}

#[tokio::test]
async fn the_end_of_a_session_covers_what_django_rotated_and_nobody_elses() {
    let test = Test::new().await;
    let (session, jti) = test.login_of("7", at(0)).await;
    let (other, others_jti) = test.login_of("7", at(1)).await;
    let (rotated, unrelated) = (test.rotated_by_django("7", session), test.rotated_by_django("7", other));
    let foreign = test.rotated_by_django("8", session);
    let ended = test.ledger.end_session_and_tokens(ending(session)).await.unwrap().unwrap();
    assert_eq!((ended.outcome, ended.rows), (RevokeOutcome::Newly, 2));
    assert!(test.is_listed(&jti).await && test.is_listed(&rotated).await);
    for left in [&others_jti, &unrelated, &foreign] {
        assert!(!test.is_listed(left).await);
    }
    assert!(test.refused(&Jti::random(), Some(session)).await && !test.refused(&Jti::random(), Some(other)).await);
    assert_eq!(test.restore(&jti).await, RestoreOutcome::SessionEndedOtherwise { reason: "logout".to_owned() });
    let again = test.ledger.end_session_and_tokens(ending(session)).await.unwrap().unwrap();
    assert_eq!((again.outcome, again.rows), (RevokeOutcome::Already, 0));
    assert_eq!(test.number("SELECT count(*) FROM simplejwt_event WHERE action = 'end_session'"), 1);
}

#[tokio::test]
async fn a_session_ends_for_its_owner_only() {
    let test = Test::new().await;
    let (session, jti) = test.login_of("7", at(0)).await;
    let of = |owner: &str, id| SessionEnding { owner: Some(owner.into()), ..ending(id) };
    for (owner, id) in [("8", session), ("7", SessionId::starting_at(9)), ("\0", session)] {
        assert_eq!(test.ledger.end_session_and_tokens(of(owner, id)).await.unwrap(), None, "{owner:?}");
    }
    assert!(!test.refused(&jti, Some(session)).await && test.rows("simplejwt_session") == 1);
    let ended = test.ledger.end_session_and_tokens(of("7", session)).await.unwrap().unwrap();
    assert_eq!(ended.outcome, RevokeOutcome::Newly);
    assert!(test.refused(&jti, Some(session)).await);
}

#[tokio::test]
async fn a_session_that_nobody_knows_is_over_all_the_same() {
    let test = Test::new().await;
    let session = SessionId::starting_at(9);
    let ended = test.ledger.end_session_and_tokens(ending(session)).await.unwrap().unwrap();
    assert_eq!((ended.outcome, ended.rows), (RevokeOutcome::UnknownRecorded, 0));
    assert!(test.refused(&Jti::random(), Some(session)).await);
}

#[tokio::test]
async fn a_session_that_a_token_had_ended_is_not_opened_again_by_restoring_it_after_a_logout() {
    let test = Test::new().await;
    let (session, jti) = test.login_of("7", at(0)).await;
    test.revoke(by_token(&jti, TokenKind::Refresh, session)).await;
    let ended = test.ledger.end_session_and_tokens(ending(session)).await.unwrap().unwrap();
    assert_eq!(ended.outcome, RevokeOutcome::Already);
    assert_eq!(test.restore(&jti).await, RestoreOutcome::SessionEndedOtherwise { reason: "logout".to_owned() });
}

#[tokio::test]
async fn the_other_sessions_of_a_user_end_together() {
    let test = Test::new().await;
    let (kept, kept_jti) = test.login_of("7", at(0)).await;
    let (other, other_jti) = test.login_of("7", at(1)).await;
    let (foreign, foreign_jti) = test.login_of("8", at(1)).await;
    let order = OthersEnding {
        user: "7".into(),
        keep: kept,
        reason: "password changed".to_owned(),
        actor: actor(),
        at: at(100),
    };
    assert_eq!(test.ledger.end_other_sessions(order.clone()).await.unwrap(), 1);
    assert_eq!(test.ledger.end_other_sessions(order).await.unwrap(), 0);
    let rotated = test.rotated_by_django("7", kept);
    let sweep = Sweep { user: Some("7".into()), meant: Meant::AllBut(kept), at: at(100) };
    assert_eq!(test.sweep(&sweep).await, (0, 1));
    assert!(test.refused(&other_jti, Some(other)).await && test.is_listed(&other_jti).await);
    assert!(!test.refused(&kept_jti, Some(kept)).await && !test.refused(&rotated, Some(kept)).await);
    assert!(!test.refused(&foreign_jti, Some(foreign)).await);
}

#[tokio::test]
async fn a_cutoff_until_now_meets_what_began_in_its_millisecond_and_nothing_later() {
    let test = Test::new().await;
    let now = at(100) + TimeDelta::microseconds(500_400);
    let (before, _) = test.login_of("7", now - TimeDelta::microseconds(300)).await;
    let ahead = now + TimeDelta::seconds(20);
    let (by_a_faster_clock, _) = test.login_of("8", ahead).await;
    let order = cutoff(Some("7"), now);
    let mark = test.ledger.cut_off_until_now(order, Some("7".into())).await.unwrap();
    assert_eq!(mark, at(100) + TimeDelta::microseconds(500_999));
    let refused = async |session, user| {
        let (jti, issued_at) = (Jti::random(), Some(0));
        let token = Presented { jti: &jti, session: Some(session), issued_at, user: Some(user) };
        test.ledger.is_refused(token).await.unwrap()
    };
    let next = SessionId::starting_at(millis(now) + 1);
    assert!(refused(before, "7").await && !refused(next, "7").await && !refused(before, "8").await);

    let mark = test.ledger.cut_off_until_now(cutoff(None, now), None).await.unwrap();
    let expected = at(120) + TimeDelta::microseconds(500_999);
    assert_eq!(mark, expected, "a session that is there is meant, whatever its clock said");
    assert!(refused(by_a_faster_clock, "8").await);
    let far = now + TimeDelta::hours(1);
    test.login_of("9", far).await;
    let mark = test.ledger.cut_off_until_now(cutoff(Some("9"), now), Some("9".into())).await.unwrap();
    assert!(mark < far, "a clock that is wrong by an hour does not lock anybody out for an hour");
}

#[tokio::test]
async fn after_a_cutoff_sessions_and_rows_from_before_are_marked_and_later_ones_are_not() {
    let test = Test::new().await;
    let (old, old_jti) = test.login_of("7", at(0)).await;
    let rotation = rotation(&old_jti, old);
    let renewed = rotation.new.jti.clone();
    test.ledger.rotate(rotation).await.unwrap();
    let (_, later_jti) = test.login_of("7", at(50)).await;
    let (_, foreign_jti) = test.login_of("8", at(0)).await;
    let mark = test.ledger.cut_off_until(cutoff(Some("7"), at(20))).await.unwrap();
    let sweep = Sweep { user: Some("7".into()), meant: Meant::Until(mark), at: at(100) };
    let expired = Sweep { at: at(2 * DAY), ..sweep.clone() };
    assert_eq!(test.ledger.rows_to_blacklist(&expired, i64::MIN, 100).await.unwrap(), Rows::default());
    assert_eq!(test.sweep(&sweep).await, (1, 1));
    assert_eq!(test.sweep(&sweep).await, (0, 0), "to do it again does no harm");
    assert!(test.is_listed(&renewed).await, "renewed after the instant, and of a session from before");
    assert!(!test.is_listed(&later_jti).await && !test.is_listed(&foreign_jti).await);
    let everybody = Sweep { user: None, meant: Meant::Until(at(200)), at: at(100) };
    assert_eq!(test.sweep(&everybody).await, (2, 2));
}

#[tokio::test]
async fn sessions_are_listed_by_state_and_in_pages() {
    let test = Test::new().await;
    let (first, jti) = test.login_of("7", at(0)).await;
    let (second, _) = test.login_of("7", at(1)).await;
    let (third, third_jti) = test.login_of("8", at(2)).await;
    let (fourth, _) = test.login_of("9", at(3)).await;
    test.revoke(by_jti(&jti)).await;
    test.blacklist_elsewhere(&third_jti);
    test.ledger.cut_off_until_now(cutoff(Some("9"), at(10)), Some("9".into())).await.unwrap();
    let all = SessionFilter::default();
    let state = |state| SessionFilter { state: Some(state), ..all.clone() };
    for (filter, expected) in [
        (all.clone(), vec![fourth, third, second, first]),
        (state(SessionState::Active), vec![second]),
        (state(SessionState::Ended), vec![fourth, third, first]),
        (state(SessionState::Expired), vec![]),
        (SessionFilter { user: Some("7".into()), ..all.clone() }, vec![second, first]),
        (SessionFilter { user: Some("\0".into()), ..all.clone() }, vec![]),
        (SessionFilter { since: Some(at(2)), ..all.clone() }, vec![fourth, third]),
        (SessionFilter { limit: 2, after: Some(fourth), ..all.clone() }, vec![third, second]),
    ] {
        let rows = test.ledger.sessions(&filter, at(100)).await.unwrap();
        assert_eq!(rows.iter().map(|row| row.id).collect::<Vec<_>>(), expected, "{filter:?}");
    }
    let rows = test.ledger.sessions(&all, at(100)).await.unwrap();
    let shown: Vec<_> = rows.iter().map(|row| (row.state, row.ended_reason.as_deref())).collect();
    let ended = |reason| (SessionState::Ended, Some(reason));
    assert_eq!(
        shown,
        [ended("cut off"), ended("a token of it was blacklisted"), (SessionState::Active, None), ended("lost")]
    );
    assert_eq!((rows[3].ended_by.as_deref(), rows[3].ended_at), (Some(jti.as_str()), Some(at(30))));
    let much_later = at(3 * DAY);
    assert_eq!(test.ledger.sessions(&state(SessionState::Active), much_later).await.unwrap(), []);
    assert_eq!(test.ledger.sessions(&state(SessionState::Expired), much_later).await.unwrap()[0].id, second);
}

#[tokio::test]
async fn a_session_is_shown_with_its_tokens_in_the_order_of_their_rotation() {
    let test = Test::new().await;
    let (session, first) = test.login_of("7", at(0)).await;
    let mut jtis = vec![first];
    for _ in 0..3 {
        let rotation = rotation(jtis.last().unwrap(), session);
        jtis.push(rotation.new.jti.clone());
        test.ledger.rotate(rotation).await.unwrap();
    }
    test.sql(&format!(
        "INSERT INTO simplejwt_event (at, action, target, who, via) VALUES \
         ('2027-01-15 08:02:00', 'reuse', '{}', 'token', 'http')",
        jtis[0]
    ));
    let chain = test.ledger.session(session, at(100)).await.unwrap().unwrap();
    assert_eq!((chain.session.user.as_deref(), chain.session.state), (Some("7"), SessionState::Active));
    assert_eq!((chain.session.last_used_at, chain.more), (at(60), false));
    let shown: Vec<_> = chain.tokens.iter().map(|token| token.jti.as_str()).collect();
    assert_eq!(shown, jtis.iter().map(Jti::as_str).collect::<Vec<_>>());
    let [oldest, .., newest] = chain.tokens.as_slice() else { panic!("no chain") };
    assert_eq!(
        (oldest.kind, oldest.created_at, oldest.expires_at),
        (Some(TokenKind::Refresh), Some(at(0)), Some(at(DAY)))
    );
    assert_eq!((oldest.superseded_at, oldest.blacklisted_at), (Some(at(60)), Some(at(60))));
    assert_eq!((oldest.reused_at, oldest.successor.as_deref()), (Some(at(120)), Some(jtis[1].as_str())));
    assert_eq!((newest.superseded_at, newest.parent.as_deref()), (None, Some(jtis[2].as_str())));
    assert_eq!(test.ledger.session(SessionId::starting_at(9), at(100)).await.unwrap(), None);
}
