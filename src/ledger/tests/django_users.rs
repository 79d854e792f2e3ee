//! The users of a Django project.

use super::*;

/// Django's users as its migrations declare them; and a user model of a project's own.
const USERS: &str = "
    CREATE TABLE auth_user (id INT_SERIAL, password varchar(128) NOT NULL, last_login INSTANT NULL,
        is_superuser bool NOT NULL, username varchar(150) NOT NULL UNIQUE, last_name varchar(150) NOT NULL,
        email varchar(254) NOT NULL, is_staff bool NOT NULL, is_active bool NOT NULL, date_joined INSTANT NOT NULL,
        first_name varchar(150) NOT NULL);
    CREATE TABLE accounts_person (password varchar(128) NOT NULL, last_login INSTANT NULL,
        id UUID NOT NULL PRIMARY KEY, mail varchar(254) NOT NULL UNIQUE);
";

const UUID: &str = "0b0f58ea-2d0c-4b5c-9d3c-8f3f2a1d4e77";

fn add(test: &Test, id: i64, username: &str, email: &str, is_active: &str) {
    test.sql(&format!(
        "INSERT INTO auth_user (id, password, is_superuser, username, last_name, email, is_staff, is_active, date_joined, \
         first_name) VALUES ({id}, 'md5$salt$secret', '0', '{username}', '', '{email}', '0', {is_active}, \
         '2026-11-22 02:26:07.979512', '')"
    ));
}

fn with_users() -> Test {
    let test = Test::empty();
    test.sql(&test.database.kind().djangos(USERS));
    add(&test, 7, "ada", "ada@example.org", "'1'");
    add(&test, 8, "grüße", "", "'0'");
    add(&test, 9, "eve", "", "'1'");
    test.sql(&format!(
        "INSERT INTO accounts_person (password, id, mail) VALUES ('x', '{}', 'ada@example.org')",
        UUID.replace('-', "")
    ));
    test
}

fn auth_user() -> DjangoColumns {
    let column = |name: &str| Some(name.to_owned());
    DjangoColumns {
        table: "auth_user".into(),
        id: "id".into(),
        username: column("username"),
        email: column("email"),
        password: "password".into(),
        is_active: column("is_active"),
        last_login: column("last_login"),
    }
}

fn person() -> DjangoColumns {
    let email = Some("mail".to_owned());
    DjangoColumns { table: "accounts_person".into(), username: None, email, is_active: None, ..auth_user() }
}

async fn found(test: &Test, table: &DjangoTable, field: UserField, value: &str) -> Option<String> {
    test.ledger.django_user_by(table, field, value).await.unwrap().map(|user| user.id)
}

#[tokio::test]
async fn a_user_is_found_by_each_field_byte_for_byte() {
    use UserField::{Email, Id, Username};
    let test = with_users();
    let table = test.ledger.django_table(auth_user()).await.unwrap();
    let ada = test.ledger.django_user_by(&table, Id, "7").await.unwrap().unwrap();
    assert_eq!((ada.username.as_deref(), ada.email.as_deref()), (Some("ada"), Some("ada@example.org")));
    assert_eq!((ada.password.as_str(), ada.is_active), ("md5$salt$secret", true));
    assert!(!format!("{ada:?}").contains("secret"));
    let idle = test.ledger.django_user_by(&table, Id, "8").await.unwrap().unwrap();
    assert!(!idle.is_active);
    for (field, value, id) in [
        (Username, "ada", Some("7")),
        (Username, "grüße", Some("8")),
        (Email, "ada@example.org", Some("7")),
        (Id, "007", Some("7")),
        (Username, "Ada", None),
        (Username, "ada ", None),
        (Username, "ada\0", None),
        (Username, "", None),
        (Username, "' OR 1=1 --", None),
        (Email, "ADA@example.org", None),
        (Email, "", None),
    ] {
        assert_eq!(found(&test, &table, field, value).await.as_deref(), id, "{field:?} {value:?}");
    }
}

#[tokio::test]
async fn an_id_that_the_column_cannot_hold_is_nobodys() {
    let test = with_users();
    let number = test.ledger.django_table(auth_user()).await.unwrap();
    let uuid = test.ledger.django_table(person()).await.unwrap();
    for value in
        ["", "7.0", "7x", " 7", "-7", "99999999999", "99999999999999999999", "\0", "7\0", "ä", UUID, "NULL", "id"]
    {
        assert_eq!(found(&test, &number, UserField::Id, value).await, None, "{value:?}");
        assert_eq!(
            found(&test, &uuid, UserField::Id, value).await.as_deref(),
            (value == UUID).then_some(UUID),
            "{value:?}"
        );
    }
}

#[tokio::test]
async fn a_uuid_is_found_in_any_spelling_and_comes_back_with_hyphens() {
    let test = with_users();
    let table = test.ledger.django_table(person()).await.unwrap();
    for spelling in [UUID.to_owned(), UUID.replace('-', ""), UUID.to_uppercase()] {
        assert_eq!(found(&test, &table, UserField::Id, &spelling).await.as_deref(), Some(UUID), "{spelling}");
    }
    let user = test.ledger.django_user_by(&table, UserField::Email, "ada@example.org").await.unwrap().unwrap();
    assert_eq!((user.id.as_str(), user.username, user.is_active), (UUID, None, true), "no such columns");
    assert_eq!(found(&test, &table, UserField::Username, "ada@example.org").await, None);
}

