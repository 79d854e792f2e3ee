//! Our tables first, and a Django project that comes to them later.

use std::collections::BTreeSet;

use serde_json::json;

use crate::browser::{Browser, between};
use crate::django::{Django, Project, Users, succeed};
use crate::steps::{assert_blacklisted, blacklist, issue, lets_in, refreshed};
use crate::support::mint::jti;

/// The commands of docs/django.md, for users of any kind.
#[track_caller]
fn adopt(django: &Django, users: Users) {
    // `--fake` says that all is there which it depends on, so that has to be made before.
    let app = if users == Users::Integer { "auth" } else { "accounts" };
    for command in [&["migrate", app][..], &["migrate", "token_blacklist", "--fake"], &["migrate"]] {
        let output = django.manage(command);
        assert!(output.success(), "{command:?}: {output:?}");
    }
    for command in [&["migrate", "--check"][..], &["makemigrations", "--check"], &["check"]] {
        let output = django.manage(command);
        assert!(output.success(), "{command:?}: {output:?}");
    }
}

/// The only difference is the one that docs/django.md names.
#[test]
fn our_tables_have_the_columns_of_djangos() {
    let columns = |django: &Django| {
        let columns = serde_json::from_value::<BTreeSet<String>>(django.python("columns()"));
        columns.expect("a list of texts")
    };
    for users in Users::ALL {
        let theirs = columns(&Project::new().users(users).start());
        assert_eq!(theirs.len(), 9, "{theirs:#?}");
        let empty = Project::new().users(users).empty().start();
        succeed(&empty.simplejwt(), &["migrate", "--user-key", users.as_str()]);
        let ours = columns(&empty);
        let differ: Vec<_> = theirs.symmetric_difference(&ours).collect();
        if users == Users::Text {
            // How long a key may be is up to the model, which we do not know.
            assert!(differ.len() == 2 && differ.iter().all(|column| column.contains(" user_id ")), "{differ:#?}");
        } else {
            assert_eq!(differ, Vec::<&String>::new(), "{users:?}");
        }
    }
}

#[test]
fn django_takes_over_the_tables_that_we_made() {
    for users in Users::ALL {
        let django = Project::new().users(users).empty().start();
        let server = django.simplejwt();
        succeed(&server, &["migrate", "--user-key", users.as_str()]);
        let before = issue(&server, "1", "refresh");
        adopt(&django, users);
        let server = server.start();

        let id = django.add_user("ada");
        let first = django.login("ada");
        assert!(lets_in(server.client(), &first.access) && lets_in(django.client(), &first.access));
        let second = refreshed(django.client(), &first.refresh);
        assert_blacklisted(server.client(), &first.refresh);
        blacklist(server.client(), &second.refresh);
        assert_blacklisted(django.client(), &second.refresh);
        let ours = issue(&server, &id, "refresh");
        assert_eq!(django.text(&format!("str(OutstandingToken.objects.get(jti={:?}).user.pk)", jti(&ours))), id);

        django.python("record('expired', at(1_000_000_000), at(1_000_000_000))\nblacklist('expired')");
        let flushed = django.manage(&["flushexpiredtokens"]);
        assert!(flushed.success(), "{flushed:?}");
        let jtis = django.python("jtis()");
        let left = [&before, &first.refresh, &second.refresh, &ours].map(|token| jti(token));
        assert!(
            jtis.as_array().is_some_and(|jtis| jtis.len() == 4 && left.iter().all(|jti| jtis.contains(&json!(jti)))),
            "{jtis}"
        );
    }
}

#[test]
fn the_admin_pages_show_and_change_the_tables_that_we_made() {
    let django = Project::new().empty().start();
    let server = django.simplejwt();
    succeed(&server, &["migrate", "--user-key", "integer"]);
    adopt(&django, Users::Integer);
    let id = django.add_user("ada");
    let server = server.start();
    let token = issue(&server, &id, "refresh");
    blacklist(server.client(), &token);
    let mut browser = Browser::at_admin(&django);

    for page in ["outstandingtoken", "blacklistedtoken"] {
        let reply = browser.get(&format!("/admin/token_blacklist/{page}/"));
        assert_eq!(reply.status, 200, "{reply:?}");
        let list = between(&reply.text, "result_list", "</table>").expect("a list");
        assert!(list.contains(&jti(&token)) && list.contains("ada"), "{page}: {list}");
        let reply = browser.get(&format!("/admin/token_blacklist/{page}/?q={}", jti(&token)));
        let list = between(&reply.text, "result_list", "</table>").expect("a list");
        assert!(list.contains(&jti(&token)), "{page}: {list}");
    }
    let key = django.python("BlacklistedToken.objects.get().pk").to_string();
    let deleted = browser.submit(&format!("/admin/token_blacklist/blacklistedtoken/{key}/delete/"), &[("post", "yes")]);
    assert_eq!(deleted.status, 302, "{deleted:?}");
    assert!(!django.is(&format!("is_blacklisted({:?})", jti(&token))));

    let page = browser.get(&format!("/admin/auth/user/{id}/delete/"));
    assert!(between(&page.text, "Are you sure", "</form>").is_some(), "{page:?}");
    let deleted = browser.submit(&format!("/admin/auth/user/{id}/delete/"), &[("post", "yes")]);
    assert_eq!(deleted.status, 302, "{deleted:?}");
    assert!(django.is("OutstandingToken.objects.get().user is None"));
}

#[test]
fn without_fake_django_stumbles_over_our_tables_and_changes_none_of_them() {
    let django = Project::new().empty().start();
    succeed(&django.simplejwt(), &["migrate", "--user-key", "integer"]);
    let ours =
        |things: Vec<String>| things.into_iter().filter(|thing| thing.contains("token_blacklist_")).collect::<Vec<_>>();
    let before = ours(django.catalogue());
    let output = django.manage(&["migrate"]);
    assert!(!output.success() && output.stderr.contains("already exists"), "{output:?}");
    assert_eq!(ours(django.catalogue()), before);
    // What to do then.
    adopt(&django, Users::Integer);
}
