//! What is asked of the database: few statements, and none that goes through a whole table.

use std::sync::{Arc, Mutex};

use diesel::connection::{Instrumentation, InstrumentationEvent};
use diesel::prelude::*;

use super::*;

/// The statements that a ledger of one connection has run, and those that were prepared to be used again.
#[derive(Clone, Default)]
pub(super) struct Seen(Arc<Mutex<(Vec<String>, Vec<String>)>>);

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
    pub(super) async fn by(ledger: &Ledger) -> Self {
        let seen = Self::default();
        let instrumentation = seen.clone();
        let instrument = move |connection: &mut AnyConnection| {
            connection.set_instrumentation(instrumentation);
            Ok(())
        };
        ledger.run(instrument).await.unwrap();
        seen
    }

    pub(super) fn run(&self) -> Vec<String> {
        self.0.lock().unwrap().0.clone()
    }

    fn cached(&self) -> Vec<String> {
        self.0.lock().unwrap().1.clone()
    }
}

/// What of a statement's plan goes through a whole table, or sorts.
fn slow_steps(test: &Test, statement: &str) -> Vec<String> {
    match &mut test.elsewhere() {
        #[cfg(feature = "sqlite")]
        TestConnection::Sqlite(connection) => sqlite::slow_steps(connection, statement),
        #[cfg(feature = "postgres")]
        connection @ TestConnection::Postgres(_) => postgres::slow_steps(connection, statement),
        #[cfg(feature = "mysql")]
        TestConnection::Mysql(connection) => mysql::slow_steps(connection, statement),
    }
}

#[cfg(feature = "sqlite")]
mod sqlite {
    use diesel::prelude::*;
    use diesel::sql_types::Text;

    #[derive(QueryableByName)]
    struct Step {
        #[diesel(sql_type = Text)]
        detail: String,
    }

    pub(super) fn slow_steps(connection: &mut SqliteConnection, statement: &str) -> Vec<String> {
        let statement = statement.split(" -- binds").next().unwrap();
        let steps: Vec<Step> = diesel::sql_query(format!("EXPLAIN QUERY PLAN {statement}")).load(connection).unwrap();
        let slow = |step: &String| {
            step.contains("TEMP B-TREE")
                || step.starts_with("SCAN")
                    && (step.contains("simplejwt") || step.contains("token_blacklist"))
                    // In the order of a key, and no further than the limit.
                    && !step.contains("USING INDEX") && !step.contains("USING COVERING INDEX")
        };
        steps.into_iter().map(|step| step.detail).filter(slow).collect()
    }
}

#[cfg(feature = "postgres")]
mod postgres {
    use super::TestConnection;

    /// The plan that is made for any parameters, and goes through a table only where there is no other way.
    pub(super) fn slow_steps(connection: &mut TestConnection, statement: &str) -> Vec<String> {
        let statement = statement.split(" -- binds").next().unwrap();
        let parameters = (1..100).take_while(|number| statement.contains(&format!("${number}"))).count();
        let values = if parameters == 0 { String::new() } else { format!("({})", vec!["NULL"; parameters].join(", ")) };
        let settings = ["seqscan", "hashjoin", "mergejoin", "bitmapscan", "hashagg", "material"]
            .map(|method| format!("SET enable_{method} = off;"));
        connection
            .execute(&format!(
                "{} SET plan_cache_mode = force_generic_plan;
                 CREATE FUNCTION pg_temp.plan(query text) RETURNS SETOF text LANGUAGE plpgsql AS
                 $$ BEGIN RETURN QUERY EXECUTE 'EXPLAIN (COSTS OFF) ' || query; END $$;
                 PREPARE looked_at AS {statement};",
                settings.concat()
            ))
            .unwrap_or_else(|error| panic!("{error}: {statement}"));
        let steps: Vec<_> = connection
            .column(&format!("SELECT pg_temp.plan('EXECUTE looked_at{values}')"))
            .into_iter()
            .flatten()
            .collect();
        let limited = statement.contains("LIMIT");
        let many =
            steps.iter().any(|step| step.contains("Index Cond:") && (step.contains("<=") || step.contains(">=")));
        let followed = steps.iter().zip(steps.iter().skip(1).map(Some).chain([None]));
        let slow = followed.filter(|(step, next)| {
            let whole =
                step.contains("Index") && step.contains(" Scan ") && !next.is_some_and(|it| it.contains("Index Cond:"));
            // The rows of one key may be sorted, but not those of a whole range to throw most of them away. And rows may be
            // gone through in the order of a key, no further than the limit.
            let sorted = step.trim_start_matches([' ', '-', '>']) == "Sort";
            step.contains("Seq Scan") || sorted && limited && many || whole && !limited
        });
        slow.map(|(step, _)| step.clone()).collect()
    }
}

