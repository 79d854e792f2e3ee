//! The integration tests: the real binary, on real ports and real database files.
#![expect(clippy::expect_used, clippy::panic, reason = "a test helper that fails should fail the test")]

mod attack_algorithm;
mod attack_body;
mod attack_claims;
mod attack_cli;
mod attack_header;
mod attack_http;
mod attack_kinds;
mod attack_settings;
mod attack_shape;
mod cli_blacklist;
mod cli_exit_codes;
mod cli_flush;
mod cli_help;
mod cli_serve;
mod cli_tokens;
mod cli_users;
mod crash;
mod faults;
mod harness;
mod http_blacklist;
mod http_django_users;
mod http_flush;
mod http_library;
mod http_obtain;
mod http_protected;
mod http_refresh;
mod http_shapes;
mod http_sliding;
mod http_verify;
mod layers;
mod races;
mod sqlite_file;
mod sqlite_key;
mod sqlite_rows;
mod support;
