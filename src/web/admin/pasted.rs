//! Tokens in what somebody pastes. Most of them are secrets that are good for something, and no address should have one.

/// The header of a token, `{"alg":"none"}` at least, is so long.
const HEADER: usize = 16;

/// Where in a run of letters a token may begin, so many places are tried: what stands before it may have the same two letters.
const BEGINNINGS: usize = 4;

/// Everything in a text that may be a token, whatever stands around it: the scheme of a header, the name of a cookie, quotes.
pub(super) fn tokens(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    // A terminal or a mail may have broken it into lines.
    for text in [text, &text.split_whitespace().collect::<String>()] {
        for token in within(text) {
            if !found.contains(&token) {
                found.push(token);
            }
        }
    }
    found
}

/// Three parts with dots between them, of which the first begins as that of an object in base64 does.
fn within(text: &str) -> Vec<String> {
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.');
    let mut tokens = Vec::new();
    for run in text.split(|letter| !is_part(letter)) {
        let parts: Vec<&str> = run.split('.').collect();
        for three in parts.windows(3) {
            let headers = three[0].match_indices("ey").map(|(start, _)| &three[0][start..]);
            for header in headers.filter(|header| header.len() >= HEADER).take(BEGINNINGS) {
                tokens.push(format!("{header}.{}.{}", three[1], three[2]));
            }
        }
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "eyJhbGciOiJIUzI1NiJ9.eyJqdGkiOiJhIn0.c2ln-_bmF0dXJl";

    #[test]
    fn a_token_is_found_whatever_stands_around_it() {
        let (first, second) = TOKEN.split_at(30);
        for text in [
            TOKEN.to_owned(),
            format!("Bearer {TOKEN}"),
            format!("bearer  {TOKEN}\n"),
            format!("\"{TOKEN}\","),
            format!("cookie={TOKEN}; other=1"),
            format!("Authorization:Bearer\t{TOKEN}"),
            format!("see.{TOKEN}.there"),
            format!("Token{TOKEN}"),
            format!("key-{TOKEN}"),
            format!("{first}\n  {second}"),
            format!("{}\n{}", &TOKEN[..TOKEN.len() - 4], &TOKEN[TOKEN.len() - 4..]),
        ] {
            assert!(tokens(&text).iter().any(|token| token == TOKEN), "{text}");
        }
        let other = TOKEN.replace("ln", "xx");
        assert_eq!(tokens(&format!("a={TOKEN}; b={other}; c={TOKEN}")), [TOKEN, &other]);
        let unsigned = "eyJhbGciOiJub25lIn0.eyJqdGkiOiJhIn0.";
        assert_eq!(tokens(unsigned), [unsigned]);
        for none in
            ["", "8f14e45fceea467a9d4f2f6a0c3f5d11", "key.b.c", "eva@mail.example.org", "Bearer abc", "..", "eyJ"]
        {
            assert_eq!(tokens(none), Vec::<String>::new(), "{none}");
        }
    }
}
