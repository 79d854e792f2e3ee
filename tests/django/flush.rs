//! Two flushes on the same rows. What makes a token refused outlives ours, whichever ran before; Django's forgets at
//! `expires_at`, and the tests say what of that we cannot mend.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::django::{Django, Project, succeed};
use crate::steps::{add_ada, assert_blacklisted, blacklist, lets_in, refresh, verify};
use crate::support::mint::{Claims, claims, jti, payload};
use crate::support::now;
use crate::support::server::{PASSWORD, Server};

const DAY: i64 = 86_400;

/// Our flush; returns its report.
#[track_caller]
fn flush(server: &Server) -> Value {
    succeed(server, &["--format", "json", "flushexpiredtokens"]).json()
}

/// Django's.
#[track_caller]
fn django_flush(django: &Django) {
    let output = django.manage(&["flushexpiredtokens"]);
    assert_eq!((output.code(), output.stdout.as_str()), (0, ""), "{output:?}");
}

/// Waits for an instant, which is near.
fn wait_until(unix_seconds: i64) {
    let start = Instant::now();
    while now() < unix_seconds {
        assert!(start.elapsed() < Duration::from_secs(10), "the instant is not near");
        thread::sleep(Duration::from_millis(20));
    }
}

/// A refresh token as Django would have issued and recorded it some time ago.
fn recorded(django: &Django, expires_in: i64) -> Claims {
    let token = claims("refresh").with("iat", now() - 10).with("exp", now() + expires_in);
    django.python(&format!(
        "record({:?}, at({}), at({}))\nanswer = None",
        token.jti(),
        now() + expires_in,
        now() - 2 * DAY
    ));
    token
}

#[test]
fn both_flushes_delete_the_same_rows_in_either_order() {
    for ours_first in [true, false] {
        let django = Project::new().start();
        let server = django.simplejwt();
        succeed(&server, &["migrate"]);
        let old: Vec<_> = (0..4).map(|_| recorded(&django, -3600)).collect();
        let live: Vec<_> = (0..4).map(|_| recorded(&django, 3600)).collect();
        for token in [&old[0], &old[1], &live[0], &live[1]] {
            django.python(&format!("blacklist({:?})", token.jti()));
        }
        let mut expected: Vec<_> = live.iter().map(|token| token.jti().to_owned()).collect();
        expected.sort();
        let steps: [&dyn Fn(); 2] = [&|| drop(flush(&server)), &|| django_flush(&django)];
        for step in if ours_first { [0, 1] } else { [1, 0] } {
            steps[step]();
            assert_eq!(django.python("jtis()"), json!(expected), "ours first: {ours_first}");
            assert_eq!(django.python("BlacklistedToken.objects.count()"), 2);
        }
    }
}

#[test]
fn what_is_blacklisted_here_stays_refused_here_when_django_flushes_within_the_leeway() {
    for kind in ["database", "cached"] {
        django_flushes_within_the_leeway(kind);
    }
}

#[track_caller]
fn django_flushes_within_the_leeway(kind: &str) {
    let django = Project::new().set("LEEWAY", 60).start();
    let mut server = django.simplejwt();
    server.change("leeway", "60");
    server.change("blacklist", &format!("{kind:?}"));
    succeed(&server, &["migrate"]);
    let server = server.start();
    add_ada(&django, &server);
    let [by_us, by_django] = [recorded(&django, 1), recorded(&django, 1)];
    blacklist(server.client(), &by_us.sign());
    blacklist(django.client(), &by_django.sign());
    server.settle();
    wait_until(by_django.get("exp").as_i64().expect("an exp") + 1);

    // Within the leeway a token is good if nothing else is against it.
    let good = claims("refresh").with("exp", now() - 1).sign();
    assert_eq!(verify(django.client(), &good).status, 200);
    flush(&server);
    for token in [&by_us, &by_django] {
        for client in [django.client(), server.client()] {
            assert_blacklisted(client, &token.sign());
        }
    }

    django_flush(&django);
    server.settle();
    assert_eq!(django.python("OutstandingToken.objects.filter(expires_at__lte=timezone.now()).count()"), 0);
    assert_blacklisted(server.client(), &by_us.sign());
    flush(&server);
    assert_blacklisted(server.client(), &by_us.sign());
    // Django's own flush makes Django forget, and of what it alone had blacklisted nobody else knows.
    assert_eq!(verify(django.client(), &by_us.sign()).status, 200);
    assert_eq!(verify(django.client(), &by_django.sign()).status, 200);
    assert_ne!(refresh(server.client(), &by_django.sign()).status, 200, "unknown by now, so refused all the same");
}