#[cfg(feature = "mysql")]
mod mysql {
    use diesel::prelude::*;
    use diesel::sql_types::{Nullable, Text};

    #[derive(Debug, QueryableByName)]
    struct Step {
        #[diesel(sql_type = Nullable<Text>)]
        table: Option<String>,
        #[diesel(sql_type = Nullable<Text>, column_name = "type")]
        access: Option<String>,
        #[diesel(sql_type = Nullable<Text>, column_name = "Extra")]
        extra: Option<String>,
    }

    /// The statement with its parameters in it.
    fn filled(statement: &str) -> String {
        let (statement, values) = statement.split_once(" -- binds: ").unwrap_or((statement, "[]"));
        let values = values.trim_start_matches('[').trim_end_matches(']').split(", ").map(|value| {
            let value = value.trim_start_matches("Some(").trim_start_matches("Stored(").trim_end_matches(')');
            match value.parse::<f64>() {
                Ok(_) => value.to_owned(),
                Err(_) if matches!(value, "true" | "false") => value.to_owned(),
                Err(_) if value == "None" => "NULL".to_owned(),
                Err(_) => format!("'{}'", value.trim_matches('"')),
            }
        });
        let mut parts = statement.split('?');
        let first = parts.next().unwrap_or_default().to_owned();
        first + &values.zip(parts).map(|(value, part)| value + part).collect::<String>()
    }

    pub(super) fn slow_steps(connection: &mut MysqlConnection, statement: &str) -> Vec<String> {
        let filled = filled(statement);
        let steps: QueryResult<Vec<Step>> = diesel::sql_query(format!("EXPLAIN {filled}")).load(connection);
        let steps = steps.unwrap_or_else(|error| panic!("{error}: {filled} of {statement}"));
        let slow = |step: &Step| {
            let (access, extra) = (step.access.as_deref(), step.extra.as_deref().unwrap_or_default());
            let ours =
                step.table.as_deref().is_some_and(|it| it.contains("simplejwt") || it.contains("token_blacklist"));
            // In the order of a key, and no further than the limit.
            let ordered = access == Some("index") && statement.contains("LIMIT");
            ours && matches!(access, Some("ALL" | "index")) && !ordered || extra.contains("filesort")
        };
        steps.iter().filter(|step| slow(step)).map(|step| format!("{step:?}")).collect()
    }
}