#[tokio::test]
async fn sqlite_whoever_is_not_plainly_active_is_not() {
    let test = with_users();
    for (id, value) in (20..).zip(["'1'", "'t'", "'true'", "'TRUE'", "'0'", "'f'", "'false'", "'2'", "''"]) {
        add(&test, id, &format!("user{id}"), "", value);
    }
    let table = test.ledger.django_table(auth_user()).await.unwrap();
    let mut active = Vec::new();
    for id in 20..29 {
        let user = test.ledger.django_user_by(&table, UserField::Id, &id.to_string()).await.unwrap().unwrap();
        active.push(user.is_active);
    }
    assert_eq!(active, [true, true, true, true, false, false, false, false, false]);
}

#[tokio::test]
async fn an_address_of_two_users_names_neither() {
    let test = with_users();
    add(&test, 30, "bob", "both@example.org", "'1'");
    let table = test.ledger.django_table(auth_user()).await.unwrap();
    assert_eq!(found(&test, &table, UserField::Email, "both@example.org").await.as_deref(), Some("30"));
    add(&test, 31, "cid", "both@example.org", "'1'");
    assert_eq!(found(&test, &table, UserField::Email, "both@example.org").await, None);
}

#[tokio::test]
async fn a_login_is_noted_as_django_notes_it() {
    let test = with_users();
    let table = test.ledger.django_table(auth_user()).await.unwrap();
    test.ledger.set_django_last_login(&table, "7", at(70) + TimeDelta::microseconds(979_512)).await.unwrap();
    let noted = "FROM auth_user WHERE last_login IS NOT NULL";
    assert_eq!(test.number(&format!("SELECT count(*) {noted}")), 1);
    assert_eq!(test.rows("auth_user WHERE last_login = '2027-01-15 08:01:10.979512'"), 1);
    for nobody in ["10", "x"] {
        test.ledger.set_django_last_login(&table, nobody, at(70)).await.unwrap();
    }
    assert_eq!(test.number(&format!("SELECT count(*) {noted}")), 1);

    let people = test.ledger.django_table(person()).await.unwrap();
    test.ledger.set_django_last_login(&people, UUID, at(70)).await.unwrap();
    assert_eq!(test.rows("accounts_person WHERE last_login = '2027-01-15 08:01:10'"), 1);
    let silent = test.ledger.django_table(DjangoColumns { last_login: None, ..person() }).await.unwrap();
    test.ledger.set_django_last_login(&silent, UUID, at(99)).await.unwrap();
    assert_eq!(test.rows("accounts_person WHERE last_login = '2027-01-15 08:01:10'"), 1);
}

#[tokio::test]
async fn a_table_or_column_that_is_not_there_is_named_with_its_setting() {
    let test = with_users();
    let no_table = DjangoColumns { table: "users".into(), ..auth_user() };
    let no_column = DjangoColumns { email: Some("e_mail".into()), ..auth_user() };
    // SQLite would take the name for a text.
    let no_key = DjangoColumns { id: "pk".into(), ..auth_user() };
    for (columns, names) in [
        (no_table, ["`django_user_table`", "'users'"]),
        (no_column, ["`django_user_columns`", "'e_mail'"]),
        (no_key, ["`django_user_columns`", "'pk'"]),
    ] {
        let error = test.ledger.django_table(columns).await.unwrap_err();
        assert!(matches!(error, LedgerError::Schema(_)), "{error}");
        assert!(names.iter().all(|name| error.to_string().contains(name)), "{error}");
    }
}

#[tokio::test]
async fn a_column_that_goes_is_an_error_and_never_a_text() {
    let test = with_users();
    let table = test.ledger.django_table(auth_user()).await.unwrap();
    test.sql("ALTER TABLE auth_user RENAME COLUMN email TO mail");
    assert!(test.ledger.django_user_by(&table, UserField::Email, "email").await.is_err());
    assert!(test.ledger.django_user_by(&table, UserField::Id, "7").await.is_err());
}

#[tokio::test]
async fn names_need_no_ones_leave_to_be_odd() {
    let test = Test::empty();
    test.sql(r#"CREATE TABLE "select" ("order" integer PRIMARY KEY, "group" varchar(9), "table" varchar(9))"#);
    test.sql(r#"INSERT INTO "select" VALUES (1, 'ada', 'x')"#);
    let odd = DjangoColumns {
        table: "select".into(),
        id: "order".into(),
        username: Some("group".into()),
        email: None,
        password: "table".into(),
        is_active: None,
        last_login: None,
    };
    let table = test.ledger.django_table(odd).await.unwrap();
    assert_eq!(found(&test, &table, UserField::Username, "ada").await.as_deref(), Some("1"));
}

#[tokio::test]
async fn a_database_of_django_is_told_by_its_migrations() {
    let test = with_users();
    assert!(!test.ledger.is_djangos().await.unwrap());
    test.sql("CREATE TABLE django_migrations (id integer PRIMARY KEY)");
    assert!(test.ledger.is_djangos().await.unwrap());
}
