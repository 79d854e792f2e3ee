//! What SQLite takes for a value, and no other database would.

use serde_json::json;

use crate::support::attack::VERIFY;
use crate::support::database::{BLACKLISTED, OUTSTANDING, instant};
use crate::support::mint::{Claims, claims, jti};
use crate::support::now;
use crate::support::server::Server;

// Fault 62.
#[test]
fn strange_rows_hinder_nobody() {
    let server = Server::new().start();
    let (good, bad) = (claims("refresh"), claims("refresh"));
    let mut database = server.database();
    for token in [&good, &bad] {
        database.record_as_django(token);
    }
    database.blacklist_as_django(bad.jti());
    let (at, far) = (instant(now()), "9999-12-31 23:59:59.999999");
    let rows = [
        format!("'', '{at}', '{far}', NULL, '{}'", "j".repeat(1 << 20)),
        format!("'', '{at}', '{far}', NULL, CAST(x'ff00fe41' AS TEXT)"),
        format!("'', '{at}', '{far}', CAST(x'c3' AS TEXT), x'00ff'"),
        format!("'', '{at}', '{far}', NULL, ''"),
        format!("'', '{at}', '{far}', 'a' || char(10) || 'b', 'line' || char(10) || 'break'"),
        format!("'', '{at}', '{far}', NULL, 'nul' || char(0) || 'byte'"),
        format!("'', '{at}', '{far}', NULL, char(27) || '[31m' || char(8238)"),
        "'', NULL, 'soon', NULL, 'no-instant'".to_owned(),
        "'', 'x', '', NULL, 'no-instant-2'".to_owned(),
        "'', NULL, 0, 17, 'a-number'".to_owned(),
        "'', 1e300, 9e99, 1.5, 'a-large-number'".to_owned(),
        "'', NULL, -1, NULL, 'a-negative-number'".to_owned(),
        "'', '0001-01-01 00:00:00', '0000-00-00 00:00:00', NULL, 'before-all'".to_owned(),
        "'', '99999-01-01 00:00:00', '99999-01-01 00:00:00', NULL, 'after-all'".to_owned(),
        "'', x'00', x'ff', x'ff', 'bytes'".to_owned(),
        format!("'{}', '{at}', '{far}', NULL, 'a-long-token'", "t".repeat(1 << 20)),
    ];
    for (index, row) in rows.iter().enumerate() {
        database.execute(&format!(
            "INSERT INTO {OUTSTANDING} (token, created_at, expires_at, user_id, jti) VALUES ({row})"
        ));
        let when = ["'soon'", "0", "x'ff'", "''", "1e300"][index % 5];
        database.execute(&format!(
            "INSERT INTO {BLACKLISTED} (blacklisted_at, token_id) VALUES ({when}, last_insert_rowid())"
        ));
    }
    let strange = database.count(OUTSTANDING) - 2;
    assert_eq!(strange, 16);

    let verify = |token: &Claims| server.client().post_json(VERIFY, &json!({"token": token.sign()}));
    let check = || {
        assert_eq!(verify(&good).status, 200);
        verify(&bad).assert_not_valid("Token is blacklisted");
        for jti in ["no-instant", "a-number", "before-all", "after-all", "bytes"] {
            verify(&claims("access").with("jti", jti)).assert_not_valid("Token is blacklisted");
        }
    };
    server.settle();
    check();
    let commands: [&[&str]; 9] = [
        &["outstanding", "list", "--limit", "1000"],
        &["--format", "json", "outstanding", "list", "--limit", "1000"],
        &["--format", "csv", "blacklisted", "list", "--limit", "1000"],
        &["blacklisted", "list"],
        &["outstanding", "show", "no-instant"],
        &["check", "a-number"],
        &["status"],
        &["flushexpiredtokens", "--dry-run", "--force"],
        &["flushexpiredtokens", "--force"],
    ];
    for command in commands {
        let output = server.cli(command);
        let refused = command.contains(&"check");
        assert_eq!(output.code(), i32::from(refused), "{command:?}: {output:?}");
        assert!(!output.stderr.contains("panicked"), "{command:?}: {output:?}");
        if output.code() == 1 {
            assert_eq!(output.stderr.trim_end().lines().count().max(1), 1, "{command:?}: {output:?}");
        }
        assert!(
            !output.stdout.contains('\u{1b}') || command.contains(&"csv") || command.contains(&"json"),
            "{command:?}"
        );
    }
    assert_eq!(verify(&good).status, 200, "after a flush");
    verify(&bad).assert_not_valid("Token is blacklisted");
    let left = database.count(&format!("{BLACKLISTED} b JOIN {OUTSTANDING} o ON o.id = b.token_id"));
    assert_eq!(left, database.count(BLACKLISTED), "nothing stands alone");
    let output = server.cli(&["blacklist", "no-instant"]);
    assert!(output.success(), "{output:?}");
}

#[test]
fn an_instant_is_written_as_django_writes_it() {
    let server = Server::with_ada();
    let pair = server.login("ada");
    let select = format!("SELECT expires_at FROM {OUTSTANDING} WHERE jti = '{}'", jti(&pair.refresh));
    let written = server.database().value(&select).expect("an instant");
    assert_eq!((written.len(), written.as_bytes()[10]), (19, b' '), "{written}");
}