#[test]
fn a_sliding_token_that_is_blacklisted_here_outlives_both_flushes() {
    let classes = json!(["rest_framework_simplejwt.tokens.SlidingToken"]);
    let django = Project::new().set("AUTH_TOKEN_CLASSES", classes).set("SLIDING_TOKEN_LIFETIME", 6).start();
    let mut server = django.simplejwt();
    server.change("auth_token_classes", "[\"sliding\"]");
    server.change("sliding_token_lifetime", "\"6s\"");
    succeed(&server, &["migrate"]);
    let server = server.start();
    add_ada(&django, &server);

    let login = |client: crate::support::client::Client| {
        let reply = client.post_json("/api/token/sliding/", &json!({"username": "ada", "password": PASSWORD}));
        assert_eq!(reply.status, 200, "{reply:?}");
        reply.string("token")
    };
    let renew = |client: crate::support::client::Client, token: &str| {
        client.post_json("/api/token/sliding/refresh/", &json!({ "token": token }))
    };
    let [ours, theirs, by_django] = [login(server.client()), login(django.client()), login(django.client())];
    let exp = payload(&by_django)["exp"].as_i64().expect("an exp");
    wait_until(exp - 5);
    // Renewed, so that they outlive the exp with which Django recorded its own.
    let [ours, theirs, by_django] = [&ours, &theirs, &by_django].map(|token| {
        let reply = renew(django.client(), token);
        assert_eq!(reply.status, 200, "{reply:?}");
        reply.string("token")
    });
    succeed(&server, &["blacklist", &jti(&ours), &jti(&theirs)]);
    django.python(&format!("blacklist({:?})", jti(&by_django)));
    for token in [&ours, &theirs, &by_django] {
        for client in [django.client(), server.client()] {
            renew(client, token).assert_not_valid("Token is blacklisted");
        }
    }

    // Ours knows that the token may live longer than its row says.
    wait_until(exp + 1);
    flush(&server);
    for token in [&ours, &theirs, &by_django] {
        assert!(django.is(&format!("is_blacklisted({:?})", jti(token))), "kept by our flush");
    }
    // Django's does not. What was issued here has a row that says so; what was blacklisted here is refused here in any case.
    django_flush(&django);
    assert!(django.is(&format!("is_blacklisted({:?})", jti(&ours))), "its row says when the last renewal ends");
    for token in [&theirs, &by_django] {
        assert!(!django.is(&format!("is_blacklisted({:?})", jti(token))), "deleted at the first exp");
    }
    flush(&server);
    assert!(succeed(&server, &["outstanding", "show", &jti(&ours)]).success());
    assert_eq!(server.cli(&["check", &jti(&theirs)]).code(), 1, "refused, though Django forgot it");
    assert_eq!(server.cli(&["check", &jti(&ours)]).code(), 1);
}

