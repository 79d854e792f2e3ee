//! What happened, as it can be read.

use super::*;

async fn ids(test: &Test, filter: EventFilter) -> Vec<i64> {
    test.ledger.events(&filter).await.unwrap().iter().map(|row| row.id).collect()
}

#[tokio::test]
async fn filters_choose_the_newest_come_first_and_pages_follow_each_other() {
    let test = Test::new().await;
    let (session, first) = test.login().await;
    let (_, second) = test.login().await;
    test.revoke(by_jti(&first)).await;
    test.revoke(RevokeItem { user: Some("8".into()), ..by_jti(&Jti::random()) }).await;
    test.restore(&first).await;
    test.revoke(by_jti(&second)).await;
    let rows = test.ledger.events(&EventFilter::default()).await.unwrap();
    let actions: Vec<_> = rows.iter().map(|row| row.action.as_str()).collect();
    assert_eq!(actions, ["blacklist", "unblacklist", "blacklist", "blacklist"]);
    assert!(rows.is_sorted_by(|one, next| one.id > next.id), "{rows:?}");
    assert_eq!((rows[3].at, rows[3].reason.as_deref(), rows[3].via.as_str()), (at(30), Some("lost"), "cli"));
    let [newest, undone, others, oldest] = rows.iter().map(|row| row.id).collect::<Vec<_>>()[..] else { panic!() };
    let all = EventFilter::default();
    for (filter, expected) in [
        (EventFilter { user: Some("7".into()), ..all.clone() }, vec![newest, undone, oldest]),
        (EventFilter { user: Some("8".into()), ..all.clone() }, vec![others]),
        (EventFilter { user: Some("\0".into()), ..all.clone() }, vec![]),
        (EventFilter { session: Some(session.to_string()), ..all.clone() }, vec![undone, oldest]),
        (EventFilter { action: Some("unblacklist".into()), ..all.clone() }, vec![undone]),
        (EventFilter { target: Some(first.to_string()), ..all.clone() }, vec![undone, oldest]),
        (EventFilter { since: Some(at(31)), ..all.clone() }, vec![undone]),
        (EventFilter { limit: 2, ..all.clone() }, vec![newest, undone]),
        (EventFilter { limit: 2, before: Some(undone), ..all.clone() }, vec![others, oldest]),
    ] {
        assert_eq!(ids(&test, filter.clone()).await, expected, "{filter:?}");
    }
}

fn insert_event(action: &str, at: i64) -> String {
    let at = at_text(at);
    format!(
        "INSERT INTO simplejwt_event (at, action, target, who, via) VALUES ('{at}', '{action}', 'x', 'cli:root', 'cli')"
    )
}

fn at_text(seconds: i64) -> String {
    at(seconds).format("%F %T").to_string()
}

async fn next(test: &Test, tail: &mut EventTail) -> Vec<String> {
    test.ledger.next_events(tail).await.unwrap().into_iter().map(|row| row.action).collect()
}

#[tokio::test]
async fn who_follows_sees_each_event_once_and_in_order() {
    let test = Test::new().await;
    test.sql(&insert_event("before", 0));
    let mut tail = test.ledger.events_from_now().await.unwrap();
    let mut since = test.ledger.events_since(at(0)).await.unwrap();
    assert_eq!(next(&test, &mut tail).await, Vec::<String>::new());
    test.sql(&insert_event("one", 1));
    test.sql(&insert_event("two", 2));
    assert_eq!(next(&test, &mut tail).await, ["one", "two"]);
    assert_eq!(next(&test, &mut tail).await, Vec::<String>::new());
    assert_eq!(next(&test, &mut since).await, ["before", "one", "two"]);
    // The flush takes what is old, and nobody notices.
    test.sql("DELETE FROM simplejwt_event");
    assert_eq!(next(&test, &mut tail).await, Vec::<String>::new());
    test.sql(&insert_event("three", 3));
    assert_eq!(next(&test, &mut tail).await, ["three"]);
}

