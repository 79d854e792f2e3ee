//! The binary `simplejwt`.

use std::process::ExitCode;

fn main() -> ExitCode {
    rocket_simplejwt::cli::main()
}
