//! What the documentation shows is what the examples say, which are compiled.

use std::fs;
use std::path::Path;

#[test]
fn the_pages_for_newcomers_show_the_examples() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (page, example) in [
        ("from-flask-jwt-extended.md", "flask.rs"),
        ("from-quart-jwt-extended.md", "quart.rs"),
        ("from-sanic-jwt-extended.md", "sanic.rs"),
        ("from-flask-blacklist.md", "flask_blacklist.rs"),
        ("django.md", "simplejwt.rs"),
    ] {
        let text = fs::read_to_string(root.join("docs").join(page)).expect("a page");
        let example = fs::read_to_string(root.join("examples/coming_from").join(example)).expect("an example");
        let blocks: Vec<&str> = text.split("```rust\n").skip(1).filter_map(|rest| rest.split("\n```").next()).collect();
        assert_eq!(blocks.len(), 1, "{page}");
        // From the imports to the end.
        let start = example.find("\nuse ").expect("imports") + 1;
        assert_eq!(blocks[0], example[start..].trim_end(), "{page} and its example");
    }
}
