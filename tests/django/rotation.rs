//! Refreshing on one side, and what the other makes of it.

use std::thread;

use serde_json::json;

use crate::django::{Django, Project, succeed};
use crate::steps::{add_ada, assert_blacklisted, assert_replaced, lets_in, refresh, refreshed, verify};
use crate::support::mint::{jti, payload};
use crate::support::server::Server;

fn both() -> (Django, Server) {
    let django = Project::new().start();
    let server = django.start_simplejwt();
    add_ada(&django, &server);
    (django, server)
}

#[test]
fn a_login_at_django_is_refreshed_on_either_side_in_turn() {
    let (django, server) = both();
    let mut pair = django.login("ada");
    for turn in 0..6 {
        let by = if turn % 2 == 0 { server.client() } else { django.client() };
        let next = refreshed(by, &pair.refresh);
        for client in [django.client(), server.client()] {
            assert_replaced(client, &pair.refresh);
            assert!(lets_in(client, &next.access), "turn {turn}");
            assert_eq!(verify(client, &next.refresh).status, 200, "turn {turn}");
            // The one before goes on until it expires.
            assert!(lets_in(client, &pair.access), "turn {turn}");
        }
        pair = next;
    }
    assert_eq!(django.python("OutstandingToken.objects.count(), BlacklistedToken.objects.count()"), json!([8, 6]));
}

#[test]
fn a_login_here_is_refreshed_here_and_refused_by_both_once_replaced() {
    let (django, server) = both();
    let first = server.login("ada");
    let second = refreshed(server.client(), &first.refresh);
    for client in [django.client(), server.client()] {
        assert_replaced(client, &first.refresh);
        assert!(lets_in(client, &first.access) && lets_in(client, &second.access));
        assert_eq!(verify(client, &second.refresh).status, 200);
    }
}

#[test]
fn a_login_here_that_is_refreshed_at_django_is_over_here_and_goes_on_there() {
    let (django, server) = both();
    let ours = server.login("ada");
    let theirs = refreshed(django.client(), &ours.refresh);
    assert_eq!(payload(&ours.refresh)["sid"], payload(&theirs.refresh)["sid"], "Django copies our claim");

    assert_blacklisted(server.client(), &ours.refresh);
    assert_blacklisted(django.client(), &ours.refresh);
    for access in [&ours.access, &theirs.access] {
        assert!(!lets_in(server.client(), access), "the session is over");
        assert!(lets_in(django.client(), access), "Django knows no session");
    }
    assert_blacklisted(server.client(), &theirs.refresh);
    let next = refreshed(django.client(), &theirs.refresh);
    assert!(lets_in(django.client(), &next.access) && !lets_in(server.client(), &next.access));
}

#[test]
fn ending_a_session_here_reaches_what_django_made_of_it() {
    let (django, server) = both();
    let ours = server.login("ada");
    let theirs = refreshed(django.client(), &ours.refresh);
    succeed(&server, &["blacklist", &jti(&ours.refresh)]);
    assert_blacklisted(server.client(), &theirs.refresh);
    // Django copied our claim into what it recorded, by which it is found.
    assert_blacklisted(django.client(), &theirs.refresh);
}

#[test]
fn blacklisting_what_a_rotation_replaced_ends_the_login_for_us_and_not_for_django() {
    let (django, server) = both();
    let first = server.login("ada");
    let second = refreshed(server.client(), &first.refresh);
    succeed(&server, &["blacklist", &jti(&first.refresh)]);
    assert!(!lets_in(server.client(), &second.access));
    assert_blacklisted(server.client(), &second.refresh);
    assert!(lets_in(django.client(), &second.access));
    assert_eq!(verify(django.client(), &second.refresh).status, 200, "Django sees the row of the first alone");
}

#[test]
fn a_project_that_does_not_rotate_takes_our_successors() {
    let django = Project::new().set("ROTATE_REFRESH_TOKENS", false).set("BLACKLIST_AFTER_ROTATION", false).start();
    let server = django.start_simplejwt();
    add_ada(&django, &server);
    let ours = server.login("ada");
    let reply = refresh(django.client(), &ours.refresh);
    assert_eq!((reply.status, reply.json().get("refresh")), (200, None), "{reply:?}");
    // It wrote nothing, so that the login goes on here.
    let access = reply.string("access");
    assert!(lets_in(server.client(), &access) && lets_in(django.client(), &access));
    let next = refreshed(server.client(), &ours.refresh);
    assert_blacklisted(django.client(), &ours.refresh);
    assert_eq!(refresh(django.client(), &next.refresh).status, 200);
    // With BLACKLIST_AFTER_ROTATION off, simplejwt does not look at the blacklist when it verifies.
    assert_eq!(verify(django.client(), &ours.refresh).status, 200);
}

#[test]
fn of_many_refreshes_at_once_on_both_sides_ours_let_at_most_one_through() {
    let (django, server) = both();
    for _ in 0..5 {
        let pair = django.login("ada");
        let (ours, theirs) = thread::scope(|scope| {
            let ask = |client| {
                let token = &pair.refresh;
                scope.spawn(move || refresh(client, token))
            };
            let threads: Vec<_> = (0..4).flat_map(|_| [ask(server.client()), ask(django.client())]).collect();
            let replies: Vec<_> = threads.into_iter().map(|thread| thread.join().expect("an answer")).collect();
            let (ours, theirs): (Vec<_>, Vec<_>) =
                replies.into_iter().enumerate().partition(|(index, _)| index % 2 == 0);
            (ours, theirs)
        });
        for (_, reply) in ours.iter().chain(&theirs) {
            assert!(matches!(reply.status, 200 | 401), "{reply:?}\n{}", django.log());
        }
        let mut successors: Vec<_> = ours
            .iter()
            .filter(|(_, reply)| reply.status == 200)
            .map(|(_, reply)| jti(&reply.string("refresh")))
            .collect();
        successors.dedup();
        assert!(successors.len() <= 1, "ours give one successor, to whoever is late as well: {successors:?}");
        for client in [django.client(), server.client()] {
            assert_replaced(client, &pair.refresh);
        }
    }
}

#[test]
fn a_token_that_is_used_twice_here_is_over_at_django_too() {
    let django = Project::new().start();
    let mut server = django.simplejwt();
    server.change("rotation_grace", "\"0s\"");
    succeed(&server, &["migrate"]);
    let server = server.start();
    add_ada(&django, &server);
    for first in [server.login("ada"), django.login("ada")] {
        let second = refreshed(server.client(), &first.refresh);
        let third = refreshed(server.client(), &second.refresh);
        assert_blacklisted(server.client(), &first.refresh);
        for client in [django.client(), server.client()] {
            assert_replaced(client, &third.refresh);
            assert_blacklisted(client, &third.refresh);
        }
    }
}
