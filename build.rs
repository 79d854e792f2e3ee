//! Says in one line what a build without a database lacks, before the compiler says it in hundreds.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let databases = ["CARGO_FEATURE_SQLITE", "CARGO_FEATURE_POSTGRES", "CARGO_FEATURE_MYSQL"];
    if databases.iter().all(|feature| std::env::var_os(feature).is_none()) {
        println!("cargo::error=rocket_simplejwt needs a database: switch on the feature sqlite, postgres or mysql");
    }
}
