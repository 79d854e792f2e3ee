//! The integration tests: the real binary, on real ports and real database files.
#![expect(clippy::expect_used, clippy::panic, reason = "a test helper that fails should fail the test")]

mod cli_blacklist;
mod cli_exit_codes;
mod cli_flush;
mod cli_help;
mod cli_serve;
mod cli_tokens;
mod cli_users;
mod http_blacklist;
mod http_flush;
mod http_library;
mod http_obtain;
mod http_protected;
mod http_refresh;
mod http_shapes;
mod http_sliding;
mod http_verify;
mod support;
