#![expect(clippy::expect_used, clippy::panic, reason = "a test helper that fails should fail the test")]
#![allow(dead_code)]
#[path = "it/attack_algorithm.rs"]
mod attack_algorithm;
#[path = "it/attack_body.rs"]
mod attack_body;
#[path = "it/attack_claims.rs"]
mod attack_claims;
#[path = "it/attack_cli.rs"]
mod attack_cli;
#[path = "it/attack_header.rs"]
mod attack_header;
#[path = "it/attack_http.rs"]
mod attack_http;
#[path = "it/attack_kinds.rs"]
mod attack_kinds;
#[path = "it/attack_settings.rs"]
mod attack_settings;
#[path = "it/attack_shape.rs"]
mod attack_shape;
#[path = "it/crash.rs"]
mod crash;
#[path = "it/faults.rs"]
mod faults;
#[path = "it/support/mod.rs"]
mod support;
