//! Users of the database who lack a right. SQLite has none of that, so that these tests need a server.

use crate::django::{Django, Project, succeed};
use crate::steps::{assert_blacklisted, blacklist, refreshed};
use crate::support::mint::jti;
use crate::support::server::{Output, Server};
use crate::support::unique;

/// A user of the database server, with these rights and no others. Gone when this is dropped.
struct Guest<'a> {
    django: &'a Django,
    name: String,
    server: Server,
}

impl<'a> Guest<'a> {
    fn new(django: &'a Django, postgres: &str, mariadb: &str) -> Self {
        let name = unique("guest").replace('-', "_")[..24].to_owned();
        django.python(&format!(
            "database, vendor = connection.settings_dict['NAME'], connection.vendor\n\
             make, grant = {{\n\
             \x20   'postgresql': ('CREATE ROLE {name} LOGIN', {postgres:?}),\n\
             \x20   'mysql': (\"CREATE USER {name} IDENTIFIED BY 'secret'\", {mariadb:?}),\n\
             }}[vendor]\n\
             sql(make)\n\
             ours = sql(\"SELECT table_name FROM information_schema.tables WHERE table_name LIKE 'simplejwt~_%' ESCAPE '~'\")\n\
             ours = 'GRANT SELECT, INSERT, UPDATE, DELETE ON ' + ', '.join(name for name, in ours) + ' TO GUEST'\n\
             for statement in filter(None, grant.replace('OURS', ours).split(';')):\n\
             \x20   sql(statement.replace('DATABASE', database).replace('GUEST', '{name}'))"
        ));
        let url = django.text("{'postgresql': 'postgres', 'mysql': 'mysql'}[vendor]");
        let place = django.text("'{HOST}:{PORT}/{NAME}'.format(**connection.settings_dict)");
        let server = django.simplejwt().set("database_url", &format!("\"{url}://{name}:secret@{place}\""));
        Self { django, name, server }
    }

    /// Runs a command of ours as this user, and fails unless it was refused for want of this right, in one line.
    #[track_caller]
    fn is_denied(&self, arguments: &[&str], grants: [&str; 2]) -> Output {
        let output = self.server.cli(arguments);
        assert_eq!((output.code(), output.stdout.as_str()), (2, ""), "{output:?}");
        let grant = if self.django.is("vendor == 'postgresql'") { grants[0] } else { grants[1] };
        assert!(output.stderr.contains("want of rights") && output.stderr.contains(grant), "{output:?}");
        assert_eq!(output.stderr.lines().count(), 1, "{output:?}");
        assert!(!output.stderr.contains("secret"), "{output:?}");
        output
    }
}

impl Drop for Guest<'_> {
    fn drop(&mut self) {
        let drop_owned = if self.django.is("vendor == 'postgresql'") { "DROP OWNED BY" } else { "DROP USER" };
        drop(self.django.try_python(&format!("sql('{drop_owned} {}')", self.name)));
        drop(self.django.try_python(&format!("vendor == 'postgresql' and sql('DROP ROLE {}')", self.name)));
    }
}

#[test]
fn migrate_without_the_right_to_make_tables_says_what_to_grant_and_makes_none() {
    let django = Project::new().start();
    let guest = Guest::new(
        &django,
        "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO GUEST",
        "GRANT SELECT, INSERT, UPDATE, DELETE ON DATABASE.* TO GUEST",
    );
    let before = django.catalogue();
    guest.is_denied(&["migrate"], ["GRANT USAGE, CREATE ON SCHEMA public TO", "GRANT CREATE, DROP ON `"]);
    assert_eq!(django.catalogue(), before);
}

#[test]
fn migrate_without_the_right_to_make_triggers_says_what_to_grant_and_leaves_nothing_half_done() {
    let django = Project::new().start();
    let guest = Guest::new(
        &django,
        "GRANT USAGE, CREATE ON SCHEMA public TO GUEST;\
         GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO GUEST;\
         GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO GUEST",
        "GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, DROP ON DATABASE.* TO GUEST",
    );
    guest.is_denied(&["migrate"], ["TRIGGER ON token_blacklist_blacklistedtoken TO", "GRANT TRIGGER ON `"]);
    assert!(!django.catalogue().iter().any(|thing| thing.starts_with("simplejwt_revocation")));
    assert!(!django.catalogue().iter().any(|thing| thing.starts_with("simplejwt_inbox")));
    succeed(&django.simplejwt(), &["migrate"]);
}

