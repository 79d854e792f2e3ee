//! Our tables beside Django's: put there, and taken away without a trace.

use std::collections::BTreeSet;
use std::thread;

use serde_json::json;

use crate::django::{Django, Project, Users, succeed};
use crate::steps::{assert_blacklisted, blacklist, lets_in, refreshed};
use crate::support::mint::jti;

/// Everything that a project does with its tokens and its tables.
#[track_caller]
fn assert_works(django: &Django) {
    let name = crate::support::unique("user");
    django.add_user(&name);
    let first = django.login(&name);
    assert!(lets_in(django.client(), &first.access));
    let second = refreshed(django.client(), &first.refresh);
    assert_blacklisted(django.client(), &first.refresh);
    blacklist(django.client(), &second.refresh);
    assert_blacklisted(django.client(), &second.refresh);
    // In one process, as starting one takes longer than all of them.
    for command in ["'flushexpiredtokens'", "'makemigrations', check_changes=True", "'migrate', check_unapplied=True"] {
        django.python(&format!("call_command({command}, verbosity=0)"));
    }
}

/// Whether a line of the catalogue is about our tables, or about the book that Diesel keeps of them.
fn is_ours(line: &str) -> bool {
    // PostgreSQL has a type of rows for each table, with an underscore before its name.
    let name = line.trim_start_matches('_');
    name.starts_with("simplejwt_") || line.contains(" simplejwt_") || line.contains("__diesel_schema_migrations")
}

/// What is in the second and not in the first, after making sure that nothing else changed.
#[track_caller]
fn added(before: &[String], after: &[String]) -> Vec<String> {
    let [before, after] = [before, after].map(|things| things.iter().cloned().collect::<BTreeSet<_>>());
    assert_eq!(before.difference(&after).collect::<Vec<_>>(), Vec::<&String>::new(), "changed or gone");
    after.difference(&before).cloned().collect()
}

#[test]
fn migrate_adds_our_tables_alone_and_remove_restores_every_word_of_the_catalogue() {
    for users in Users::ALL {
        let django = Project::new().users(users).start();
        assert_works(&django);
        let server = django.simplejwt();
        let before = django.catalogue();

        let status = succeed(&server, &["migrate", "--status", "--format", "json"]).json();
        assert_eq!([&status[0]["applied"], &status[0]["adopted"]], [true, true], "{status}");
        assert_eq!([&status[1]["applied"], &status[1]["adopted"]], [false, false], "{status}");
        assert_eq!(server.cli(&["migrate", "--check"]).code(), 1);
        assert_eq!(django.catalogue(), before, "looking changes nothing");

        succeed(&server, &["migrate"]);
        let after = django.catalogue();
        let new = added(&before, &after);
        assert!(!new.is_empty() && new.iter().all(|thing| is_ours(thing)), "{new:#?}");
        for table in ["session", "token", "user", "event", "flush_run"] {
            assert!(new.iter().any(|thing| thing.starts_with(&format!("simplejwt_{table} "))), "{table}: {new:#?}");
        }
        succeed(&server, &["migrate"]);
        succeed(&server, &["migrate", "--check"]);
        assert_eq!(django.catalogue(), after, "the second time changes nothing");
        let status = succeed(&server, &["migrate", "--status", "--format", "json"]).json();
        assert_eq!([&status[0]["applied"], &status[0]["adopted"]], [true, true], "{status}");
        assert_eq!([&status[1]["applied"], &status[1]["adopted"]], [true, false], "{status}");
        assert_works(&django);

        succeed(&server, &["migrate", "--remove", "--yes"]);
        assert_eq!(django.catalogue(), before, "removed without a trace");
        assert_works(&django);
    }
}

