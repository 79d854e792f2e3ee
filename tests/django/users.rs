//! Whose a token is: users of every kind of key, users that were deleted, users that never were.

use serde_json::{Value, json};

use crate::browser::Browser;
use crate::django::{Django, Project, Users, succeed};
use crate::steps::{add_ada, assert_blacklisted, blacklist, issue, lets_in, refresh, refreshed, verify};
use crate::support::mint::{claims, jti, payload};
use crate::support::server::{PASSWORD, Server};

/// The jtis that our command line lists for a user, in their order.
#[track_caller]
fn listed(server: &Server, user: &str) -> Vec<String> {
    let rows = succeed(server, &["outstanding", "list", &format!("--user={user}"), "--format", "json"]).json();
    let rows = rows.as_array().expect("a list").iter();
    rows.map(|row| {
        assert_eq!(row["user"], user, "{row}");
        row["jti"].as_str().expect("a jti").to_owned()
    })
    .collect()
}

/// The user of a token as Django's model has it.
#[track_caller]
fn owner(django: &Django, token: &str) -> Value {
    django.python(&format!(
        "row = OutstandingToken.objects.get(jti={:?})\nanswer = row.user and [row.user.username, str(row.user.pk)]",
        jti(token)
    ))
}

#[test]
fn users_of_every_kind_are_the_same_on_both_sides() {
    for users in Users::ALL {
        let django = Project::new().users(users).start();
        let server = django.start_simplejwt();
        let [ada, bob] = ["ada", "bob"].map(|name| django.add_user(name));
        let theirs = django.login("ada");
        let ours = issue(&server, &ada, "refresh");
        let sliding = issue(&server, &ada, "sliding");
        django.login("bob");

        assert_eq!(payload(&theirs.refresh)["user_id"], ada.as_str(), "{users:?}");
        assert_eq!(payload(&ours)["user_id"], ada.as_str(), "{users:?}");
        for token in [&theirs.refresh, &ours, &sliding] {
            assert_eq!(owner(&django, token), json!(["ada", ada]), "{users:?}");
        }
        assert_eq!(listed(&server, &ada), [&theirs.refresh, &ours, &sliding].map(|token| jti(token)), "{users:?}");
        assert_eq!(listed(&server, &bob).len(), 1, "{users:?}");
        assert!(lets_in(server.client(), &theirs.access), "{users:?}");
        let whoami = server.client().get("/api/token/whoami/", Some(&theirs.access));
        assert_eq!(whoami.string("user_id"), ada, "{users:?}");

        // Django follows the claim, and records the successor for the same user.
        let next = refreshed(django.client(), &ours);
        assert!(lets_in(django.client(), &next.access), "{users:?}");
        assert_eq!(owner(&django, &next.refresh), json!(["ada", ada]), "{users:?}");
        let joined = "[str(row.user.pk) for row in OutstandingToken.objects.select_related('user').filter(user__username='ada')]";
        assert_eq!(django.python(joined), json!(vec![&ada; 4]), "{users:?}");
    }
}

#[test]
fn a_token_that_nobody_recorded_gets_its_user_when_it_is_blacklisted() {
    for users in Users::ALL {
        let django = Project::new().users(users).start();
        let server = django.start_simplejwt();
        let id = django.add_user("ada");
        let token = || claims("refresh").with("user_id", id.as_str()).sign();
        let [at_django, here] = [token(), token()];
        blacklist(django.client(), &at_django);
        blacklist(server.client(), &here);
        assert_eq!(owner(&django, &at_django), json!(["ada", id]), "{users:?}");
        assert_eq!(owner(&django, &here), json!(["ada", id]), "{users:?}");
    }
}

#[test]
fn an_id_that_no_user_has_is_written_as_null() {
    let uuid = "6f9619ff-8b86-d011-b42d-00c04fc964ff";
    let long = "x".repeat(200);
    let ids = |users| match users {
        Users::Integer | Users::BigInt => {
            ["4711", "1099511627776", "9223372036854775807", "92233720368547758070", "ada", "-1", "1.0", "1e0"]
        }
        Users::Uuid => [uuid, "1", "ada", "6F9619FF8B86D011B42D00C04FC964FF", "{6f9619ff}", "0", &long, "'"],
        Users::Text => ["ada", "1", "O'Hara\\", "user\u{e9}", &long, "%s", "?", "\u{1f980}"],
    };
    for users in Users::ALL {
        let django = Project::new().users(users).start();
        let server = django.simplejwt();
        succeed(&server, &["migrate"]);
        for id in ids(users) {
            let token = issue(&server, id, "refresh");
            assert_eq!(payload(&token)["user_id"], id);
            assert_eq!(owner(&django, &token), Value::Null, "{users:?} {id:?}");
            assert_eq!(listed(&server, id), Vec::<String>::new(), "{users:?} {id:?}");
        }
        assert_eq!(django.python("OutstandingToken.objects.filter(user__isnull=True).count()"), 8);
    }
}

