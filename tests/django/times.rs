//! Instants: what one side writes, the other reads, to the microsecond.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde_json::{Value, json};

use crate::django::{Django, Project, succeed};
use crate::steps::issue;
use crate::support::mint::{jti, payload};
use crate::support::now;
use crate::support::server::Server;

/// An instant of Django's, as its console prints it.
fn instant(value: &Value) -> DateTime<Utc> {
    let text = value.as_str().unwrap_or_else(|| panic!("no instant: {value}"));
    DateTime::parse_from_rfc3339(&text.replace(' ', "T")).expect("an instant with its zone").to_utc()
}

/// Microseconds since 1970 of a field of a model.
#[track_caller]
fn micros(django: &Django, field: &str) -> i64 {
    let value = django.python(&format!("({field} - at(0)) // datetime.timedelta(microseconds=1)"));
    value.as_i64().unwrap_or_else(|| panic!("no instant: {value} of {field}"))
}

/// What our own table has, read by Django's connection and turned into microseconds.
#[track_caller]
fn our_micros(django: &Django, select: &str) -> i64 {
    let code = format!(
        "(value,), = sql({select:?})\n\
         value = datetime.datetime.fromisoformat(value) if isinstance(value, str) else value\n\
         value = value if value.tzinfo else value.replace(tzinfo=datetime.UTC)\n\
         answer = (value - at(0)) // datetime.timedelta(microseconds=1)"
    );
    django.python(&code).as_i64().expect("a number")
}

#[test]
fn what_we_write_is_the_same_instant_at_django() {
    let django = Project::new().start();
    let server = django.simplejwt();
    succeed(&server, &["migrate"]);
    for _ in 0..20 {
        let before = instant(&django.python("timezone.now()"));
        let token = issue(&server, "1", "refresh");
        succeed(&server, &["blacklist", &jti(&token)]);
        let after = instant(&django.python("timezone.now()"));

        let row = format!("OutstandingToken.objects.get(jti={:?})", jti(&token));
        let claims = payload(&token);
        assert_eq!(micros(&django, &format!("{row}.expires_at")), claims["exp"].as_i64().expect("an exp") * 1_000_000);
        let created = micros(&django, &format!("{row}.created_at"));
        assert_eq!(created.div_euclid(1_000_000), claims["iat"].as_i64().expect("an iat"));
        let session = claims["sid"].as_str().expect("a session");
        let ours = format!("SELECT created_at FROM simplejwt_session WHERE id = '{session}'");
        assert_eq!(created, our_micros(&django, &ours), "one instant in both tables");

        let blacklisted =
            micros(&django, &format!("BlacklistedToken.objects.get(token__jti={:?}).blacklisted_at", jti(&token)));
        let ours = format!("SELECT revoked_at FROM simplejwt_token WHERE jti = '{}'", jti(&token));
        assert_eq!(blacklisted, our_micros(&django, &ours), "one instant in both tables");
        let [before, after] = [before, after].map(|at| at.timestamp_micros());
        assert!(
            before <= created && created <= blacklisted && blacklisted <= after,
            "{before} {created} {blacklisted} {after}"
        );
    }
}

/// Whether our command line finds a row that is no older than this.
fn is_since(server: &Server, list: &str, jti: &str, since: DateTime<Utc>) -> bool {
    let since = since.to_rfc3339_opts(SecondsFormat::Micros, true);
    let rows = succeed(server, &[list, "list", "--since", &since, "--format", "json"]).json();
    rows.as_array().expect("a list").iter().any(|row| row["jti"] == jti)
}

#[test]
fn what_django_writes_is_the_same_instant_here() {
    let django = Project::new().start();
    let server = django.simplejwt();
    succeed(&server, &["migrate"]);
    let micro = TimeDelta::microseconds(1);
    // Without a fraction, with one that ends in zeros, with the smallest and the largest.
    for fraction in [0, 1, 100_000, 120_000, 123_000, 999_999] {
        let jti = format!("at-{fraction}");
        let created = DateTime::from_timestamp_micros((now() - 3600) * 1_000_000 + fraction).expect("an instant");
        let expires = created + TimeDelta::days(1);
        let at = |at: DateTime<Utc>| format!("at({}, {})", at.timestamp(), at.timestamp_subsec_micros());
        django.python(&format!("record({jti:?}, {}, {})\nanswer = None", at(expires), at(created)));
        django.python(&format!(
            "BlacklistedToken.objects.create(token=OutstandingToken.objects.get(jti={jti:?}))\nanswer = None"
        ));
        // The field is set by itself when a row is made.
        django.python(&format!(
            "BlacklistedToken.objects.filter(token__jti={jti:?}).update(blacklisted_at={})",
            at(created)
        ));

        let row = succeed(&server, &["outstanding", "show", &jti, "--format", "json"]).json();
        let seconds = |at: DateTime<Utc>| json!(at.to_rfc3339_opts(SecondsFormat::Secs, true));
        assert_eq!((&row["created_at"], &row["expires_at"]), (&seconds(created), &seconds(expires)), "{row}");
        for list in ["outstanding", "blacklisted"] {
            assert!(is_since(&server, list, &jti, created - micro), "{list} {fraction}");
            assert!(is_since(&server, list, &jti, created), "{list} {fraction}");
            assert!(!is_since(&server, list, &jti, created + micro), "{list} {fraction}");
        }
    }
}

#[test]
fn djangos_flush_deletes_our_rows_at_their_end_and_not_a_microsecond_before() {
    let django = Project::new().start();
    let server = django.simplejwt();
    succeed(&server, &["migrate"]);
    let token = issue(&server, "1", "refresh");
    let exp = payload(&token)["exp"].as_i64().expect("an exp");
    succeed(&server, &["blacklist", &jti(&token)]);
    for early in [json!([exp - 1, 0]), json!([exp - 1, 999_999])] {
        django.python(&format!("flush_as_of(at(*{early}))"));
        assert_eq!(django.python("jtis()"), json!([jti(&token)]), "{early}");
    }
    assert!(django.is(&format!("is_blacklisted({:?})", jti(&token))));
    django.python(&format!("flush_as_of(at({exp}))"));
    assert_eq!(django.python("jtis()"), json!([]));
    assert_eq!(django.python("BlacklistedToken.objects.count()"), 0);
}

#[test]
fn our_flush_keeps_what_django_wrote_a_minute_beyond_its_end() {
    let django = Project::new().start();
    let mut server = django.simplejwt();
    // Else a row of unknown kind might be of a sliding token.
    server.change("sliding_token_refresh_lifetime", "\"5m\"");
    succeed(&server, &["migrate"]);
    // Our flush goes no further than an hour beyond the newest record.
    django.python(&format!("record('live', at({}))\nanswer = None", now() + 3600));
    let created = now() - 7200;
    for (jti, age) in [("young", 40), ("old", 61)] {
        django.python(&format!("record({jti:?}, at({}, 999_999), at({created}))\nanswer = None", now() - age));
    }
    succeed(&server, &["flushexpiredtokens"]);
    assert_eq!(django.python("jtis()"), json!(["live", "young"]));
}
