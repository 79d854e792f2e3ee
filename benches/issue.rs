//! Issuing: the signatures alone, and a pair with its rows durably on disk.
//!
//! `cargo bench --bench issue`

#![expect(clippy::expect_used, clippy::print_stdout, reason = "a bench prints, and stops where something is wrong")]
#![allow(dead_code, clippy::allow_attributes, clippy::disallowed_methods, reason = "benches share their support")]

mod support;

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use rocket_simplejwt::service::OpenMode;
use rocket_simplejwt::settings::{Secret, Settings};
use rocket_simplejwt::token::{Jti, Minter, NewToken, TokenKind, TokenRules};
use rocket_simplejwt::{Issue, Simplejwt};
use support::{Candidate, interleave};

fn main() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let mut settings = Settings::default();
    settings.signing_key = Some(Secret::new("only for this bench, in a temporary directory"));
    settings.database_url = Some(format!("sqlite:///{}", folder.path().join("bench.sqlite3").display()));
    let ring = Arc::new(settings.keys().expect("a good key"));
    let minter = Minter::new(ring, Arc::new(TokenRules::default()));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let jwt = runtime.block_on(Simplejwt::builder(settings).open(OpenMode::Serve)).expect("a ledger");

    let now = Utc::now();
    let token = |kind| NewToken {
        kind,
        jti: Jti::random(),
        issued_at: now,
        expires_at: now + TimeDelta::hours(1),
        refresh_expires_at: None,
        user: Some("1".into()),
        session: None,
        custom: serde_json::Map::new(),
    };
    let sign = Candidate::new("sign a refresh and an access token", || {
        for kind in [TokenKind::Refresh, TokenKind::Access] {
            black_box(minter.mint(&token(kind)).expect("a token"));
        }
    });
    let issue = Candidate::new("the same, recorded (SQLite, synchronous=FULL)", || {
        black_box(runtime.block_on(jwt.issue_pair(Issue::refresh("1"))).expect("a pair"));
    });
    interleave("a pair of tokens", vec![sign, issue], 21, Duration::from_millis(200));
}
