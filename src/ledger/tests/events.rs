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