#[test]
fn whoever_may_make_tables_adopts_djangos_and_needs_more_only_for_the_index() {
    let django = Project::new().start();
    let mut guest = Guest::new(
        &django,
        // As docs/django.md lists them, under "Rights".
        "GRANT USAGE, CREATE ON SCHEMA public TO GUEST;\
         GRANT SELECT, INSERT, UPDATE, DELETE ON token_blacklist_outstandingtoken, token_blacklist_blacklistedtoken TO GUEST;\
         GRANT TRIGGER ON token_blacklist_blacklistedtoken TO GUEST;\
         GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO GUEST;\
         GRANT SELECT ON auth_user, django_migrations TO GUEST;\
         GRANT UPDATE (last_login) ON auth_user TO GUEST",
        "GRANT SELECT, INSERT, UPDATE, DELETE ON DATABASE.* TO GUEST; GRANT CREATE, DROP, TRIGGER ON DATABASE.* TO GUEST",
    );
    succeed(&guest.server, &["migrate"]);
    guest.is_denied(
        &["migrate", "--with-index"],
        ["run it as the owner of token_blacklist_outstandingtoken, or GRANT the owner's role TO", "GRANT INDEX ON `"],
    );
    // All the rest works.
    succeed(&guest.server, &["migrate", "--check"]);
    django.add_user("ada");
    guest.server.change("update_last_login", "true");
    guest.server.restart();
    let pairs = [guest.server.login("ada"), django.login("ada")];
    for pair in pairs {
        let next = refreshed(guest.server.client(), &pair.refresh);
        succeed(&guest.server, &["blacklist", &jti(&next.refresh)]);
        assert_blacklisted(django.client(), &next.refresh);
    }
    django.python("record('expired', at(1_000_000_000), at(1_000_000_000))\nblacklist('expired')");
    succeed(&guest.server, &["flushexpiredtokens"]);
    assert!(django.is("'expired' not in jtis() and User.objects.get().last_login is not None"));
    guest.server.kill9();
    succeed(&guest.server, &["migrate", "--remove", "--yes"]);
}

/// Somebody else made the tables.
#[test]
fn whoever_only_serves_may_make_nothing_and_misses_nothing() {
    let django = Project::new().start();
    succeed(&django.simplejwt(), &["migrate"]);
    let mut guest = Guest::new(
        &django,
        // As docs/django.md lists them, without what is for `migrate`.
        "GRANT USAGE ON SCHEMA public TO GUEST;\
         GRANT SELECT, INSERT, UPDATE, DELETE ON token_blacklist_outstandingtoken, token_blacklist_blacklistedtoken TO GUEST;\
         GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO GUEST;\
         GRANT SELECT ON auth_user, django_migrations, __diesel_schema_migrations TO GUEST;\
         OURS",
        "GRANT SELECT, INSERT, UPDATE, DELETE ON DATABASE.* TO GUEST; GRANT TRIGGER ON DATABASE.* TO GUEST",
    );
    django.add_user("ada");
    guest.server.restart();
    for pair in [guest.server.login("ada"), django.login("ada")] {
        let next = refreshed(guest.server.client(), &pair.refresh);
        blacklist(guest.server.client(), &next.refresh);
        assert_blacklisted(django.client(), &next.refresh);
        assert_blacklisted(guest.server.client(), &pair.refresh);
    }
    django.python("record('expired', at(1_000_000_000), at(1_000_000_000))\nblacklist('expired')");
    succeed(&guest.server, &["flushexpiredtokens"]);
    assert!(django.is("'expired' not in jtis()"));
    succeed(&guest.server, &["status"]);
    let log = guest.server.log();
    assert!(!log.contains("rights") && !log.contains("cannot be put back"), "{log}");
    guest.server.kill9();
    let output = guest.server.cli(&["migrate", "--remove", "--yes"]);
    assert_eq!(output.code(), 2, "{output:?}");
}

#[test]
fn a_user_who_may_only_read_is_told_so_by_whatever_writes() {
    let django = Project::new().start();
    succeed(&django.simplejwt(), &["migrate"]);
    let guest = Guest::new(
        &django,
        "GRANT SELECT ON ALL TABLES IN SCHEMA public TO GUEST",
        "GRANT SELECT ON DATABASE.* TO GUEST",
    );
    succeed(&guest.server, &["outstanding", "list"]);
    guest.is_denied(
        &["blacklist", "some-jti"],
        ["GRANT SELECT, INSERT, UPDATE, DELETE ON", "GRANT SELECT, INSERT, UPDATE, DELETE ON `"],
    );
}
