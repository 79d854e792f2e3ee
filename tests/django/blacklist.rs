//! What either side blacklists, the other refuses at the next request.

use serde_json::json;

use crate::browser::Browser;
use crate::django::{Django, Project, succeed};
use crate::steps::{add_ada, assert_blacklisted, blacklist, lets_in, refreshed, verify};
use crate::support::mint::jti;
use crate::support::server::{Pair, Server};

/// Our ways to know what is refused: a question on each request, or what is in memory and follows the log.
const KINDS: [&str; 2] = ["database", "cached"];

fn both() -> (Django, Server) {
    both_where("database")
}

/// The same with this setting `blacklist`.
fn both_where(blacklist: &str) -> (Django, Server) {
    let django = Project::new().start();
    let server = django.simplejwt().set("blacklist", &format!("{blacklist:?}"));
    succeed(&server, &["migrate"]);
    let server = server.start();
    add_ada(&django, &server);
    (django, server)
}

/// Fails unless both sides refuse a refresh token wherever it is shown.
#[track_caller]
fn assert_refused(django: &Django, server: &Server, token: &str) {
    for client in [django.client(), server.client()] {
        assert_blacklisted(client, token);
    }
    verify(server.client(), token).assert_not_valid("Token is blacklisted");
    // simplejwt's own way of saying it.
    verify(django.client(), token).assert(400, &json!({"non_field_errors": ["Token is blacklisted"]}));
    let again = json!({ "refresh": token });
    django.client().post_json("/api/token/blacklist/", &again).assert_not_valid("Token is blacklisted");
    server.client().post_json("/api/token/blacklist/", &again).assert(200, &json!({}));
}

/// Revokes logins of both sides in some way, and fails unless both sides know of it at once.
#[track_caller]
fn assert_ends(django: &Django, server: &Server, way: &str, mut revoke: impl FnMut(&Pair)) {
    let [ours, theirs, untouched] = [server.login("ada"), django.login("ada"), server.login("ada")];
    for pair in [&ours, &theirs] {
        assert!(lets_in(server.client(), &pair.access) && lets_in(django.client(), &pair.access), "{way}");
        revoke(pair);
        server.settle();
        assert_refused(django, server, &pair.refresh);
        // Django looks no access token up.
        assert!(lets_in(django.client(), &pair.access), "{way}");
    }
    assert!(!lets_in(server.client(), &ours.access), "{way}: the login is over with its refresh token");
    assert!(lets_in(server.client(), &theirs.access), "{way}: an access token of Django names no login");
    // Another login of the same user is none of it.
    assert!(lets_in(server.client(), &untouched.access), "{way}");
    refreshed(server.client(), &untouched.refresh);
}

#[test]
fn what_django_blacklists_is_refused_here_at_once() {
    for kind in KINDS {
        let (django, server) = both_where(kind);
        let mut browser = Browser::at_admin(&django);
        assert_ends(&django, &server, "endpoint", |pair| blacklist(django.client(), &pair.refresh));
        assert_ends(&django, &server, "row", |pair| {
            django.python(&format!("blacklist({:?})", jti(&pair.refresh)));
        });
        assert_ends(&django, &server, "token", |pair| {
            django.python(&format!("RefreshToken({:?}).blacklist()", pair.refresh));
        });
        assert_ends(&django, &server, "admin page", |pair| {
            let key = django.python(&format!("OutstandingToken.objects.get(jti={:?}).pk", jti(&pair.refresh)));
            let reply = browser.submit("/admin/token_blacklist/blacklistedtoken/add/", &[("token", &key.to_string())]);
            assert_eq!(reply.status, 302, "{reply:?}");
        });
    }
}

#[test]
fn what_is_blacklisted_here_is_refused_by_django_at_once() {
    let (django, server) = both();
    assert_ends(&django, &server, "endpoint", |pair| blacklist(server.client(), &pair.refresh));
    assert_ends(&django, &server, "jti", |pair| {
        succeed(&server, &["blacklist", &jti(&pair.refresh)]);
    });
    assert_ends(&django, &server, "token", |pair| {
        let output = server.cli_stdin(&["blacklist", "--token", "-"], &pair.refresh);
        assert!(output.success(), "{output:?}");
    });
}

#[test]
fn django_takes_an_access_token_that_is_blacklisted_here_until_it_expires() {
    let (django, server) = both();
    for pair in [server.login("ada"), django.login("ada")] {
        succeed(&server, &["blacklist", &jti(&pair.access)]);
        assert!(!lets_in(server.client(), &pair.access));
        assert!(lets_in(django.client(), &pair.access));
        // And its refresh token goes on.
        refreshed(server.client(), &pair.refresh);
    }
}

