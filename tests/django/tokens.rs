//! Tokens of either side, taken by the other.

use serde_json::{Value, json};

use crate::django::{Django, Project, succeed};
use crate::steps::{add_ada, issue, lets_in, refreshed, verify};
use crate::support::mint::{claims, header, payload};
use crate::support::server::{PASSWORD, Pair, Server};

/// Fails unless both sides take these tokens for everything that they are good for.
#[track_caller]
fn assert_taken(django: &Django, server: &Server, pair: &Pair) {
    for client in [django.client(), server.client()] {
        let reply = client.get("/api/token/whoami/", Some(&pair.access));
        assert_eq!((reply.status, reply.string("user_id")), (200, "1".to_owned()), "{reply:?}");
        for token in [&pair.access, &pair.refresh] {
            let reply = verify(client, token);
            assert_eq!((reply.status, reply.text.as_str()), (200, "{}"), "{reply:?}");
        }
        // A refresh token is none for a protected view, and the other way round.
        assert!(!lets_in(client, &pair.refresh));
        crate::steps::refresh(client, &pair.access).assert_not_valid("Token has wrong type");
    }
}

fn both(project: Project, settings: &[(&str, &str)]) -> (Django, Server) {
    let django = project.start();
    let mut server = django.simplejwt();
    for (name, value) in settings {
        server.change(name, value);
    }
    succeed(&server, &["migrate"]);
    let server = server.start();
    add_ada(&django, &server);
    (django, server)
}

#[test]
fn a_login_on_either_side_is_good_on_both() {
    let (django, server) = both(Project::new(), &[]);
    for pair in [django.login("ada"), server.login("ada")] {
        assert_taken(&django, &server, &pair);
        let [by_us, by_django] = [server.client(), django.client()];
        let second = refreshed(by_us, &pair.refresh);
        assert_taken(&django, &server, &second);
        let third = refreshed(by_django, &second.refresh);
        assert!(lets_in(by_django, &third.access));
    }
}

#[test]
fn the_two_sides_say_the_same_in_a_token_but_for_our_session_and_freshness() {
    let (django, server) = both(Project::new(), &[]);
    let (theirs, ours) = (django.login("ada"), server.login("ada"));
    for (theirs, ours) in [(&theirs.access, &ours.access), (&theirs.refresh, &ours.refresh)] {
        assert_eq!(header(theirs), header(ours));
        let (theirs, mut ours) = (payload(theirs), payload(ours));
        let is_access = ours["token_type"] == "access";
        let own = ours.as_object_mut().map(|ours| (ours.remove("sid").is_some(), ours.remove("fresh").is_some()));
        assert_eq!(own, Some((true, is_access)));
        let names = |claims: &Value| claims.as_object().map(|claims| claims.keys().cloned().collect::<Vec<_>>());
        assert_eq!(names(&theirs), names(&ours));
        for name in ["token_type", "user_id"] {
            assert_eq!(theirs[name], ours[name]);
        }
        let lives = |claims: &Value| claims["exp"].as_i64().zip(claims["iat"].as_i64()).map(|(exp, iat)| exp - iat);
        // Django takes the time once for the exp of an access token and once more for its iat.
        assert!(lives(&ours).zip(lives(&theirs)).is_some_and(|(ours, theirs)| (ours - 1..=ours).contains(&theirs)));
        assert_eq!(theirs["jti"].as_str().map(str::len), ours["jti"].as_str().map(str::len));
    }
}

#[test]
fn audience_and_issuer_are_written_and_required_by_both() {
    let project = Project::new().set("AUDIENCE", "shop").set("ISSUER", "https://id.example");
    let (django, server) = both(project, &[("audience", "\"shop\""), ("issuer", "\"https://id.example\"")]);
    for pair in [django.login("ada"), server.login("ada")] {
        assert_taken(&django, &server, &pair);
        let second = refreshed(server.client(), &pair.refresh);
        let third = refreshed(django.client(), &second.refresh);
        for token in [&pair.access, &pair.refresh, &second.access, &second.refresh, &third.access, &third.refresh] {
            let claims = payload(token);
            assert_eq!([&claims["aud"], &claims["iss"]], ["shop", "https://id.example"], "{claims}");
        }
    }
    for (aud, iss) in [(json!("shop"), json!("elsewhere")), (json!("cellar"), json!("https://id.example"))] {
        let token = claims("access").with("aud", aud).with("iss", iss).sign();
        assert!(!lets_in(django.client(), &token) && !lets_in(server.client(), &token), "{token}");
    }
    let several = claims("access").with("aud", json!(["cellar", "shop"])).with("iss", "https://id.example").sign();
    assert!(lets_in(django.client(), &several) && lets_in(server.client(), &several));
    let neither = claims("access").sign();
    assert!(!lets_in(django.client(), &neither) && !lets_in(server.client(), &neither));
}

