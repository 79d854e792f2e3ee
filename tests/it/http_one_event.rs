//! Whatever is revoked, taken back or changed, and by whichever door, leaves exactly one event, which names what was meant.

use serde_json::json;

use crate::support::admin::{Browser, start};
use crate::support::client::Client;
use crate::support::held::{Held, cli, end_in_list, logout, put_in_list, session};
use crate::support::mint::jti;
use crate::support::server::{PASSWORD, Server};

/// Where it all happens.
struct Site {
    server: Server,
    /// The user `root`, signed in at the admin.
    root: Browser,
}

impl Site {
    fn new() -> Self {
        let server = Server::new()
            .set("own_tokens_routes", "true")
            .set("auth_token_classes", r#"["access", "sliding"]"#)
            .set("check_revoke_token", "true")
            // As many as somebody has who is to lose them: one more is one too many.
            .set("max_sessions_per_user", "3");
        let (server, admin) = start(server);
        Self { server, root: Browser::signed_in(admin, "root") }
    }

    fn client(&self) -> Client {
        self.server.client()
    }

    fn cli(&self, arguments: &[&str]) {
        cli(&self.server, arguments, "");
    }

    /// Sends a form of the admin.
    fn admin(&self, path: &str, fields: &[(&str, &str)]) {
        let reply = self.root.post(&format!("/admin/{path}"), fields);
        let signed_out = reply.header("location").is_some_and(|to| to.contains("sign-in"));
        assert!(reply.status == 303 && !signed_out, "{path}: {reply:?}");
    }

    fn blacklist(&self, refresh: &str) {
        self.client().post_json("/api/token/blacklist/", &json!({ "refresh": refresh })).assert(200, &json!({}));
    }

    /// Presents a refresh token, or a sliding one, and says with which status it was answered.
    fn renew(&self, token: &str) -> (u16, String) {
        let sliding = crate::support::mint::payload(token)["token_type"] == "sliding";
        let (path, field) = if sliding { ("sliding/refresh/", "token") } else { ("refresh/", "refresh") };
        let reply = self.client().post_json(&format!("/api/token/{path}"), &json!({ field: token }));
        let renewed = if reply.status == 200 { reply.string(field) } else { String::new() };
        (reply.status, renewed)
    }

    /// Gives the user another password in the table alone, as another program does that shares it.
    fn change_password_unseen(&self, held: &Held) {
        let other = "SELECT password FROM (SELECT password FROM simplejwt_user WHERE username = 'root') AS another";
        let set = format!("UPDATE simplejwt_user SET password = ({other}) WHERE username = '{}'", held.name);
        self.server.database().execute(&set);
    }
}

fn now() -> String {
    chrono::DateTime::<chrono::Utc>::from(std::time::SystemTime::now()).to_rfc3339()
}

/// The target of the event.
type Of = fn(&Held) -> String;

const PAIR: Of = |held| jti(&held.pair.refresh);
const ACCESS: Of = |held| jti(&held.pair.access);
const SLIDING: Of = |held| jti(&held.sliding);
const SESSION: Of = |held| session(&held.pair.access);
const USER: Of = |held| format!("user:{}", held.id);
const EVERYBODY: Of = |_| "everybody".to_owned();

/// What is done, the event and its target.
type Way = (&'static str, fn(&Site, &Held), &'static str, Of);

/// Those by which something is refused that was not before, and which change nothing when they come once more.
const ONCE: &[Way] = &[
    ("POST /blacklist/", |site, held| site.blacklist(&held.pair.refresh), "blacklist", PAIR),
    (
        "PUT /tokens/",
        |site, held| put_in_list(&site.server, &held.other.access, &held.pair.refresh, true),
        "blacklist",
        PAIR,
    ),
    ("blacklist JTI", |site, held| site.cli(&["blacklist", &jti(&held.pair.refresh)]), "blacklist", PAIR),
    ("blacklist JTI, access", |site, held| site.cli(&["blacklist", &jti(&held.pair.access)]), "blacklist", ACCESS),
    ("blacklist JTI, sliding", |site, held| site.cli(&["blacklist", &jti(&held.sliding)]), "blacklist", SLIDING),
    ("blacklist --token", |site, held| site.cli(&["blacklist", "--token", &held.pair.refresh]), "blacklist", PAIR),
    (
        "blacklist --token, access",
        |site, held| site.cli(&["blacklist", "--token", &held.pair.access]),
        "blacklist",
        ACCESS,
    ),
    (
        "admin: token",
        |site, held| site.admin("token/blacklist", &[("jti", &jti(&held.pair.refresh))]),
        "blacklist",
        PAIR,
    ),
    (
        "another password, refresh",
        |site, held| {
            site.change_password_unseen(held);
            assert_eq!(site.renew(&held.pair.refresh).0, 401);
        },
        "blacklist",
        PAIR,
    ),
    (
        "another password, sliding",
        |site, held| {
            site.change_password_unseen(held);
            assert_eq!(site.renew(&held.sliding).0, 401);
        },
        "blacklist",
        SLIDING,
    ),
    ("logout", |site, held| logout(&site.server, &held.pair.access, "local"), "end_session", SESSION),
    ("logout, refresh", |site, held| logout(&site.server, &held.pair.refresh, "local"), "end_session", SESSION),
    (
        "logout, sliding",
        |site, held| logout(&site.server, &held.sliding, "local"),
        "end_session",
        |held| session(&held.sliding),
    ),
    (
        "DELETE /sessions/",
        |site, held| {
            end_in_list(&site.server, &held.other.access, &session(&held.pair.access));
        },
        "end_session",
        SESSION,
    ),
    ("sessions end", |site, held| site.cli(&["sessions", "end", &session(&held.pair.access)]), "end_session", SESSION),
    (
        "blacklist --session",
        |site, held| site.cli(&["blacklist", "--session", &session(&held.pair.access)]),
        "end_session",
        SESSION,
    ),
    (
        "admin: session",
        |site, held| site.admin("session/end", &[("id", &session(&held.pair.access))]),
        "end_session",
        SESSION,
    ),
];

/// Those that set a new mark each time, or that cannot come once more.
const EACH_TIME: &[Way] = &[
    (
        "a token that was used up and is blacklisted",
        |site, held| {
            assert_eq!(site.renew(&held.pair.refresh).0, 200);
            site.blacklist(&held.pair.refresh);
        },
        "blacklist",
        PAIR,
    ),
    (
        "reuse",
        |site, held| {
            let (status, second) = site.renew(&held.pair.refresh);
            assert_eq!((status, site.renew(&second).0), (200, 200));
            for _ in 0..3 {
                assert_eq!(site.renew(&held.pair.refresh).0, 401, "its successor was used");
            }
            assert_eq!(site.renew(&second).0, 401);
        },
        "reuse",
        PAIR,
    ),
    ("evict_oldest", |site, held| drop(site.server.login(&held.name)), "evict", |held| session(&held.sliding)),
    ("logout of the others", |site, held| logout(&site.server, &held.pair.access, "others"), "end_sessions", USER),
    (
        "sessions end --user --but",
        |site, held| {
            site.cli(&["sessions", "end", "--user", &held.id, "--but", &session(&held.pair.access)]);
        },
        "end_sessions",
        USER,
    ),
    ("logout everywhere", |site, held| logout(&site.server, &held.pair.refresh, "global"), "cut_off", USER),
    ("blacklist --user", |site, held| site.cli(&["blacklist", "--user", &held.id]), "cut_off", USER),
    (
        "blacklist --user --before",
        |site, held| {
            site.cli(&["blacklist", "--user", &held.id, "--before", &now()]);
        },
        "cut_off",
        USER,
    ),
    ("admin: user", |site, held| site.admin("sessions/end", &[("user", &held.id)]), "cut_off", USER),
    ("users passwd", |site, held| cli(&site.server, &["users", "passwd", &held.name], PASSWORD), "set_password", USER),
    ("users disable", |site, held| site.cli(&["users", "disable", &held.name]), "disable_user", USER),
    ("users remove", |site, held| site.cli(&["users", "remove", &held.name, "--yes"]), "remove_user", USER),
    (
        "admin: password",
        |site, held| {
            site.admin("users/password", &[("username", &held.name), ("new_password", PASSWORD)]);
        },
        "set_password",
        USER,
    ),
    (
        "admin: disable",
        |site, held| {
            site.admin("users/active", &[("username", &held.name), ("active", "no")]);
        },
        "disable_user",
        USER,
    ),
    ("blacklist --before", |site, _| site.cli(&["blacklist", "--before", &now(), "--yes"]), "cut_off", EVERYBODY),
    ("blacklist --all", |site, _| site.cli(&["blacklist", "--all", "--yes"]), "cut_off", EVERYBODY),
];

/// What is done first, and the way back.
type Back = (&'static str, fn(&Site, &Held), Way);

/// The ways back.
const BACK: &[Back] = &[
    (
        "blacklist",
        |site, held| site.blacklist(&held.pair.refresh),
        ("unblacklist", |site, held| site.cli(&["unblacklist", &jti(&held.pair.refresh)]), "unblacklist", PAIR),
    ),
    (
        "PUT /tokens/",
        |site, held| put_in_list(&site.server, &held.other.access, &held.pair.refresh, true),
        (
            "PUT /tokens/",
            |site, held| put_in_list(&site.server, &held.other.access, &held.pair.refresh, false),
            "unblacklist",
            PAIR,
        ),
    ),
    (
        "blacklist",
        |site, held| site.blacklist(&held.pair.refresh),
        (
            "admin: token",
            |site, held| site.admin("token/unblacklist", &[("jti", &jti(&held.pair.refresh))]),
            "unblacklist",
            PAIR,
        ),
    ),
    (
        "users disable",
        |site, held| site.cli(&["users", "disable", &held.name]),
        ("users enable", |site, held| site.cli(&["users", "enable", &held.name]), "enable_user", USER),
    ),
];

#[test]
fn every_way_to_revoke_leaves_exactly_one_event() {
    let site = Site::new();
    let newest = || site.server.database().number("SELECT max(id) FROM simplejwt_event");
    let events = |since: i64| {
        let column = |name| format!("SELECT {name} FROM simplejwt_event WHERE id > {since} ORDER BY id");
        let mut database = site.server.database();
        let (actions, targets) = (database.strings(&column("action")), database.strings(&column("target")));
        actions.into_iter().zip(targets).collect::<Vec<_>>()
    };
    let expected = |action: &str, target: String| [(action.to_owned(), target)];
    for &(first, prepare, (name, act, action, of)) in BACK {
        let held = Held::new(&site.server);
        prepare(&site, &held);
        let before = newest();
        act(&site, &held);
        assert_eq!(events(before), expected(action, of(&held)), "{first}, then {name}");
    }
    // Those of everybody come last: they sign `root` out as well.
    for &(name, act, action, of) in ONCE.iter().chain(EACH_TIME) {
        let (held, before) = (Held::new(&site.server), newest());
        act(&site, &held);
        assert_eq!(events(before), expected(action, of(&held)), "{name}");
        if ONCE.iter().any(|once| once.0 == name) {
            act(&site, &held);
            assert_eq!(events(before).len(), 1, "{name}: once more is no news");
        }
    }
}