#[test]
fn a_jti_that_neither_side_recorded_is_refused_by_both() {
    let (django, server) = both();
    let token = crate::support::mint::claims("refresh");
    succeed(&server, &["blacklist", token.jti()]);
    assert_refused(&django, &server, &token.sign());
    let token = crate::support::mint::claims("refresh").sign();
    blacklist(django.client(), &token);
    assert_refused(&django, &server, &token);
}

#[test]
fn a_row_deleted_in_the_admin_revives_what_only_django_had_blacklisted() {
    for kind in KINDS {
        let (django, server) = both_where(kind);
        a_row_deleted_in_the_admin(&django, &server);
    }
}

#[track_caller]
fn a_row_deleted_in_the_admin(django: &Django, server: &Server) {
    let mut browser = Browser::at_admin(django);
    let mut unblacklist = |token: &str| {
        let key = django.python(&format!("BlacklistedToken.objects.get(token__jti={:?}).pk", jti(token)));
        let page = format!("/admin/token_blacklist/blacklistedtoken/{key}/delete/");
        let reply = browser.submit(&page, &[("post", "yes")]);
        assert_eq!(reply.status, 302, "{reply:?}");
        server.settle();
    };

    for (place, pair) in [("here", server.login("ada")), ("at Django", django.login("ada"))] {
        blacklist(django.client(), &pair.refresh);
        server.settle();
        assert_eq!(lets_in(server.client(), &pair.access), place == "at Django", "login {place}");
        // Nothing is sent to /blacklist/ here: that would make it ours.
        for client in [django.client(), server.client()] {
            assert_blacklisted(client, &pair.refresh);
        }
        unblacklist(&pair.refresh);
        assert!(lets_in(server.client(), &pair.access), "login {place}");
        let second = refreshed(server.client(), &pair.refresh);
        refreshed(django.client(), &second.refresh);
    }

    for (place, pair) in [("here", server.login("ada")), ("at Django", django.login("ada"))] {
        succeed(server, &["blacklist", &jti(&pair.refresh)]);
        unblacklist(&pair.refresh);
        assert_blacklisted(server.client(), &pair.refresh);
        assert_eq!(
            verify(django.client(), &pair.refresh).status,
            200,
            "login {place}: Django knows nothing but the row"
        );
        succeed(server, &["unblacklist", &jti(&pair.refresh)]);
        assert!(lets_in(server.client(), &pair.access), "login {place}");
        let second = refreshed(django.client(), &pair.refresh);
        server.settle();
        assert_eq!(lets_in(server.client(), &second.access), place == "at Django", "see rotation.rs");
    }
}

#[test]
fn unblacklisting_here_is_unblacklisting_at_django() {
    let (django, server) = both();
    for pair in [server.login("ada"), django.login("ada")] {
        blacklist(server.client(), &pair.refresh);
        assert_refused(&django, &server, &pair.refresh);
        succeed(&server, &["unblacklist", &jti(&pair.refresh)]);
        assert!(!django.is(&format!("is_blacklisted({:?})", jti(&pair.refresh))));
        assert_eq!(verify(django.client(), &pair.refresh).status, 200);
        let second = refreshed(server.client(), &pair.refresh);
        assert!(lets_in(django.client(), &second.access) && lets_in(server.client(), &second.access));
    }
}

#[test]
fn both_sides_that_blacklist_one_token_at_once_agree_without_an_error() {
    let (django, server) = both();
    for _ in 0..10 {
        let pair = server.login("ada");
        let unknown = crate::support::mint::claims("refresh").sign();
        for token in [&pair.refresh, &unknown] {
            let body = json!({ "refresh": token });
            let replies = std::thread::scope(|scope| {
                let post = |client: crate::support::client::Client| {
                    let body = &body;
                    scope.spawn(move || client.post_json("/api/token/blacklist/", body))
                };
                let threads =
                    [post(django.client()), post(server.client()), post(django.client()), post(server.client())];
                threads.map(|thread| thread.join().expect("an answer"))
            });
            for (index, reply) in replies.iter().enumerate() {
                let fine = if index % 2 == 1 { reply.status == 200 } else { matches!(reply.status, 200 | 401) };
                assert!(fine, "{reply:?}\n{}", django.log());
            }
            assert_refused(&django, &server, token);
        }
    }
}