#[test]
fn our_flush_beside_a_django_that_writes_loses_nothing_and_stops_nobody() {
    let django = Project::new().start();
    let server = django.simplejwt();
    succeed(&server, &["migrate"]);
    django.python(
        "import threading, random\n\
         from django.db import IntegrityError, OperationalError\n\
         live, faults, stop, backends = [], [], threading.Event(), set()\n\
         def work(number):\n\
        \x20   from django.db import connection\n\
        \x20   round = 0\n\
        \x20   try:\n\
        \x20       if connection.vendor == 'postgresql':\n\
        \x20           backends.add(str(sql('SELECT pg_backend_pid()')[0][0]))\n\
        \x20       while not stop.is_set():\n\
        \x20           round += 1\n\
        \x20           name = f'{number}-{round}'\n\
        \x20           record(f'old-{name}', at(1_000_000_000), at(1_000_000_000))\n\
        \x20           record(f'dead-{name}', at(1_000_000_000), at(1_000_000_000))\n\
        \x20           record(f'live-{name}', timezone.now() + datetime.timedelta(hours=1))\n\
        \x20           live.append(f'live-{name}')\n\
        \x20           if round % 2:\n\
        \x20               blacklist(f'live-{name}')\n\
        \x20           try:\n\
        \x20               blacklist(f'dead-{name}')\n\
        \x20           except (IntegrityError, OutstandingToken.DoesNotExist):\n\
        \x20               pass  # flushed before it was blacklisted, as by Django's own flush\n\
        \x20           if round % 10 == 0:\n\
        \x20               try:\n\
        \x20                   call_command('flushexpiredtokens')\n\
        \x20               except IntegrityError:\n\
        \x20                   pass  # a row that it deletes was blacklisted meanwhile, by another of these threads\n\
        \x20               except OperationalError as error:\n\
        \x20                   # MariaDB ends one of those that delete the same rows, all at once as Django does.\n\
        \x20                   # On PostgreSQL Django may be in its own way, but never in ours.\n\
        \x20                   in_the_way = set(re.findall(r'rocess (\\d+)', str(error)))\n\
        \x20                   if error.args[0] != 1213 and not (in_the_way and in_the_way <= backends):\n\
        \x20                       raise\n\
        \x20   except Exception:\n\
        \x20       faults.append(traceback.format_exc())\n\
        \x20   finally:\n\
        \x20       connection.close()\n\
         threads = [threading.Thread(target=work, args=[number]) for number in range(3)]\n\
         for thread in threads:\n\
        \x20   thread.start()",
    );
    let start = Instant::now();
    let mut flushes = 0;
    while flushes < 10 || django.python("len(live)").as_u64() < Some(60) {
        assert!(start.elapsed() < Duration::from_secs(60), "too slow\n{}", django.python("faults"));
        flush(&server);
        flushes += 1;
    }
    let faults = django.python("stop.set()\nfor thread in threads:\n    thread.join()\nanswer = faults");
    assert_eq!(faults, json!([]));
    flush(&server);
    assert_eq!(django.python("jtis() == sorted(live)"), true, "the live ones, and no other");
    let listed = "[f'live-{n}-{r}' for n, r in (jti.split('-')[1:] for jti in live) if int(r) % 2]";
    assert_eq!(django.python(&format!("all(is_blacklisted(jti) for jti in {listed})")), true);
    assert_eq!(django.python(&format!("BlacklistedToken.objects.count() == len({listed})")), true);
}

#[test]
fn after_djangos_flush_ours_still_knows_what_was_replaced_and_forgets_it_in_time() {
    let django = Project::new().set("LEEWAY", 60).start();
    let mut server = django.simplejwt();
    server.change("leeway", "60");
    succeed(&server, &["migrate"]);
    let server = server.start();
    add_ada(&django, &server);
    let issued = succeed(&server, &["issue", "--user", "1", "--kind", "refresh", "--lifetime", "2s"]);
    let first = issued.stdout.trim();
    let second = crate::steps::refreshed(server.client(), first);
    wait_until(payload(first)["exp"].as_i64().expect("an exp") + 1);
    django_flush(&django);
    assert!(!django.python("jtis()").as_array().expect("a list").contains(&json!(jti(first))), "deleted by Django");
    flush(&server);
    crate::steps::assert_replaced(server.client(), first);
    // The login goes on.
    assert!(lets_in(server.client(), &second.access));
    crate::steps::refreshed(server.client(), &second.refresh);
}
