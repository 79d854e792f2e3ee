//! Processes that are killed (`kill -9`) at any moment, many times: what was acknowledged stands, and nothing is half done.

use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::attack::{Random, attempt};
use crate::support::database::{BLACKLISTED, Database, OUTSTANDING, instant};
use crate::support::mint::{Claims, claims, jti};
use crate::support::now;
use crate::support::server::Server;

const BLACKLIST: &str = "/api/token/blacklist/";
const REFRESH: &str = "/api/token/refresh/";

/// Fails unless the database is sound and nothing in it is half done.
#[track_caller]
fn sound(database: &mut Database) {
    database.assert_sound();
    // A rotation is one thing: who was superseded has a successor that is recorded, and is refused by Django as well.
    let superseded = "simplejwt_token t WHERE t.superseded_at IS NOT NULL";
    let successor = format!("{superseded} AND NOT EXISTS (SELECT 1 FROM {OUTSTANDING} o WHERE o.jti = t.successor)");
    assert_eq!(database.count(&successor), 0, "a successor was lost");
    let row = format!("SELECT 1 FROM {OUTSTANDING} o JOIN {BLACKLISTED} b ON b.token_id = o.id WHERE o.jti = t.jti");
    assert_eq!(database.count(&format!("{superseded} AND NOT EXISTS ({row})")), 0, "superseded, but not blacklisted");
}

/// Refresh tokens that are recorded, and have never been used.
fn recorded(database: &mut Database, count: usize) -> Vec<Claims> {
    let tokens: Vec<Claims> =
        (0..count).map(|_| claims("refresh").without("user_id").with("exp", now() + 3600)).collect();
    database.begin();
    for token in &tokens {
        database.record_row(token.jti(), now() + 3600, "NULL");
    }
    database.execute("COMMIT");
    tokens
}

/// Kills the server when it has given so many of the answers that `answers` counts, or a moment later: in the midst of them,
/// however slow this machine is.
fn kill_amid(server: &mut Server, random: &mut Random, answers: &AtomicU64, so_many: u64) {
    let (last, end) = (random.below(so_many), Instant::now() + Duration::from_secs(60));
    while answers.load(Ordering::Relaxed) < last && Instant::now() < end {
        thread::sleep(Duration::from_micros(100));
    }
    if random.below(2) == 0 {
        thread::sleep(Duration::from_micros(random.below(10_000)));
    }
    server.kill9();
}

#[test]
fn an_acknowledged_revocation_survives_every_kill() {
    let mut server = Server::new().start();
    let mut random = Random(20_261_121);
    let (mut acknowledged, mut unanswered) = (Vec::new(), 0);
    for round in 0..30 {
        let answers = AtomicU64::new(0);
        let tokens = recorded(&mut server.database(), 60);
        let (port, queue, outcomes) = (server.port(), Mutex::new(tokens.iter()), Mutex::new(Vec::new()));
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    loop {
                        let next = queue.lock().expect("a lock").next();
                        let Some(token) = next else { break };
                        let answer = attempt(port, BLACKLIST, &json!({"refresh": token.sign()}));
                        answers.fetch_add(1, Ordering::Relaxed);
                        outcomes.lock().expect("a lock").push((token, answer.map(|(status, _)| status)));
                    }
                });
            }
            kill_amid(&mut server, &mut random, &answers, 40);
        });
        let mut database = server.database();
        sound(&mut database);
        for (token, status) in outcomes.into_inner().expect("a lock") {
            match status {
                Some(200) => {
                    assert!(database.is_blacklisted(token.jti()), "round {round}: forgotten");
                    acknowledged.push(token.clone());
                }
                Some(status) => assert_eq!(status, 503, "round {round}"),
                None => unanswered += 1,
            }
        }
        server.restart();
        for token in acknowledged.iter().rev().take(10) {
            let (status, body) = attempt(server.port(), REFRESH, &json!({"refresh": token.sign()})).expect("an answer");
            assert_eq!((status, &body["detail"]), (401, &json!("Token is blacklisted")), "round {round}");
        }
    }
    for token in &acknowledged {
        let (status, _) = attempt(server.port(), REFRESH, &json!({"refresh": token.sign()})).expect("an answer");
        assert_eq!(status, 401, "at the end");
    }
    assert!(acknowledged.len() > 30 && unanswered > 10, "{} acknowledged, {unanswered} not", acknowledged.len());
}