/// Ids are not the order of the commits.
#[tokio::test]
async fn an_event_that_is_committed_late_is_lost_to_nobody() {
    let test = Test::new().await;
    if test.database.kind() == Kind::Sqlite {
        // There is one writer, whose ids are the order of its commits.
        return;
    }
    test.sql(&insert_event("before", 0));
    let mut early = test.ledger.events_from_now().await.unwrap();
    let (mut late, mut undone) = (test.elsewhere(), test.elsewhere());
    late.execute("BEGIN").unwrap();
    late.execute(&insert_event("late", 1)).unwrap();
    undone.execute("BEGIN").unwrap();
    undone.execute(&insert_event("undone", 1)).unwrap();
    test.sql(&insert_event("quick", 2));
    let mut between = test.ledger.events_from_now().await.unwrap();
    let wanted = || wanted(&["late", "quick", "undone"]);
    assert_eq!(next(&test, &mut early).await, ["quick"]);
    assert_eq!(taken(&test, &wanted(), 10).await, ["quick"]);
    undone.execute("ROLLBACK").unwrap();
    test.sql(&insert_event("quick", 3));
    assert_eq!(next(&test, &mut early).await, ["quick"]);
    late.execute("COMMIT").unwrap();
    assert_eq!(next(&test, &mut early).await, ["late"]);
    assert_eq!(next(&test, &mut between).await, ["late", "quick"]);
    assert_eq!(taken(&test, &wanted(), 10).await, ["late", "quick"]);
    for tail in [&mut early, &mut between] {
        assert_eq!(next(&test, tail).await, Vec::<String>::new());
    }
}

#[tokio::test]
async fn who_follows_a_database_that_was_put_back_goes_on_with_what_is_new() {
    let test = Test::new().await;
    for _ in 0..3 {
        test.sql(&insert_event("old", 0));
    }
    let mut tail = test.ledger.events_from_now().await.unwrap();
    test.sql("DELETE FROM simplejwt_event WHERE id > 1");
    assert_eq!(next(&test, &mut tail).await, Vec::<String>::new());
    test.sql(
        "INSERT INTO simplejwt_event (id, at, action, target, who, via) \
         VALUES (2, '2027-01-15 08:00:00', 'new', 'x', 'cli:root', 'cli')",
    );
    assert_eq!(next(&test, &mut tail).await, ["new"]);
}

fn wanted(actions: &[&str]) -> Wanted {
    Wanted { actions: actions.iter().map(|&action| action.to_owned()).collect(), since: at(0), limit: 100 }
}

/// What whoever comes at this second takes for a minute.
async fn taken(test: &Test, wanted: &Wanted, second: i64) -> Vec<String> {
    let taken = test.ledger.take_deliveries(wanted, at(second), at(second + 60)).await.unwrap();
    taken.into_iter().map(|taken| taken.event.action).collect()
}

#[tokio::test]
async fn an_event_is_taken_by_one_and_by_another_only_when_that_one_is_overdue() {
    let test = Test::new().await;
    for (action, at) in [("a", 3), ("b", 2), ("other", 2), ("a", -1)] {
        test.sql(&insert_event(action, at));
    }
    let wanted = wanted(&["a", "b"]);
    let first = test.ledger.take_deliveries(&wanted, at(10), at(70)).await.unwrap();
    let seen: Vec<_> = first.iter().map(|taken| (taken.event.action.as_str(), taken.attempt)).collect();
    assert_eq!(seen, [("b", 1), ("a", 1)], "the oldest first, and neither the other nor what is too old");
    assert_eq!(taken(&test, &wanted, 69).await, Vec::<String>::new());
    let again = test.ledger.take_deliveries(&wanted, at(70), at(130)).await.unwrap();
    assert_eq!(again.iter().map(|taken| taken.attempt).collect::<Vec<_>>(), [2, 2]);

    let (one, other) = (again[0].event.id, again[1].event.id);
    let backlog = async || test.ledger.undelivered(&wanted.actions, at(0)).await.unwrap();
    assert_eq!((backlog().await.events, backlog().await.oldest), (2, Some(at(2))));
    test.ledger.settle_deliveries(vec![(one, Attempted::Delivered), (other, Attempted::Again(at(500)))]).await.unwrap();
    assert_eq!((backlog().await.events, backlog().await.oldest), (1, Some(at(3))));
    assert_eq!(taken(&test, &wanted, 499).await, Vec::<String>::new());
    assert_eq!(taken(&test, &wanted, 500).await, ["a"]);
    // Whoever comes late with another outcome changes nothing.
    test.ledger.settle_deliveries(vec![(one, Attempted::Again(at(0))), (other, Attempted::GivenUp)]).await.unwrap();
    assert_eq!(taken(&test, &wanted, 9000).await, Vec::<String>::new());
    assert_eq!(backlog().await, Backlog::default());
}