#[test]
fn every_spelling_of_a_uuid_is_the_same_user() {
    let django = Project::new().users(Users::Uuid).start();
    let server = django.simplejwt();
    succeed(&server, &["migrate"]);
    let id = django.add_user("ada");
    let spellings = [id.clone(), id.to_uppercase(), id.replace('-', ""), format!("urn:uuid:{id}")];
    for spelling in &spellings {
        let token = issue(&server, spelling, "refresh");
        assert_eq!(owner(&django, &token), json!(["ada", id]), "{spelling}");
        let rows = succeed(&server, &["outstanding", "list", "--user", spelling, "--format", "json"]).json();
        assert!(rows.as_array().is_some_and(|rows| rows.iter().all(|row| row["user"] == id.as_str())), "{rows}");
    }
    assert_eq!(listed(&server, &id).len(), spellings.len());
}

#[test]
fn keys_of_text_may_have_any_characters() {
    let django = Project::new().users(Users::Text).start();
    let server = django.start_simplejwt();
    for (index, key) in
        ["O'Hara", "a b\"c", "back\\slash", "%s %", "\u{e5}da-\u{1f980}", "007", "NULL", "; DROP"].iter().enumerate()
    {
        let name = format!("user{index}");
        django.python(&format!("User.objects.create_user({name:?}, id={})\nanswer = None", json!(key)));
        let token = issue(&server, key, "refresh");
        assert_eq!(owner(&django, &token), json!([name, key]));
        assert_eq!(listed(&server, key), [jti(&token)]);
        let next = refreshed(django.client(), &token);
        assert_eq!(owner(&django, &next.refresh), json!([name, key]));
    }
}

#[test]
fn tokens_of_a_user_who_was_deleted_at_django_can_be_listed_and_blacklisted() {
    let django = Project::new().start();
    let server = django.start_simplejwt();
    let id = django.add_user("bob");
    let [theirs, other] = [django.login("bob"), django.login("bob")];
    let ours = issue(&server, &id, "refresh");
    let revoked = issue(&server, &id, "refresh");
    succeed(&server, &["blacklist", &jti(&revoked)]);
    let mut browser = Browser::at_admin(&django);
    let reply = browser.submit(&format!("/admin/auth/user/{id}/delete/"), &[("post", "yes")]);
    assert_eq!(reply.status, 302, "{reply:?}");

    for token in [&theirs.refresh, &other.refresh, &ours, &revoked] {
        assert_eq!(owner(&django, token), Value::Null);
    }
    assert_eq!(listed(&server, &id), Vec::<String>::new());
    let rows = succeed(&server, &["outstanding", "list", "--format", "json"]).json();
    let known: Vec<_> =
        rows.as_array().expect("a list").iter().map(|row| (row["user"].clone(), row["jti"].clone())).collect();
    assert_eq!(known, [&theirs.refresh, &other.refresh, &ours, &revoked].map(|token| (Value::Null, json!(jti(token)))));

    // Whoever is not found cannot refresh; the token by itself is as good as before.
    let nobody = json!({"detail": "No active account found for the given token."});
    for token in [&theirs.refresh, &ours] {
        refresh(server.client(), token).assert(401, &nobody);
        assert_eq!(verify(server.client(), token).status, 200);
    }
    assert!(lets_in(server.client(), &theirs.access), "a user is not looked up for each request");
    assert!(!lets_in(django.client(), &theirs.access), "Django looks the user up");
    assert_blacklisted(server.client(), &revoked);

    blacklist(server.client(), &theirs.refresh);
    succeed(&server, &["blacklist", &jti(&ours)]);
    blacklist(django.client(), &other.refresh);
    for token in [&theirs.refresh, &ours, &other.refresh] {
        assert_blacklisted(server.client(), token);
        assert!(django.is(&format!("is_blacklisted({:?})", jti(token))));
    }
}

#[test]
fn a_user_whom_django_disables_still_has_the_tokens_here() {
    let django = Project::new().start();
    let server = django.start_simplejwt();
    let id = django.add_user("bob");
    let pair = django.login("bob");
    django.python(&format!("User.objects.filter(pk={id}).update(is_active=False)"));
    assert!(!lets_in(django.client(), &pair.access));
    assert_ne!(refresh(django.client(), &pair.refresh).status, 200);
    assert!(lets_in(server.client(), &pair.access));
    assert_ne!(refresh(server.client(), &pair.refresh).status, 200);
}