#[test]
fn no_token_is_rotated_twice_whoever_is_killed() {
    // Whoever lost the answer gets it again, however slow this machine is.
    let mut server = Server::new().set("rotation_grace", "\"300s\"").start_with_ada();
    let mut random = Random(4711);
    let mut rotated = 0;
    for round in 0..24 {
        let mut tokens: Vec<String> = recorded(&mut server.database(), 24).iter().map(Claims::sign).collect();
        if round % 6 == 0 {
            tokens.push(server.login("ada").refresh);
        }
        let (port, won, answers) = (server.port(), Mutex::new(Vec::new()), AtomicU64::new(0));
        thread::scope(|scope| {
            for start in 0..4 {
                let (tokens, won, answers) = (&tokens, &won, &answers);
                scope.spawn(move || {
                    for index in 0..tokens.len() {
                        // Two by two they ask for the same token at once.
                        let index = (index + start / 2 * 12) % tokens.len();
                        let answer = attempt(port, REFRESH, &json!({"refresh": tokens[index]}));
                        answers.fetch_add(1, Ordering::Relaxed);
                        match answer {
                            Some((200, body)) => won.lock().expect("a lock").push((index, body)),
                            Some((status, body)) => assert!(matches!(status, 401 | 503), "{status} {body}"),
                            None => {}
                        }
                    }
                });
            }
            kill_amid(&mut server, &mut random, &answers, 60);
        });
        sound(&mut server.database());
        server.restart();
        let port = server.port();
        let won: Vec<(usize, Value)> = won.into_inner().expect("a lock");
        rotated += won.len();
        for (index, body) in &won {
            let successor = body["refresh"].as_str().expect("a successor");
            let others = won.iter().filter(|(other, _)| other == index);
            let same = |(_, body): &(usize, Value)| jti(body["refresh"].as_str().expect("one")) == jti(successor);
            assert!(others.clone().all(same), "round {round}: two successors");
            let next = attempt(port, REFRESH, &json!({ "refresh": successor })).map(|(status, _)| status);
            assert_eq!(next, Some(200), "round {round}: an acknowledged successor is no good");
        }
        for (index, _) in &won {
            let again = attempt(port, REFRESH, &json!({"refresh": tokens[*index]})).map(|(status, _)| status);
            assert_eq!(again, Some(401), "round {round}: a token was rotated a second time");
        }
        // Who got no answer may try again, and whether that succeeds is decided once and for all.
        for index in (0..tokens.len()).filter(|index| !won.iter().any(|(other, _)| other == index)) {
            let results: Vec<String> = (0..2)
                .map(|_| {
                    let (status, body) = attempt(port, REFRESH, &json!({"refresh": tokens[index]})).expect("an answer");
                    assert_eq!(status, 200, "round {round}: {body}");
                    jti(body["refresh"].as_str().expect("a successor"))
                })
                .collect();
            assert_eq!(results[0], results[1], "round {round}: whoever lost the answer gets the same again");
            let superseded =
                format!("simplejwt_token WHERE jti = '{}' AND superseded_at IS NOT NULL", jti(&tokens[index]));
            assert_eq!(server.database().count(&superseded), 1, "round {round}: refused for another reason");
        }
        sound(&mut server.database());
    }
    assert!(rotated > 24, "only {rotated} rotations were acknowledged");
}

