//! What figment found, in words that repeat no value: it may be a key.

use figment::error::{Error, Kind};

/// The first thing that is wrong, and where.
pub(super) fn describe(error: &Error) -> String {
    let mut path: Vec<_> = error.path.iter().map(String::as_str).filter(|part| *part != "simplejwt").collect();
    let fault = match &error.kind {
        Kind::UnknownField(field, known) => {
            // The path of an unknown field ends with its own name.
            path.clear();
            match nearest(field, known) {
                Some(known) => format!("there is no setting `{field}`; did you mean `{known}`?"),
                None => format!("there is no setting `{field}`"),
            }
        }
        Kind::InvalidType(_, expected) | Kind::InvalidValue(_, expected) | Kind::InvalidLength(_, expected) => {
            format!("expected {expected}")
        }
        Kind::UnknownVariant(_, known) => format!("expected one of {}", known.join(", ")),
        Kind::Message(text) => without_snippet(text),
        other => other.to_string(),
    };
    let setting = if path.is_empty() { String::new() } else { format!("`{}`: ", path.join(".")) };
    let place =
        error.metadata.as_ref().map(|metadata| match metadata.source.as_ref().and_then(|source| source.file_path()) {
            Some(file) => format!(" (in {})", file.display()),
            None => format!(" (in {})", metadata.name),
        });
    format!("{setting}{fault}{}", place.unwrap_or_default())
}

/// A syntax error without the lines of the file that it shows, and without what it quotes from them: a key, perhaps.
fn without_snippet(text: &str) -> String {
    let is_snippet =
        |line: &str| line.trim_start_matches(|char: char| char.is_ascii_digit() || char == ' ').starts_with('|');
    let said: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty() && !is_snippet(line)).collect();
    let mut said = said.join(": ");
    if let (Some(start), Some(end)) = (said.find('"'), said.rfind('"'))
        && start < end
    {
        said.replace_range(start..=end, "\"…\"");
    }
    said
}

/// The known name that is at most a few letters away.
fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let near = known.iter().map(|known| (distance(name, known), *known)).min()?;
    (near.0 <= 3).then_some(near.1)
}

/// How many letters have to be put in, taken out or changed (Levenshtein).
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<_> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (line, left) in from.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], line + 1);
        for (column, right) in to.iter().enumerate() {
            let changed = diagonal + usize::from(left != *right);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row.pop().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use figment::Figment;
    use figment::providers::{Format as _, Toml};

    use crate::settings::Settings;

    fn refused(toml: &str) -> String {
        let figment = Figment::new().merge(Toml::string(toml).nested());
        Settings::from_figment(&figment).expect_err("bad settings").to_string()
    }

    #[test]
    fn what_is_wrong_is_said_in_one_line_without_any_value() {
        let section = "[default.simplejwt]\n";
        for (bad, said) in [
            ("signing_key = \"topsecret\nleeway = 3", "line 2"),
            ("signing_key = [\"topsecret\"]", "`signing_key`: expected a string"),
            ("signing_key = 70953237", "`signing_key`: expected a string"),
            ("verifying_keys = [{ algorithm = \"topsecret\" }]", "expected one of HS256"),
            ("leeway = \"topsecret\"", "not a length of time"),
            ("database_pool_size = \"topsecret\"", "`database_pool_size`: expected u32"),
            ("signing_keyy = \"topsecret\"", "there is no setting `signing_keyy`; did you mean `signing_key`?"),
            ("something_else = \"topsecret\"", "there is no setting `something_else` (in"),
        ] {
            let text = refused(&format!("{section}{bad}"));
            assert!(text.contains(said), "{bad}: {text}");
            assert!(!text.contains("topsecret") && !text.contains("70953237") && !text.contains('\n'), "{text}");
        }
        let text = refused("simplejwt = \"topsecret\"");
        assert!(!text.contains("topsecret"), "{text}");
    }
}