#[test]
fn two_processes_that_migrate_at_once_make_the_tables_once() {
    let alone = Project::new().start();
    succeed(&alone.simplejwt(), &["migrate"]);
    let expected = alone.catalogue();
    for _ in 0..3 {
        let django = Project::new().start();
        let servers = [django.simplejwt(), django.simplejwt(), django.simplejwt()];
        thread::scope(|scope| {
            for server in &servers {
                scope.spawn(|| succeed(server, &["migrate"]));
            }
        });
        assert_eq!(django.catalogue(), expected);
        assert_works(&django);
    }
}

#[test]
fn the_indexes_that_django_lacks_are_added_on_request_and_removed_with_the_rest() {
    let django = Project::new().start();
    let server = django.simplejwt();
    let before = django.catalogue();
    succeed(&server, &["migrate"]);
    let without = django.catalogue();

    succeed(&server, &["migrate", "--with-index"]);
    let indexed = django.catalogue();
    let index = "simplejwt_outstandingtoken_";
    let new: Vec<_> = indexed.iter().filter(|thing| !without.contains(thing)).collect();
    assert!(!new.is_empty() && new.iter().all(|thing| thing.contains(index)), "{new:#?}");
    succeed(&server, &["migrate", "--with-index"]);
    assert_eq!(django.catalogue(), indexed, "the second time changes nothing");
    assert_works(&django);

    succeed(&server, &["migrate", "--remove", "--yes"]);
    assert_eq!(django.catalogue(), before, "removed without a trace");
    assert_works(&django);
}

#[test]
fn what_a_migration_of_djangos_takes_along_is_put_back_by_ours() {
    let django = Project::new().start();
    let server = django.simplejwt();
    succeed(&server, &["migrate", "--with-index"]);
    let before = django.catalogue();
    // On SQLite these make the tables anew, with the indexes and triggers that Django knows of, and no others.
    for step in [&["migrate", "token_blacklist", "0007"][..], &["migrate"]] {
        let output = django.manage(step);
        assert!(output.success(), "{step:?}: {output:?}");
    }
    succeed(&server, &["migrate", "--with-index"]);
    let names = |lines: Vec<String>| lines.into_iter().filter(|line| is_ours(line)).collect::<BTreeSet<_>>();
    assert_eq!(names(django.catalogue()), names(before));
    assert_works(&django);
}

#[test]
fn what_the_two_sides_wrote_survives_the_removal_of_our_tables() {
    let django = Project::new().start();
    let id = django.add_user("ada");
    let [kept, revoked] = [django.login("ada"), django.login("ada")];
    let server = django.start_simplejwt();
    let issued = crate::steps::issue(&server, &id, "refresh");
    succeed(&server, &["blacklist", &jti(&revoked.refresh)]);
    let rows = django.python("jtis()");
    drop(server);

    succeed(&django.simplejwt(), &["migrate", "--remove", "--yes"]);
    assert_eq!(django.python("jtis()"), rows);
    assert_eq!(rows.as_array().map(Vec::len), Some(3), "{rows}");
    assert_blacklisted(django.client(), &revoked.refresh);
    refreshed(django.client(), &kept.refresh);
    refreshed(django.client(), &issued);
}

#[test]
fn another_type_of_user_key_than_djangos_is_refused_and_changes_nothing() {
    let django = Project::new().users(Users::Uuid).start();
    let before = django.catalogue();
    let output = django.simplejwt().cli(&["migrate", "--user-key", "integer"]);
    assert_eq!(output.code(), 2, "{output:?}");
    assert!(output.stderr.contains("uuid"), "{output:?}");
    assert_eq!(django.catalogue(), before);
    succeed(&django.simplejwt(), &["migrate", "--user-key", "uuid"]);
}

#[test]
fn a_server_refuses_to_start_on_djangos_tables_alone_and_says_what_to_do() {
    let django = Project::new().start();
    let before = django.catalogue();
    let output = django.simplejwt().cli(&["serve", "--port", "0"]);
    assert_eq!(output.code(), 2, "{output:?}");
    assert!(output.stderr.contains("simplejwt migrate"), "{output:?}");
    assert_eq!(django.catalogue(), before);
    assert_eq!(django.python("jtis()"), json!([]));
}