#[test]
fn a_session_that_ends_by_reuse_ends_whole_or_not_at_all_whoever_is_killed() {
    const SESSIONS: usize = 20;
    let mut server = Server::new().set("rotation_grace", "\"0s\"").start_with_ada();
    let mut random = Random(70);
    let (mut ended, mut open) = (0, 0);
    for round in 0..12 {
        // Logging in takes longest: the ledger is told of these by hand.
        let firsts: Vec<Claims> = (0..SESSIONS)
            .map(|_| claims("refresh").without("user_id").with("sid", uuid::Uuid::now_v7().to_string()))
            .collect();
        let mut database = server.database();
        for first in &firsts {
            database.record_row(first.jti(), now() + 3600, "NULL");
        }
        let families: Vec<(String, String, String)> = firsts
            .iter()
            .map(|claims| {
                let first = claims.sign();
                let reply = server.client().post_json(REFRESH, &json!({ "refresh": first }));
                assert_eq!(reply.status, 200, "{reply:?}");
                let sid = claims.get("sid").as_str().expect("a session").to_owned();
                (sid, first, reply.string("refresh"))
            })
            .collect();
        let (port, queue, answers) = (server.port(), Mutex::new(families.iter()), AtomicU64::new(0));
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    loop {
                        let next = queue.lock().expect("a lock").next();
                        let Some((_, first, _)) = next else { break };
                        let answer = attempt(port, REFRESH, &json!({ "refresh": first })).map(|(status, _)| status);
                        answers.fetch_add(1, Ordering::Relaxed);
                        assert!(matches!(answer, None | Some(401 | 503)), "{answer:?}");
                    }
                });
            }
            kill_amid(&mut server, &mut random, &answers, SESSIONS as u64 / 2);
        });
        sound(&mut database);
        for (sid, first, second) in &families {
            let over = database.count(&format!("simplejwt_session WHERE id = '{sid}' AND ended_at IS NOT NULL"));
            let events = format!("simplejwt_event WHERE target = '{}' AND action = 'reuse'", jti(first));
            let all = [over, database.count(&events), i64::from(database.is_blacklisted(&jti(second)))];
            assert!(all == [0; 3] || all == [1; 3], "round {round}: half ended: {all:?}");
            if over == 1 { ended += 1 } else { open += 1 }
        }
        server.restart();
        for (_, first, second) in &families {
            for token in [first, second] {
                let (status, body) = attempt(server.port(), REFRESH, &json!({ "refresh": token })).expect("an answer");
                assert_eq!((status, &body["detail"]), (401, &json!("Token is blacklisted")), "round {round}");
            }
        }
    }
    assert!(ended > 20 && open > 20, "{ended} ended, {open} not");
}

/// Starts a command whose output nobody reads.
fn spawn(server: &Server, arguments: &[&str]) -> std::process::Child {
    let mut command: Command = server.command();
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("start a command")
}

#[test]
fn a_command_that_is_killed_blacklists_all_or_nothing() {
    let server = Server::new();
    assert!(server.cli(&["migrate"]).success());
    let mut random = Random(99);
    let list = |round: usize| -> Vec<String> { (0..20).map(|index| format!("round-{round}-token-{index}")).collect() };
    let run = |jtis: &[String]| -> Vec<String> {
        ["blacklist", "--reason", "crash"].into_iter().map(Into::into).chain(jtis.iter().cloned()).collect()
    };
    let start = Instant::now();
    let first = run(&list(1000));
    assert!(server.cli(&first.iter().map(String::as_str).collect::<Vec<_>>()).success());
    let whole = u64::try_from(start.elapsed().as_micros()).expect("not long");
    let (mut killed, mut done) = (0, 0);
    for round in 0..40 {
        let jtis = list(round);
        let arguments = run(&jtis);
        let mut child = spawn(&server, &arguments.iter().map(String::as_str).collect::<Vec<_>>());
        // Most of the time goes before the transaction; the last third is where the writing is.
        thread::sleep(Duration::from_micros(whole / 3 + random.below(whole * 5 / 6)));
        drop(child.kill());
        let status = child.wait().expect("the end of a command");
        let mut database = server.database();
        sound(&mut database);
        let (mut there, mut audited);
        // A server may be committing for whoever was killed when the word had been sent.
        let end = Instant::now() + Duration::from_secs(5);
        loop {
            let tokens = format!("o.jti LIKE 'round-{round}-token-%'");
            there =
                database.count(&format!("{BLACKLISTED} b JOIN {OUTSTANDING} o ON o.id = b.token_id WHERE {tokens}"));
            audited = database.count(&format!("simplejwt_event WHERE target LIKE 'round-{round}-token-%'"));
            if there == audited || Instant::now() > end {
                break;
            }
        }
        if status.success() {
            assert_eq!(there, 20, "round {round}: acknowledged and forgotten");
            done += 1;
        } else {
            assert!(there == 0 || there == 20, "round {round}: {there} of 20");
            killed += 1;
        }
        assert_eq!(audited, there, "round {round}: the audit differs");
    }
    assert!(killed > 0, "none of {done} commands was killed in time");
}