/// Rows in all the tables that the daily work looks at, so that no plan is chosen because there are so few.
fn fill(test: &Test) {
    let mut database = test.elsewhere();
    let numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)";
    let then = "'2027-01-14 08:00:00'";
    // Each at another moment.
    let later = match test.database.kind() {
        Kind::Sqlite | Kind::Mysql => "concat('2039-01-15 08:00:00.', 100000 + i)",
        Kind::Postgres => "CAST(concat('2039-01-15 08:00:00.', 100000 + i) AS timestamp with time zone)",
    };
    for insert in [
        format!(
            "INSERT INTO token_blacklist_outstandingtoken (token, created_at, expires_at, user_id, jti) {numbers}
             SELECT '', {then}, {later}, concat('u-', i), concat('x-', i) FROM n"
        ),
        format!(
            "INSERT INTO token_blacklist_blacklistedtoken (blacklisted_at, token_id)
             SELECT {then}, id FROM token_blacklist_outstandingtoken WHERE jti LIKE '%7'"
        ),
        format!(
            "INSERT INTO simplejwt_token (jti, kind, session_id, keep_until) {numbers}
             SELECT concat('x-', i), 'refresh', concat('s-', i), {later} FROM n"
        ),
        format!(
            "INSERT INTO simplejwt_session (id, user_id, created_at, last_used_at, keep_until) {numbers}
             SELECT concat('s-', i), concat('u-', i), {then}, {then}, {later} FROM n"
        ),
        format!(
            "INSERT INTO simplejwt_event (at, action, target, who, via) {numbers}
             SELECT {later}, 'blacklist', concat('x-', i), 'django', 'library' FROM n"
        ),
    ] {
        database.execute(&insert).unwrap();
    }
    if test.database.kind() == Kind::Mysql {
        for table in database.tables() {
            database.column(&format!("SELECT count(*) FROM {table}"));
            database.execute(&format!("ANALYZE TABLE {table}")).unwrap();
        }
    } else {
        database.execute("ANALYZE").unwrap();
    }
}

#[tokio::test]
async fn the_check_is_one_statement_that_is_prepared_once() {
    let test = Test::new().await;
    let ledger = Ledger::open(&LedgerOptions { pool_size: 1, ..test.options() }).unwrap();
    // The first one also looks at how the tables are made.
    ledger.is_refused(presented(&Jti::random(), None)).await.unwrap();
    let seen = Seen::by(&ledger).await;
    for session in [None, Some(SessionId::starting_at(0)), None] {
        ledger.is_refused(presented(&Jti::random(), session)).await.unwrap();
    }
    assert_eq!((seen.run().len(), seen.cached().len()), (3, 0), "{:#?}", seen.run());
}

#[tokio::test]
async fn no_statement_of_the_daily_work_goes_through_a_whole_table() {
    let test = Test::new().await;
    fill(&test);
    let test = Test { ledger: Ledger::open(&LedgerOptions { pool_size: 1, ..test.options() }).unwrap(), ..test };
    // The first one also looks at how the tables are made.
    test.ledger.is_refused(presented(&Jti::random(), None)).await.unwrap();
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
    let plan =
        FlushPlan { as_of: at(9 * DAY), retention: RETENTION, events_before: Some(at(DAY)), addresses_before: None };
    let mut cursor = FlushCursor::default();
    while let Some(next) = test.ledger.flush_batch(&plan, cursor, 1).await.unwrap().next {
        cursor = next;
    }
    assert_eq!(test.rows("simplejwt_session") + test.rows("simplejwt_event"), 6000, "those that have to stay");

    let looks = |statement: &String| {
        let sql = statement.split(" -- binds").next().unwrap();
        ["SELECT", "UPDATE", "DELETE"].iter().any(|verb| sql.starts_with(verb))
            // The catalogue of the database is its own affair.
            && ["simplejwt_", "token_blacklist_"].iter().any(|table| sql.contains(table))
    };
    let statements: Vec<_> = seen.run().into_iter().filter(looks).collect();
    assert!(statements.len() > 30);
    if test.database.kind() == Kind::Mysql {
        // Whatever the statistics say of a table that thousands of rows have just come to or gone from.
        let told = |sql: &&String| sql.starts_with("DELETE FROM `simplejwt_session`") && sql.contains("FORCE INDEX");
        assert!(statements.iter().any(|statement| told(&statement)));
    }
    for statement in statements {
        assert_eq!(slow_steps(&test, &statement), Vec::<String>::new(), "{statement}");
    }
}
