//! Says in one line what a build without a database lacks, before the compiler says it in hundreds.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var_os("CARGO_FEATURE_SQLITE").is_none() {
        println!("cargo::error=rocket_simplejwt needs a database: switch on the feature `sqlite`");
    }
}
