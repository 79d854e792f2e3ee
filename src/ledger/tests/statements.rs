//! What is asked of the database: few statements, and none that goes through a whole table.

use std::sync::{Arc, Mutex};

use diesel::connection::{Instrumentation, InstrumentationEvent};

use super::*;

/// The statements that a ledger of one connection has run, and those that were prepared to be used again.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<(Vec<String>, Vec<String>)>>);

impl Instrumentation for Seen {
    fn on_connection_event(&mut self, event: InstrumentationEvent<'_>) {
        let mut seen = self.0.lock().unwrap();
        match event {
            InstrumentationEvent::StartQuery { query, .. } => seen.0.push(query.to_string()),
            InstrumentationEvent::CacheQuery { sql, .. } => seen.1.push(sql.to_owned()),
            _ => {}
        }
    }
}

impl Seen {
    async fn by(ledger: &Ledger) -> Self {
        let seen = Self::default();
        let instrumentation = seen.clone();
        let instrument = move |connection: &mut AnyConnection| {
            connection.set_instrumentation(instrumentation);
            Ok(())
        };
        ledger.run(instrument).await.unwrap();
        seen
    }

    fn run(&self) -> Vec<String> {
        self.0.lock().unwrap().0.clone()
    }

    fn cached(&self) -> Vec<String> {
        self.0.lock().unwrap().1.clone()
    }
}

/// What of a statement's plan goes through a whole table, or sorts.
fn slow_steps(test: &Test, statement: &str) -> Vec<String> {
    #[derive(QueryableByName)]
    struct Step {
        #[diesel(sql_type = diesel::sql_types::Text)]
        detail: String,
    }
    let statement = statement.split(" -- binds").next().unwrap();
    let steps: Vec<Step> =
        diesel::sql_query(format!("EXPLAIN QUERY PLAN {statement}")).load(&mut test.elsewhere()).unwrap();
    let slow = |step: &String| {
        step.contains("TEMP B-TREE")
            || step.starts_with("SCAN")
                && (step.contains("simplejwt") || step.contains("token_blacklist"))
                // In the order of a key, and no further than the limit.
                && !step.contains("USING INDEX") && !step.contains("USING COVERING INDEX")
    };
    steps.into_iter().map(|step| step.detail).filter(slow).collect()
}

#[tokio::test]
async fn the_check_is_one_statement_that_is_prepared_once() {
    let test = Test::new().await;
    let ledger = Ledger::open(&LedgerOptions { pool_size: 1, ..options(&test.path) }).unwrap();
    let seen = Seen::by(&ledger).await;
    for session in [None, Some(SessionId::starting_at(0)), None] {
        ledger.is_refused(&Jti::random(), session).await.unwrap();
    }
    assert_eq!((seen.run().len(), seen.cached().len()), (3, 1), "{:#?}", seen.run());
}

#[tokio::test]
async fn no_statement_of_the_daily_work_goes_through_a_whole_table() {
    let test = Test::new().await;
    let test = Test { ledger: Ledger::open(&LedgerOptions { pool_size: 1, ..options(&test.path) }).unwrap(), ..test };
    let seen = Seen::by(&test.ledger).await;
    let (session, old) = test.login().await;
    assert!(!test.refused(&old, Some(session)).await);
    let rotation = rotation(&old, session);
    let new = rotation.new.jti.clone();
    test.ledger.rotate(rotation).await.unwrap();
    test.ledger.touch_session(session, at(70), at(3 * DAY)).await.unwrap();
    test.revoke(by_jti(&new)).await;
    test.restore(&new).await;
    test.ledger.outstanding_by_jti(&new).await.unwrap();
    test.ledger.events_of(&new).await.unwrap();
    test.ledger.end_sessions_of(&"7".into(), "logout", &actor(), at(80)).await.unwrap();
    let plan = FlushPlan {
        as_of: at(9 * DAY),
        margin: TimeDelta::seconds(MARGIN),
        sliding_refresh_lifetime: TimeDelta::days(1),
        events_before: Some(at(DAY)),
    };
    let mut cursor = FlushCursor::default();
    while let Some(next) = test.ledger.flush_batch(&plan, cursor, 1).await.unwrap().next {
        cursor = next;
    }
    assert_eq!(test.rows("simplejwt_session") + test.rows("simplejwt_event"), 0);

    let looks = |statement: &String| ["SELECT", "UPDATE", "DELETE"].iter().any(|verb| statement.starts_with(verb));
    let statements: Vec<_> = seen.run().into_iter().filter(looks).collect();
    assert!(statements.len() > 30);
    for statement in statements {
        assert_eq!(slow_steps(&test, &statement), Vec::<String>::new(), "{statement}");
    }
}