#[test]
fn the_built_in_users_of_our_server_pass_for_djangos_of_the_same_id() {
    // Why docs/django.md forbids them on a database of Django's.
    let django = Project::new().start();
    let mut server = django.simplejwt();
    server.change("users", "\"builtin\"");
    succeed(&server, &["migrate"]);
    let server = server.start();
    let id = django.add_user("ada");
    server.add_user("eve", PASSWORD);
    assert_eq!(payload(&server.login("eve").access)["user_id"], id.as_str(), "each side counts for itself");
    let pair = django.login("ada");
    django.python(&format!("User.objects.filter(pk={id}).delete()\nanswer = None"));
    assert_eq!(refresh(server.client(), &pair.refresh).status, 200, "our user of that id is there still");
}

#[test]
fn what_changes_a_user_at_django_counts_here_from_the_next_login_and_refresh_on() {
    let inactive = json!({"detail": "No active account found with the given credentials"});
    let nobody = json!({"detail": "No active account found for the given token."});
    for users in Users::ALL {
        let django = Project::new().users(users).start();
        let server = django.start_simplejwt();
        let id = add_ada(&django, &server);
        let pairs = [server.login("ada"), django.login("ada")];
        let log_in = |password: &str| {
            server.client().post_json("/api/token/", &json!({"username": "ada", "password": password}))
        };

        django.python("User.objects.update(is_active=False)");
        log_in(PASSWORD).assert(401, &inactive);
        for pair in &pairs {
            refresh(server.client(), &pair.refresh).assert(401, &nobody);
        }
        django.python("User.objects.update(is_active=True)");
        let pairs = pairs.map(|pair| refreshed(server.client(), &pair.refresh));

        django.python("user = User.objects.get()\nuser.set_password('another')\nuser.save()");
        log_in(PASSWORD).assert(401, &inactive);
        assert_eq!(payload(&log_in("another").string("access"))["user_id"], id.as_str(), "{users:?}");
        let pairs = pairs.map(|pair| refreshed(server.client(), &pair.refresh));

        django.python("User.objects.get().delete()\nanswer = None");
        log_in("another").assert(401, &inactive);
        for pair in &pairs {
            refresh(server.client(), &pair.refresh).assert(401, &nobody);
        }
    }
}

#[test]
fn a_new_password_ends_the_tokens_of_both_sides_on_both_where_both_check() {
    let django = Project::new().set("CHECK_REVOKE_TOKEN", true).start();
    let mut server = django.simplejwt();
    server.change("check_revoke_token", "true");
    succeed(&server, &["migrate"]);
    let server = server.start();
    add_ada(&django, &server);
    let pairs = [server.login("ada"), django.login("ada")];
    assert_eq!(payload(&pairs[0].access)["hash_password"], payload(&pairs[1].access)["hash_password"]);
    // Each is good on either side, and so is its successor.
    let [first, second] = &pairs;
    let pairs = [refreshed(server.client(), &first.refresh), refreshed(server.client(), &second.refresh)];
    for pair in &pairs {
        assert!(lets_in(django.client(), &pair.access) && lets_in(server.client(), &pair.access));
    }

    django.python("user = User.objects.get()\nuser.set_password('another')\nuser.save()");
    let [ours, theirs] = &pairs;
    for pair in [ours, theirs] {
        assert!(!lets_in(django.client(), &pair.access), "Django reads the user at each request");
        assert!(lets_in(server.client(), &pair.access), "AccessToken reads none");
    }
    let refused = refresh(server.client(), &ours.refresh);
    let said = refused.json()["detail"] == "The user's password has been changed.";
    assert!(refused.status == 401 && said, "{refused:?}");
    assert_blacklisted(django.client(), &ours.refresh);
    assert!(!lets_in(server.client(), &ours.access), "its session is over");
    // Django refreshes it, and copies the claim, so that what it gives is good for nothing on either side.
    let next = refreshed(django.client(), &theirs.refresh);
    assert!(!lets_in(django.client(), &next.access));
    assert_eq!(refresh(server.client(), &next.refresh).json()["detail"], refused.json()["detail"]);
    let again = server.client().post_json("/api/token/", &json!({"username": "ada", "password": "another"}));
    assert!(lets_in(django.client(), &again.string("access")));
}

#[test]
fn a_login_here_is_noted_as_one_at_django() {
    for users in Users::ALL {
        let django = Project::new().users(users).start();
        let mut server = django.simplejwt();
        server.change("update_last_login", "true");
        succeed(&server, &["migrate"]);
        let server = server.start();
        django.add_user("ada");
        django.add_user("bob");
        django.python("start = timezone.now()");
        server.login("ada");
        assert!(django.is("start <= User.objects.get(username='ada').last_login <= timezone.now()"), "{users:?}");
        assert!(django.is("User.objects.get(username='bob').last_login is None"), "{users:?}");
    }
}
