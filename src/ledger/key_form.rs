//! The forms in which databases hold the keys of users.

use super::user_key::UserKey;

/// What a column of user keys holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyForm {
    /// Text of at most so many characters.
    Text(Option<usize>),
    /// A number of so many bits.
    Integer(u8),
    /// A UUID in a column of its own type.
    Uuid,
    /// A UUID in 32 characters, as Django keeps it where there is no such type.
    HexUuid,
}

impl KeyForm {
    /// The form that a declared type stands for, where wide integers have 64 bits whatever they are called.
    pub(super) fn of(declared: &str, wide_integers: bool) -> Self {
        let length = || declared.split_once('(').and_then(|(_, rest)| rest.split(')').next()?.parse().ok());
        match declared {
            "uuid" => Self::Uuid,
            "char(32)" | "character(32)" => Self::HexUuid,
            _ if declared.contains("bigint") => Self::Integer(64),
            _ if declared.contains("int") && wide_integers => Self::Integer(64),
            _ if declared.contains("smallint") => Self::Integer(16),
            _ if declared.contains("int") => Self::Integer(32),
            _ if declared.contains("char") => Self::Text(length()),
            _ => Self::Text(None),
        }
    }

    /// The key as the column has it; [`None`] if it cannot hold that key.
    pub(super) fn text(self, key: &str) -> Option<String> {
        match self {
            // PostgreSQL's text cannot hold that character, and no user of anybody's has it.
            Self::Text(length) => {
                let length = length.unwrap_or(UserKey::MOST).min(UserKey::MOST);
                (key.chars().count() <= length && !key.contains('\0')).then(|| key.to_owned())
            }
            Self::Integer(bits) => {
                let id: i64 = key.parse().ok()?;
                let reserve = 64 - u32::from(bits);
                ((id << reserve) >> reserve == id).then(|| id.to_string())
            }
            Self::Uuid => key.parse().ok().map(|id: uuid::Uuid| id.hyphenated().to_string()),
            Self::HexUuid => key.parse().ok().map(|id: uuid::Uuid| id.simple().to_string()),
        }
    }

    /// What the column has, as a key: a UUID with hyphens, as Django writes it.
    pub(super) fn key(self, text: String) -> String {
        match self {
            Self::Text(_) | Self::Integer(_) => text,
            Self::Uuid | Self::HexUuid => text.parse().map_or(text, |id: uuid::Uuid| id.hyphenated().to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_holds_only_keys_of_its_own_kind() {
        let hex = "0123456789abcdef0123456789abcdef";
        let uuid = "01234567-89ab-cdef-0123-456789abcdef";
        for (declared, key, held) in [
            ("integer", "7", Some("7")),
            ("integer", "+7", Some("7")),
            ("integer", "ada", None),
            ("integer", "2147483648", None),
            ("int(11)", "-2147483648", Some("-2147483648")),
            ("bigint(20)", "2147483648", Some("2147483648")),
            ("bigint", "9223372036854775808", None),
            ("smallint", "40000", None),
            ("uuid", hex, Some(uuid)),
            ("char(32)", uuid, Some(hex)),
            ("uuid", "7", None),
            ("text", "ada", Some("ada")),
            ("text", "a\0a", None),
            ("character varying(3)", "äda", Some("äda")),
            ("varchar(3)", "adam", None),
        ] {
            assert_eq!(KeyForm::of(declared, false).text(key).as_deref(), held, "{key} in {declared}");
        }
        assert_eq!(KeyForm::of("integer", true).text("2147483648").as_deref(), Some("2147483648"), "as SQLite has it");
    }
}
