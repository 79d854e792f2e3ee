//! The database has stopped, or says nothing any more: whatever somebody asks to revoke, nobody is told that it was done, nor that
//! something was revoked. Attack case 78.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::client::Reply;
use crate::support::database::Kind;
use crate::support::held::{Held, row_of, send, session};
use crate::support::mint::jti;
use crate::support::server::{PASSWORD, Server, run};
use crate::throwaway::{Site, eventually, signal};
use crate::traffic::ANSWER;

/// Within what time a command has to say that it cannot do anything, beside all the others.
const COMMAND: Duration = Duration::from_secs(10);

/// Within what time everything has to work again, on a machine that is busy.
const SOON: Duration = Duration::from_secs(20);

/// A request of one of the users, to whom nobody else's did anything. The last is the path of the user's row of a token.
type Ask = (&'static str, fn(&Server, &Held, &str) -> Reply);

fn post(server: &Server, path: &str, body: &serde_json::Value) -> Reply {
    server.client().post_json(&format!("/api/token/{path}"), body)
}

fn logout(server: &Server, token: &str, scope: &str) -> Reply {
    send(server.client(), "POST", "/api/token/logout/", token, &json!({ "scope": scope }))
}

const ASKS: &[Ask] = &[
    ("login", |server, held, _| post(server, "", &json!({ "username": held.name, "password": PASSWORD }))),
    ("refresh", |server, held, _| post(server, "refresh/", &json!({ "refresh": held.pair.refresh }))),
    ("slide", |server, held, _| post(server, "sliding/refresh/", &json!({ "token": held.sliding }))),
    ("verify", |server, held, _| post(server, "verify/", &json!({ "token": held.pair.refresh }))),
    ("blacklist", |server, held, _| post(server, "blacklist/", &json!({ "refresh": held.pair.refresh }))),
    ("logout", |server, held, _| logout(server, &held.pair.access, "local")),
    ("logout, refresh", |server, held, _| logout(server, &held.pair.refresh, "local")),
    ("logout, sliding", |server, held, _| logout(server, &held.sliding, "local")),
    ("logout of the others", |server, held, _| logout(server, &held.pair.access, "others")),
    ("logout everywhere", |server, held, _| logout(server, &held.pair.access, "global")),
    ("sessions", |server, held, _| server.client().get("/api/token/sessions/", Some(&held.pair.access))),
    ("end of a session", |server, held, _| {
        let path = format!("/api/token/sessions/{}/", session(&held.other.access));
        send(server.client(), "DELETE", &path, &held.pair.access, &json!({}))
    }),
    ("tokens", |server, held, _| server.client().get("/api/token/tokens/", Some(&held.pair.access))),
    ("token in the list", |server, held, row| {
        send(server.client(), "PUT", row, &held.pair.access, &json!({ "revoke": true }))
    }),
    ("token in the list, back", |server, held, row| {
        send(server.client(), "PUT", row, &held.pair.access, &json!({ "revoke": false }))
    }),
];

/// What asks for a revocation on the command line.
fn commands(held: &Held) -> Vec<Vec<String>> {
    let (token, login) = (jti(&held.pair.refresh), session(&held.pair.access));
    let commands: [&[&str]; 9] = [
        &["blacklist", &token],
        &["blacklist", "a-jti-that-nobody-knows"],
        &["blacklist", "--user", &held.id],
        &["blacklist", "--all", "--yes"],
        &["blacklist", "--before", "2026-01-01T00:00:00Z", "--yes"],
        &["sessions", "end", &login],
        &["sessions", "end", "--user", &held.id, "--but", &login],
        &["users", "disable", &held.name],
        &["users", "remove", &held.name, "--yes"],
    ];
    commands.map(|words| words.iter().map(|&word| word.to_owned()).collect()).into()
}

/// Whether a process has ended, though its parent may not know it yet.
fn is_gone(pid: u32) -> bool {
    let state = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    state.map_or(true, |state| state.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z')))
}

fn nobody_is_told_that_anything_was_revoked(kind: Kind) {
    for blacklist in [r#""cached""#, r#""database""#] {
        let site = Site::new(kind).set("own_tokens_routes", "true").set("blacklist", blacklist);
        let site = site.set("auth_token_classes", r#"["access", "sliding"]"#).started();
        asked_in_vain(site, blacklist);
    }
}

fn asked_in_vain(mut site: Site, blacklist: &str) {
    for stops in [true, false] {
        let case = format!("{blacklist}, {}", if stops { "stopped" } else { "frozen" });
        let users: Vec<_> = ASKS.iter().map(|_| Held::new(&site.server)).collect();
        let row = |held: &Held| {
            format!("/api/token/tokens/{}/", row_of(&site.server, &held.pair.access, &held.other.refresh))
        };
        let rows: Vec<_> = users.iter().map(row).collect();
        let operators = Held::new(&site.server);
        if stops {
            let processes = site.host.processes();
            signal(processes[0], "KILL");
            // What is asked while they die may be done, or half done.
            eventually(SOON, || processes.iter().all(|pid| is_gone(*pid)));
        } else {
            site.host.freeze();
        }
        thread::scope(|scope| {
            let (site, case) = (&site, &case);
            for (((name, ask), held), row) in ASKS.iter().zip(&users).zip(&rows) {
                scope.spawn(move || {
                    let asked = Instant::now();
                    let reply = ask(&site.server, held, row);
                    assert_eq!(reply.status, 503, "{case}, {name}: {reply:?}");
                    assert!(reply.header("retry-after").is_some(), "{case}, {name}: {reply:?}");
                    assert!(asked.elapsed() < ANSWER, "{case}, {name}: took {:?}", asked.elapsed());
                    site.assert_silent(&reply.text);
                });
            }
            for command in commands(&operators) {
                scope.spawn(move || {
                    // Nobody waits until the server knows of it: it will not.
                    let mut alone = site.server.command();
                    alone.args(&command);
                    let asked = Instant::now();
                    let output = run(alone, "");
                    site.assert_silent(&output.stderr);
                    assert_eq!((output.code(), output.stdout.as_str()), (75, ""), "{case}, {command:?}: {output:?}");
                    assert!(asked.elapsed() < COMMAND, "{case}, {command:?}: took {:?}", asked.elapsed());
                });
            }
        });
        if stops {
            site.host.kill_and_restart();
        } else {
            site.host.thaw();
        }
        // A connection that breaks under a question leaves whoever was asked uncertain, who refuses the token from then on. Whether it
        // was done can be told by a process that was not asked.
        let not_asked = stops.then(|| site.server.sibling());
        let knows = not_asked.as_ref().unwrap_or(&site.server);
        for ((name, ask), held) in ASKS.iter().zip(&users) {
            let verify = |token: &str| post(knows, "verify/", &json!({ "token": token })).status;
            for token in [&held.pair.access, &held.pair.refresh, &held.sliding, &held.other.access] {
                // A connection that broke may cost one more request its answer.
                let mut status = 503;
                eventually(SOON, || {
                    status = verify(token);
                    status != 503
                });
                // Nobody heard of it where the server was gone, so it was not done.
                assert!(status == 200 || !stops, "{case}, {name}: {status}");
            }
            if *name == "logout everywhere" {
                // Asking again makes it certain.
                let again = ask(&site.server, held, "");
                assert!([204, 401].contains(&again.status), "{case}: {again:?}");
                eventually(SOON, || verify(&held.pair.access) == 401 && verify(&held.other.access) == 401);
            }
        }
    }
}

on_both!(nobody_is_told_that_anything_was_revoked);
