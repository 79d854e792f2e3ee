//! Our admin beside Django's: it lets in whom Django's lets in, for what Django's permissions say.

use crate::django::{Django, Project, Users, succeed};
use crate::steps::assert_blacklisted;
use crate::support::admin::{self, Browser};
use crate::support::client::{Client, Reply};
use crate::support::mint::jti;
use crate::support::server::{PASSWORD, Server};

/// A server of ours with the admin on the database of this project.
fn start(django: &Django) -> (Server, Client) {
    let server = django.simplejwt().set("admin_address", "\"127.0.0.1:0\"");
    succeed(&server, &["migrate"]);
    let server = server.start();
    let client = admin::address(&server);
    (server, client)
}

/// Adds a user with these fields and these permissions for simplejwt's tables.
fn add(django: &Django, name: &str, fields: &str, permissions: &[&str]) {
    django.python(&format!("create_user({name:?}, {PASSWORD:?}, {fields})"));
    grant(django, &format!("User.objects.get(username={name:?}).user_permissions"), permissions);
}

/// Sets the permissions for simplejwt's tables that a user or a group has.
fn grant(django: &Django, whose: &str, permissions: &[&str]) {
    django.python(&format!(
        "from django.contrib.auth.models import Group, Permission\n\
         {whose}.set(Permission.objects.filter(content_type__app_label='token_blacklist', codename__in={permissions:?}))"
    ));
}

const VIEW: [&str; 2] = ["view_outstandingtoken", "view_blacklistedtoken"];
const CHANGE: [&str; 2] = ["add_blacklistedtoken", "delete_blacklistedtoken"];

fn try_sign_in(client: Client, name: &str) -> u16 {
    Browser::new(client).try_sign_in(name, PASSWORD).status
}

fn revoke(browser: &Browser, token: &str) -> Reply {
    browser.post("/admin/token/blacklist", &[("jti", &jti(token)), ("reason", "lost laptop")])
}

/// Fails unless whoever it is may look at this token, and not blacklist it.
#[track_caller]
fn assert_looks_only(browser: &Browser, token: &str) {
    let page = browser.get(&format!("/admin/token?jti={}", jti(token)));
    assert!(page.status == 200 && page.text.contains("view only"), "{page:?}");
    // Django's own admin has them.
    assert!(!page.text.contains("href=\"/admin/users\"") && page.text.contains("href=\"/admin/events\""), "{page:?}");
    let refused = revoke(browser, token);
    assert!(refused.status == 403 && refused.text.contains("data-code=\"forbidden\""), "{refused:?}");
}

#[test]
fn a_superuser_of_django_changes_what_there_is_and_whoever_may_only_view_looks() {
    for users in Users::ALL {
        let django = Project::new().users(users).start();
        let (_server, client) = start(&django);
        django.add_user("ada");
        django.text(&format!("create_superuser('root', {PASSWORD:?})"));
        add(&django, "eva", "is_staff=True", &VIEW);
        let pair = django.login("ada");

        assert_looks_only(&Browser::signed_in(client, "eva"), &pair.refresh);
        assert!(!django.is(&format!("is_blacklisted({:?})", jti(&pair.refresh))), "{users:?}");
        let done = revoke(&Browser::signed_in(client, "root"), &pair.refresh);
        assert_eq!(done.status, 303, "{users:?}: {done:?}");
        assert_blacklisted(django.client(), &pair.refresh);
    }
}

#[test]
fn permissions_may_come_from_a_group_and_both_are_needed() {
    let django = Project::new().start();
    let (_server, client) = start(&django);
    django.add_user("ada");
    let pair = django.login("ada");
    for name in ["eva", "bob"] {
        add(&django, name, "is_staff=True", &[]);
    }
    let groups = "User.objects.get(username='eva').groups.add(Group.objects.create(name='operators'))";
    django.python(&format!("from django.contrib.auth.models import Group\n{groups}\nanswer = None"));
    assert_eq!(try_sign_in(client, "eva"), 403);
    grant(&django, "Group.objects.get().permissions", &VIEW);
    let eva = Browser::signed_in(client, "eva");
    assert_looks_only(&eva, &pair.refresh);
    // What a group may, nobody else may.
    assert_eq!(try_sign_in(client, "bob"), 403);
    grant(&django, "Group.objects.get().permissions", &[VIEW[0], VIEW[1], CHANGE[0]]);
    assert_looks_only(&eva, &pair.refresh);
    // The other half is the user's own.
    grant(&django, "User.objects.get(username='eva').user_permissions", &CHANGE[1..]);
    assert_eq!(revoke(&eva, &pair.refresh).status, 303, "without another sign-in");
    assert_blacklisted(django.client(), &pair.refresh);
}

#[test]
fn nobody_else_gets_in() {
    let django = Project::new().start();
    let (_server, client) = start(&django);
    add(&django, "nobody", "is_staff=False", &[]);
    add(&django, "clerk", "is_staff=True", &[]);
    add(&django, "half", "is_staff=True", &VIEW[..1]);
    add(&django, "permitted", "is_staff=False", &[VIEW[0], VIEW[1], CHANGE[0], CHANGE[1]]);
    add(&django, "super", "is_staff=False, is_superuser=True", &[]);
    add(&django, "gone", "is_staff=True, is_superuser=True, is_active=False", &[]);
    for name in ["nobody", "clerk", "half", "permitted", "super", "gone"] {
        assert_eq!(try_sign_in(client, name), 403, "{name}");
    }
}

#[test]
fn whoever_loses_the_right_at_django_is_out_with_the_next_request() {
    let django = Project::new().start();
    let (_server, client) = start(&django);
    django.add_user("ada");
    let pair = django.login("ada");
    for (number, change) in
        ["user.is_staff = False", "user.is_active = False", "user.is_superuser = False", "user.set_password('another')"]
            .into_iter()
            .enumerate()
    {
        let name = format!("root{number}");
        django.text(&format!("create_superuser({name:?}, {PASSWORD:?})"));
        let browser = Browser::signed_in(client, &name);
        assert_eq!(browser.get("/admin/tokens").status, 200);
        django.python(&format!("user = User.objects.get(username={name:?})\n{change}\nuser.save()"));
        let page = browser.get("/admin/tokens");
        assert_eq!((page.status, page.header("location")), (303, Some("/admin/sign-in")), "{change}");
        let refused = revoke(&browser, &pair.refresh);
        assert_eq!((refused.status, refused.header("location")), (303, Some("/admin/sign-in")), "{change}");
        assert_eq!(try_sign_in(client, &name), 403, "{change}");
    }
    assert!(!django.is(&format!("is_blacklisted({:?})", jti(&pair.refresh))));
}