#[test]
fn of_four_who_take_at_the_same_time_each_event_has_one() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let test = runtime.block_on(Test::new());
    for number in 0..40 {
        test.sql(&insert_event("a", number));
    }
    let mut taken: Vec<i64> = std::thread::scope(|scope| {
        let take = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            let ledger = Ledger::open(&test.options()).unwrap();
            let few = Wanted { limit: 7, ..wanted(&["a"]) };
            runtime.block_on(async {
                let mut mine = Vec::new();
                // Whoever finds that another was quicker for all of them looks again.
                for _ in 0..40 {
                    let taken = ledger.take_deliveries(&few, at(100), at(200)).await.unwrap();
                    mine.extend(taken.into_iter().map(|taken| taken.event.id));
                }
                mine
            })
        };
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(take)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    taken.sort_unstable();
    let all = taken.len();
    taken.dedup();
    assert_eq!((all, taken.len()), (40, 40));
}

async fn note(test: &Test, session: SessionId, second: i64, address: Option<&str>) {
    let used = SessionUse { session, at: at(second), address: address.map(Into::into) };
    test.ledger.note_uses(vec![used]).await.unwrap();
}

fn used(test: &Test, session: SessionId) -> (i64, Option<String>) {
    let of = |column: &str| format!("SELECT {column} FROM simplejwt_session WHERE id = '{session}'");
    let address = test.elsewhere().column(&of("address")).pop().unwrap();
    (test.number(&of(&test.seconds("last_used_at"))) - at(0).timestamp(), address)
}

#[tokio::test]
async fn a_use_is_noted_unless_a_later_one_was_and_keeps_the_address_that_is_known() {
    let test = Test::new().await;
    let (session, _) = test.login().await;
    let address = |text: &str| Some(text.to_owned());
    assert_eq!(used(&test, session), (0, address("192.0.2.1")));
    note(&test, session, 60, Some("192.0.2.2")).await;
    assert_eq!(used(&test, session), (60, address("192.0.2.2")));
    note(&test, session, 30, Some("192.0.2.3")).await;
    assert_eq!(used(&test, session), (60, address("192.0.2.2")));
    note(&test, session, 90, None).await;
    assert_eq!(used(&test, session), (90, address("192.0.2.2")));
    note(&test, SessionId::starting_at(1), 90, None).await;
}

#[tokio::test]
async fn addresses_are_forgotten_in_time_and_nothing_else_is() {
    let test = Test::new().await;
    let (quiet, _) = test.login().await;
    let (busy, _) = test.login().await;
    note(&test, busy, 100, None).await;
    for second in [10, 50, 90] {
        test.sql(&insert_event("a", second));
    }
    test.sql("UPDATE simplejwt_event SET address = '192.0.2.9'");
    let plan = FlushPlan { as_of: at(100), retention: RETENTION, events_before: None, addresses_before: Some(at(50)) };
    for expected in [2, 0] {
        let (mut cursor, mut flushed) = (Some(FlushCursor::default()), Flushed::default());
        while let Some(at) = cursor {
            let batch = test.ledger.flush_batch(&plan, at, 1).await.unwrap();
            flushed += batch.flushed;
            cursor = batch.next;
        }
        assert_eq!(flushed, Flushed { addresses: expected, ..Flushed::default() });
        assert_eq!(flushed.total(), 0);
    }
    assert_eq!((used(&test, quiet).1, used(&test, busy).1), (None, Some("192.0.2.1".to_owned())));
    let known = test.elsewhere().column("SELECT address FROM simplejwt_event ORDER BY at");
    assert_eq!(known, [None, Some("192.0.2.9".to_owned()), Some("192.0.2.9".to_owned())]);
}
