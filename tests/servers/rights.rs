//! What triggers need on MariaDB: the right to make them while there is a binary log, and an account that keeps its rights.

use crate::support::database::Kind;
use crate::support::server::Output;
use crate::throwaway::{Site, Throwaway};
use crate::traffic::recorded;

#[track_caller]
fn says(output: &Output, code: i32, words: &[&str]) {
    assert_eq!((output.code(), output.stderr.trim_end().lines().count()), (code, 1), "{output:?}");
    assert!(words.iter().all(|word| output.stderr.contains(word)), "{words:?} are not all in {output:?}");
}

/// An ordinary account, and a server whose binary log somebody trusts to it for as long as it makes the triggers.
#[test]
fn an_ordinary_account_makes_triggers_where_the_binary_log_trusts_it() {
    let site = Site::on(Throwaway::with(Kind::Mysql, &["--with", "log-bin=binlog", "--with", "sync-binlog=1"]));
    let app = site.application();
    // Error 1419.
    let refused = site.cli_at(&app, &["migrate"]);
    says(&refused, 2, &["log_bin_trust_function_creators", "SET GLOBAL log_bin_trust_function_creators = 1", "SUPER"]);
    says(&site.cli_at(&app, &["blacklist", "a"]), 2, &["simplejwt migrate"]);
    // What it says helps, and is needed only once.
    site.set_global("log_bin_trust_function_creators", "1");
    assert_eq!(site.cli_at(&app, &["migrate"]).code(), 0);
    site.set_global("log_bin_trust_function_creators", "0");
    assert_eq!(site.cli_at(&app, &["blacklist", "a"]).code(), 0);
    assert!(site.database().is_blacklisted("a"));
}

/// The triggers run with the rights of whoever ran `migrate`: it is that account which has to have them, not the one that inserts.
#[test]
fn a_right_that_the_definer_has_lost_is_named() {
    let site = Site::new(Kind::Mysql);
    let (app, name) = (site.application(), site.name());
    assert_eq!(site.cli_at(&app, &["migrate"]).code(), 0);
    let mut database = site.database();
    let token = recorded(&mut database, 1).remove(0);
    let as_django = format!(
        "INSERT INTO token_blacklist_blacklistedtoken (blacklisted_at, token_id) \
         SELECT UTC_TIMESTAMP(), id FROM token_blacklist_outstandingtoken WHERE jti = '{}'",
        token.jti()
    );
    let change = |how: &str| {
        for host in ["%", "localhost"] {
            site.database().execute(&format!("{how} app@'{host}'"));
        }
    };
    change(&format!("REVOKE INSERT ON {name}.* FROM"));
    // Error 1142, to one who may do everything.
    let denied = "INSERT command denied to user 'app'@'";
    let grant = format!("GRANT SELECT, INSERT, UPDATE, DELETE ON `{name}`.* TO 'app'@'");
    says(&site.cli(&["blacklist", "a"]), 2, &[denied, &grant]);
    let error = database.try_execute(&as_django).expect_err("the trigger may not write").to_string();
    assert!(error.contains(denied), "{error}");
    assert!(!database.is_outstanding("a") && !database.is_blacklisted(token.jti()), "all of it or nothing");
    change(&format!("GRANT INSERT ON {name}.* TO"));
    assert_eq!(site.cli(&["blacklist", "a"]).code(), 0);
    assert_eq!(database.execute(&as_django), 1);
    // Error 1449.
    for host in ["%", "localhost"] {
        database.execute(&format!("DROP USER app@'{host}'"));
    }
    says(&site.cli(&["blacklist", "b"]), 2, &["specified as a definer ('app'@'", "simplejwt migrate"]);
    // Whoever may read the accounts need not drop the triggers first.
    assert_eq!(site.cli(&["migrate"]).code(), 0);
    assert_eq!(site.cli(&["blacklist", "b"]).code(), 0);
}
