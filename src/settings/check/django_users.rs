//! The names of Django's table of users and of its columns.

use super::{SettingsError, refuse};
use crate::settings::{DjangoUserColumns, Settings, UsersKind};

impl Settings {
    pub(super) fn check_django_users(&self) -> Result<(), SettingsError> {
        const COLUMNS: &str = "django_user_columns";
        let is_identifier = |name: &str| {
            let letter = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
            (1..=63).contains(&name.len())
                && name.bytes().all(|byte| letter(byte) || byte.is_ascii_digit())
                && name.bytes().next().is_some_and(letter)
        };
        if !is_identifier(&self.django_user_table) {
            return refuse("django_user_table", "must be the name of a table: at most 63 letters, digits and `_`");
        }
        let DjangoUserColumns { id, username, email, password, is_active, last_login } = &self.django_user_columns;
        for (field, name) in [("id", id), ("password", password)] {
            if name.is_empty() {
                return refuse(COLUMNS, format!("`{field}` must not be empty: no user can do without"));
            }
        }
        let named = [("username", username), ("email", email), ("is_active", is_active), ("last_login", last_login)];
        for (field, name) in named.iter().chain(&[("id", id), ("password", password)]) {
            if !name.is_empty() && !is_identifier(name) {
                return refuse(COLUMNS, format!("`{field}` must name a column: at most 63 letters, digits and `_`"));
            }
        }
        if self.users() != UsersKind::Django {
            return Ok(());
        }
        for (field, name) in &named[..2] {
            let needed = [("username_field", &self.username_field), ("user_id_field", &self.user_id_field)];
            if let Some((setting, _)) = needed.iter().find(|(_, wanted)| wanted == field && name.is_empty()) {
                return refuse(COLUMNS, format!("`{field}` must not be empty while `{setting}` is \"{field}\""));
            }
        }
        if self.update_last_login && last_login.is_empty() {
            return refuse(COLUMNS, "`last_login` must not be empty while `update_last_login` is on");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::check::tests::refused;

    #[test]
    fn names_of_djangos_tables_and_columns_are_names() {
        for good in ["auth_user", "_", "Users2", &"x".repeat(63)] {
            assert_eq!(refused(|set| set.django_user_table = good.into()), None, "{good}");
            assert_eq!(refused(|set| set.django_user_columns.username = good.into()), None, "{good}");
        }
        for bad in ["a b", "public.users", "x;", "\"x\"", "2fast", "größe", &"x".repeat(64)] {
            assert_eq!(refused(|set| set.django_user_table = bad.into()), Some("django_user_table"), "{bad}");
            assert_eq!(refused(|set| set.django_user_columns.last_login = bad.into()), Some("django_user_columns"));
            assert_eq!(refused(|set| set.django_user_columns.id = bad.into()), Some("django_user_columns"), "{bad}");
        }
        assert_eq!(refused(|set| set.django_user_table = String::new()), Some("django_user_table"));
        assert_eq!(refused(|set| set.django_user_columns.id.clear()), Some("django_user_columns"));
        assert_eq!(refused(|set| set.django_user_columns.password.clear()), Some("django_user_columns"));
    }

    #[test]
    fn a_column_that_a_setting_needs_is_named() {
        let with = |change: fn(&mut Settings)| {
            refused(|set| {
                set.users = Some(UsersKind::Django);
                change(set);
            })
        };
        assert_eq!(with(|_| ()), None);
        assert_eq!(with(|set| set.django_user_columns.username = String::new()), Some("django_user_columns"));
        let by_email = |set: &mut Settings| {
            set.username_field = "email".into();
            set.django_user_columns = DjangoUserColumns {
                username: String::new(),
                is_active: String::new(),
                last_login: String::new(),
                ..DjangoUserColumns::default()
            };
        };
        let without = |change: fn(&mut Settings)| {
            refused(|set| {
                set.users = Some(UsersKind::Django);
                by_email(set);
                change(set);
            })
        };
        assert_eq!(without(|_| ()), None);
        assert_eq!(without(|set| set.user_id_field = "username".into()), Some("django_user_columns"));
        assert_eq!(without(|set| set.update_last_login = true), Some("django_user_columns"));
        assert_eq!(without(|set| set.django_user_columns.email = String::new()), Some("django_user_columns"));
        assert_eq!(refused(|set| set.django_user_columns.username = String::new()), None, "nobody asks for it");
    }
}