#[test]
fn sliding_tokens_are_renewed_on_either_side() {
    let classes = json!(["rest_framework_simplejwt.tokens.SlidingToken"]);
    let project = Project::new().set("AUTH_TOKEN_CLASSES", classes);
    let (django, server) = both(project, &[("auth_token_classes", "[\"sliding\"]")]);
    for client in [django.client(), server.client()] {
        let reply = client.post_json("/api/token/sliding/", &json!({"username": "ada", "password": PASSWORD}));
        assert_eq!(reply.status, 200, "{reply:?}");
        let first = reply.string("token");
        for other in [django.client(), server.client()] {
            assert!(lets_in(other, &first));
            assert_eq!(verify(other, &first).status, 200);
            let reply = other.post_json("/api/token/sliding/refresh/", &json!({ "token": first }));
            assert_eq!(reply.status, 200, "{reply:?}");
            let second = reply.string("token");
            let [before, after] = [payload(&first), payload(&second)];
            for name in ["jti", "refresh_exp", "user_id", "token_type"] {
                assert_eq!(before[name], after[name], "{name}");
            }
            assert!(lets_in(django.client(), &second) && lets_in(server.client(), &second));
        }
    }
}

#[test]
fn custom_claims_travel_through_both_sides() {
    let (django, server) = both(Project::new(), &[]);
    let theirs = django.text(
        "token = RefreshToken.for_user(User.objects.get(username='ada'))\n\
         token['roles'] = ['editor', {'since': 2.5}]\ntoken['name'] = 'Åda'\nanswer = str(token)",
    );
    let roles = json!(["editor", {"since": 2.5}]);
    let ours = server.cli(&[
        "issue",
        "--user",
        "1",
        "--kind",
        "refresh",
        "--claim",
        &format!("roles={roles}"),
        "--claim",
        "name=Åda",
    ]);
    for token in [&*theirs, ours.stdout.trim()] {
        let second = refreshed(server.client(), token);
        let third = refreshed(django.client(), &second.refresh);
        for token in [&second.access, &second.refresh, &third.access, &third.refresh] {
            let claims = payload(token);
            assert_eq!((&claims["roles"], &claims["name"]), (&roles, &json!("Åda")), "{claims}");
        }
    }
}

#[test]
fn a_token_from_the_command_line_is_good_at_django() {
    let (django, server) = both(Project::new(), &[]);
    assert!(lets_in(django.client(), &issue(&server, "1", "access")));
    let pair = refreshed(django.client(), &issue(&server, "1", "refresh"));
    assert!(lets_in(django.client(), &pair.access));
}

#[test]
fn a_jti_that_differs_in_case_alone_is_another_token_here() {
    // On MariaDB Django's column takes the two for one, as Django itself does then.
    let (django, server) = both(Project::new(), &[]);
    let lower = claims("refresh").with("jti", "a1b2c3d4e5f60718293a4b5c6d7e8f90");
    let upper = claims("refresh").with("jti", "A1B2C3D4E5F60718293A4B5C6D7E8F90");
    crate::steps::blacklist(django.client(), &lower.sign());
    crate::steps::assert_blacklisted(server.client(), &lower.sign());
    let listed = succeed(&server, &["outstanding", "show", lower.jti(), "--format", "json"]).json();
    assert_eq!(listed["jti"], lower.jti());
    assert_eq!(server.cli(&["check", lower.jti()]).code(), 1);
    assert_eq!(server.cli(&["outstanding", "show", upper.jti()]).code(), 1, "nobody recorded it");
    let access = claims("access").with("jti", upper.jti()).sign();
    assert!(lets_in(server.client(), &access));
}
