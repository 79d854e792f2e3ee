//! Texts that MariaDB would cut, or take for each other.

use serde_json::json;

use crate::support::attack::VERIFY;
use crate::support::database::{BLACKLISTED, Kind, OUTSTANDING};
use crate::support::mint::claims;
use crate::throwaway::Site;
use crate::traffic::{Ask, blacklist};

/// Names that a collation may take for one.
const ALIKE: [&str; 4] = ["AbC", "abc", "ABC", "aBc"];

// Fault 31.
#[test]
fn mariadb_that_is_not_strict_cuts_nothing() {
    let site = Site::new(Kind::Mysql);
    site.set_global("sql_mode", "''");
    let site = site.started();
    let long = "x".repeat(300);
    let output = site.cli(&["blacklist", &long]);
    assert_eq!(output.code(), 2, "{output:?}");
    let longest = "y".repeat(255);
    assert_eq!(site.cli(&["blacklist", &longest]).code(), 0);
    let token = claims("refresh").with("jti", long.as_str());
    let reply = Ask::Blacklist(token.sign()).send(site.server.client());
    assert_eq!(reply.status, 401, "{reply:?}");
    let mut database = site.database();
    assert!(database.is_blacklisted(&longest));
    assert_eq!(database.count(&format!("{OUTSTANDING} WHERE jti LIKE 'xxx%'")), 0);
    let output = site.cli(&["--format", "json", "status"]);
    assert_eq!(output.json()["warnings"], json!([]), "our session is strict: {output:?}");
    // A name that is too long for its column is refused, and not cut.
    let output = site.server.cli_stdin(&["users", "add", &"u".repeat(400)], "a long password\n");
    assert_ne!(output.code(), 0, "{output:?}");
    assert_eq!(database.count("simplejwt_user WHERE username LIKE 'uuu%'"), 0);
}

// Fault 32, in tables of ours.
#[test]
fn mariadb_that_ignores_case_tells_our_tokens_apart() {
    let site = Site::with_ada(Kind::Mysql);
    let mut database = site.database();
    let collation = "SELECT default_collation_name FROM information_schema.schemata WHERE schema_name = database()";
    assert_eq!(database.value(collation).as_deref(), Some("utf8mb4_general_ci"));
    for (number, jti) in ALIKE.iter().enumerate() {
        let token = claims("refresh").with("jti", *jti).sign();
        assert_eq!(blacklist(&site.server, &token), 200);
        assert_eq!(database.count(BLACKLISTED), i64::try_from(number + 1).expect("few"), "{jti}");
    }
    for jti in ["AbC.", "abC", "ab"] {
        database.record_row(jti, crate::support::now() + 300, "NULL");
        let token = claims("refresh").with("jti", jti).sign();
        site.server.client().post_json(VERIFY, &json!({ "token": token })).assert(200, &json!({}));
    }
}

/// Nor does it see spaces at the end, unless it is told to.
#[test]
fn mariadb_that_takes_no_notice_of_spaces_refuses_no_token_of_ours_for_them() {
    let site = Site::with_ada(Kind::Mysql);
    let mut database = site.database();
    for jti in ["abc ", "abc"] {
        database.record_row(jti, crate::support::now() + 300, "NULL");
    }
    database.execute(&format!(
        "INSERT INTO {BLACKLISTED} (blacklisted_at, token_id) SELECT now(), id FROM {OUTSTANDING} WHERE length(jti) = 4"
    ));
    let token = claims("refresh").with("jti", "abc").sign();
    site.server.client().post_json(VERIFY, &json!({ "token": token })).assert(200, &json!({}));
    assert_eq!(blacklist(&site.server, &token), 200);
    assert_eq!(database.count(BLACKLISTED), 2);
}

// Fault 32, in tables that Django made: its column ignores case there, and takes only one of such names.
#[test]
fn mariadb_with_tables_of_django_s_refuses_none_of_others() {
    let site = Site::new(Kind::Mysql);
    let mut database = site.database();
    database.execute(
        "CREATE TABLE token_blacklist_outstandingtoken (id bigint AUTO_INCREMENT PRIMARY KEY, token longtext NOT NULL, \
         created_at datetime(6) NULL, expires_at datetime(6) NOT NULL, user_id bigint NULL, \
         jti varchar(255) NOT NULL UNIQUE); \
         CREATE TABLE token_blacklist_blacklistedtoken (id bigint AUTO_INCREMENT PRIMARY KEY, \
         blacklisted_at datetime(6) NOT NULL, token_id bigint NOT NULL UNIQUE, \
         FOREIGN KEY (token_id) REFERENCES token_blacklist_outstandingtoken (id))",
    );
    assert_eq!(site.cli(&["migrate"]).code(), 0);
    let site = site.started();
    let first = claims("refresh").with("jti", "AbC").sign();
    assert_eq!(blacklist(&site.server, &first), 200);
    // The column takes no second one: nothing is acknowledged that is not written.
    let second = claims("refresh").with("jti", "abc").sign();
    let reply = Ask::Blacklist(second).send(site.server.client());
    assert_eq!(reply.status, 503, "{reply:?}");
    let output = site.cli(&["blacklist", "abc"]);
    assert_eq!(output.code(), 1, "{output:?}");
    assert!(output.stderr.contains("the same jti, but for upper and lower case"), "{output:?}");
    assert_eq!(database.count(&format!("{OUTSTANDING} WHERE jti = BINARY 'abc'")), 0);
    // One that nobody revoked is not taken for one that somebody did.
    let access = claims("access").with("jti", "aBC").sign();
    site.server.client().post_json(VERIFY, &json!({ "token": access })).assert(200, &json!({}));
    let reply = Ask::Refresh(first).send(site.server.client());
    assert_eq!(reply.status, 401);
}