#[test]
fn a_flush_that_is_killed_has_deleted_nothing_too_much() {
    let server = Server::new();
    assert!(server.cli(&["migrate"]).success());
    let mut database = server.database();
    let fill = |database: &mut Database, name: &str, count: usize, expires_at: i64| {
        let (created, expires) = (instant(expires_at - 86_400), instant(expires_at));
        database.execute(&format!(
            "INSERT INTO {OUTSTANDING} (token, created_at, expires_at, user_id, jti) \
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) \
             SELECT '', '{created}', '{expires}', NULL, concat('{name}-', i) FROM n"
        ));
        database.execute(&format!(
            "INSERT INTO {BLACKLISTED} (blacklisted_at, token_id) \
             SELECT '{created}', id FROM {OUTSTANDING} WHERE jti LIKE '{name}-%' AND id % 2 = 0"
        ));
    };
    fill(&mut database, "live", 500, now() + 3600);
    // A flush believes the clock as far as the ledger has seen it: this row is as new as now.
    database.record_row("now", now() + 60, "NULL");
    let live = format!("{BLACKLISTED} b JOIN {OUTSTANDING} o ON o.id = b.token_id WHERE o.jti LIKE 'live-%'");
    let before = database.count(&live);
    assert_eq!(before, 250);
    let mut random = Random(31);
    let gone = format!("{OUTSTANDING} WHERE jti LIKE 'gone-%'");
    let (mut interrupted, mut left) = (0, 0);
    for round in 0..24 {
        if left == 0 {
            fill(&mut database, &format!("gone-{round}"), 4000, now() - 10 * 86_400);
        }
        let there = database.count(&gone);
        let mut child = spawn(&server, &["flushexpiredtokens", "--batch-time", "1ms"]);
        if round % 2 == 0 {
            thread::sleep(Duration::from_micros(random.below(250_000)));
        } else {
            // However slow this machine is, a batch is done.
            let end = Instant::now() + Duration::from_secs(60);
            let untouched = |database: &mut Database| database.count(&gone) == there && Instant::now() < end;
            while child.try_wait().expect("a command").is_none() && untouched(&mut database) {
                thread::sleep(Duration::from_millis(1));
            }
        }
        drop(child.kill());
        let status = child.wait().expect("the end of a command");
        sound(&mut database);
        assert_eq!(database.count(&live), before, "round {round}: a live revocation was deleted");
        left = database.count(&gone);
        assert!(!status.success() || left == 0, "round {round}: done, but {left} rows are left");
        interrupted += usize::from(left > 0 && left < 4000);
    }
    let output = server.cli(&["flushexpiredtokens"]);
    assert_eq!(output.code(), 0, "{output:?}");
    assert_eq!(database.count(&gone), 0, "the last run goes on to the end");
    assert_eq!(database.count(&live), before);
    assert!(interrupted > 0, "no flush was killed between two batches");
}