#[test]
fn tables_of_a_simplejwt_before_4_7_are_refused_until_django_has_migrated_them() {
    let django = Project::new().start();
    let output = django.manage(&["migrate", "token_blacklist", "0007"]);
    assert!(output.success(), "{output:?}");
    let before = django.catalogue();
    let output = django.simplejwt().cli(&["migrate"]);
    assert_eq!(output.code(), 2, "{output:?}");
    assert!(output.stderr.contains("before 4.7") && output.stderr.contains("manage.py migrate"), "{output:?}");
    assert_eq!(django.catalogue(), before);
    let output = django.manage(&["migrate"]);
    assert!(output.success(), "{output:?}");
    succeed(&django.simplejwt(), &["migrate"]);
}

/// A project that has not run the latest migrations of simplejwt, none of which changes a column.
#[test]
fn tables_of_any_version_since_4_7_are_taken_over() {
    for step in ["0008", "0010", "0011"] {
        let django = Project::new().empty().start();
        let manage = |command: &[&str]| {
            let output = django.manage(command);
            assert!(output.success(), "{step} {command:?}: {output:?}");
        };
        manage(&["migrate", "auth"]);
        manage(&["migrate", "token_blacklist", step]);
        let before = django.catalogue();
        if step == "0008" && django.is("connection.vendor == 'sqlite'") {
            // There the columns are those of before, and nobody could tell them apart.
            let output = django.simplejwt().cli(&["migrate"]);
            assert_eq!(output.code(), 2, "{output:?}");
            assert!(output.stderr.contains("manage.py migrate token_blacklist"), "{output:?}");
            assert_eq!(django.catalogue(), before);
            continue;
        }
        let server = django.start_simplejwt();
        django.add_user("ada");
        let works = || {
            for pair in [server.login("ada"), django.login("ada")] {
                assert!(lets_in(server.client(), &pair.access) && lets_in(django.client(), &pair.access), "{step}");
                let next = refreshed(server.client(), &pair.refresh);
                assert_blacklisted(django.client(), &pair.refresh);
                blacklist(django.client(), &next.refresh);
                assert_blacklisted(server.client(), &next.refresh);
            }
            django.python("record('expired', at(1_000_000_000), at(1_000_000_000))\nblacklist('expired')");
            succeed(&server, &["flushexpiredtokens"]);
            assert!(django.is("'expired' not in jtis()"), "{step}");
        };
        works();
        succeed(&server, &["migrate", "--remove", "--yes"]);
        assert_eq!(django.catalogue(), before, "{step}: removed without a trace");
        succeed(&server, &["migrate"]);
        // The rest of Django's, under our tables.
        manage(&["migrate"]);
        succeed(&server, &["migrate"]);
        works();
    }
}

#[test]
fn whoever_adopts_djangos_tables_is_told_of_tokens_that_nobody_recorded() {
    let advice = "unknown_refresh_tokens = \"accept\"";
    let django = Project::new().start();
    let first = succeed(&django.simplejwt(), &["migrate"]);
    assert!(first.stderr.contains(advice) && first.stderr.lines().count() == 1, "{first:?}");
    let again = succeed(&django.simplejwt(), &["migrate"]);
    assert_eq!(again.stderr, "", "once is enough");

    let other = Project::new().start();
    let server = other.simplejwt().set("unknown_refresh_tokens", "\"accept\"");
    assert_eq!(succeed(&server, &["migrate"]).stderr, "", "it was done already");
    let other = Project::new().start();
    assert_eq!(succeed(&other.simplejwt(), &["migrate", "--quiet"]).stderr, "");
    let new = Project::new().empty().start();
    assert_eq!(succeed(&new.simplejwt(), &["migrate"]).stderr, "", "nobody's tokens are in our own tables");
}