// Fault 53: two flushes, revocations and rotations at once, killed at random.
#[test]
fn processes_that_are_killed_beside_each_other_agree() {
    let mut server = Server::new().set("rotation_grace", "\"0s\"").start();
    let mut random = Random(53);
    let stop = AtomicBool::new(false);
    let (acknowledged, won) = (Mutex::new(Vec::new()), Mutex::new(Vec::<usize>::new()));
    let revoked = recorded(&mut server.database(), 1500);
    let rotated = recorded(&mut server.database(), 400);
    let expired = (0..2000).map(|_| claims("refresh").with("exp", now() - 86_400)).collect::<Vec<_>>();
    let mut database = server.database();
    database.begin();
    for token in &expired {
        database.record_as_django(token);
        database.blacklist_as_django(token.jti());
    }
    // A row of unknown kind may be a sliding token's, and stays until the last renewal that its age allows.
    let created = instant(now() - 3 * 86_400);
    let old = instant(now());
    database.execute(&format!("UPDATE {OUTSTANDING} SET created_at = '{created}' WHERE expires_at < '{old}'"));
    database.execute("COMMIT");
    // The one that is killed; `server` goes on beside it.
    let mut mortal = server.sibling();
    let at = Mutex::new(mortal.port());
    let port = || *at.lock().expect("a lock");
    let done = || stop.load(Ordering::SeqCst);
    thread::scope(|scope| {
        scope.spawn(|| {
            for token in revoked.iter().take_while(|_| !done()) {
                if let Some((200, _)) = attempt(port(), BLACKLIST, &json!({"refresh": token.sign()})) {
                    acknowledged.lock().expect("a lock").push(token.jti().to_owned());
                }
            }
        });
        for _ in 0..2 {
            scope.spawn(|| {
                for (index, token) in rotated.iter().enumerate().take_while(|_| !done()) {
                    if let Some((200, _)) = attempt(port(), REFRESH, &json!({"refresh": token.sign()})) {
                        won.lock().expect("a lock").push(index);
                    }
                }
            });
        }
        let mut listed = Vec::new();
        let end = Instant::now() + Duration::from_secs(5);
        let mut round = 0;
        while Instant::now() < end {
            round += 1;
            let jtis = [format!("cli-{round}-a"), format!("cli-{round}-b")];
            let flushes = [(); 2].map(|()| spawn(&server, &["flushexpiredtokens", "--batch-time", "1ms"]));
            let mut command = spawn(&server, &["blacklist", &jtis[0], &jtis[1]]);
            thread::sleep(Duration::from_millis(random.below(150)));
            if random.below(3) == 0 {
                // It goes down in the middle of everything, and another takes its place.
                mortal.restart();
                *at.lock().expect("a lock") = mortal.port();
            }
            if random.below(2) == 0 {
                drop(command.kill());
            }
            let acknowledged = command.wait().expect("the end of a command").success();
            listed.push((jtis, acknowledged));
            for mut flush in flushes {
                if random.below(2) == 0 {
                    drop(flush.kill());
                }
                drop(flush.wait());
            }
        }
        stop.store(true, Ordering::SeqCst);
        for (jtis, acknowledged) in listed {
            let there = jtis.iter().filter(|jti| database.is_blacklisted(jti)).count();
            assert!(there == 2 || (there == 0 && !acknowledged), "{jtis:?}: {there}, acknowledged: {acknowledged}");
        }
    });
    server.restart();
    sound(&mut database);
    let acknowledged = acknowledged.into_inner().expect("a lock");
    for jti in &acknowledged {
        assert!(database.is_blacklisted(jti), "acknowledged and forgotten");
    }
    let won = won.into_inner().expect("a lock");
    for index in &won {
        assert_eq!(won.iter().filter(|other| *other == index).count(), 1, "two winners");
        let again = attempt(server.port(), REFRESH, &json!({"refresh": rotated[*index].sign()})).expect("an answer").0;
        assert_eq!(again, 401, "a second winner, later");
    }
    assert!(!acknowledged.is_empty() && !won.is_empty(), "{} revoked, {} rotated", acknowledged.len(), won.len());
    let output = server.cli(&["flushexpiredtokens"]);
    assert_eq!(output.code(), 0, "{output:?}");
    assert!(expired.iter().all(|token| !database.is_outstanding(token.jti())), "and what has expired is gone");
}

// Fault 59.
#[test]
fn whoever_is_answered_before_the_end_is_answered_rightly() {
    for delay in [0, 2, 10, 40] {
        let mut server = Server::new().start();
        let tokens = recorded(&mut server.database(), 50);
        // It listens before it knows what a signal means.
        assert_eq!(server.client().get("/health/live", None).status, 200);
        let (port, outcomes) = (server.port(), Mutex::new(Vec::new()));
        thread::scope(|scope| {
            for token in &tokens {
                let outcomes = &outcomes;
                scope.spawn(move || {
                    let answer = attempt(port, BLACKLIST, &json!({"refresh": token.sign()}));
                    outcomes.lock().expect("a lock").push((token.jti().to_owned(), answer));
                });
            }
            thread::sleep(Duration::from_millis(delay));
            let status = server.terminate();
            // Now and then Rocket gives up requests that it has not begun to answer. The server says so with 1.
            assert!(matches!(status.code(), Some(0 | 1)), "{status}");
        });
        let mut database = server.database();
        sound(&mut database);
        for (jti, answer) in outcomes.into_inner().expect("a lock") {
            match answer {
                Some((200, _)) => assert!(database.is_blacklisted(&jti), "acknowledged and forgotten"),
                Some((status, body)) => assert_eq!(status, 503, "{body}"),
                None => {}
            }
        }
    }
}
