"""Databases for the tests: made, copied and dropped, whichever server keeps them. Knows nothing of Django's tables.

    databases.py create URL [TEMPLATE-URL]
    databases.py drop URL
"""

import sys
from urllib.parse import unquote, urlsplit


def parts(url):
    """What the URL says, as the drivers and Django take it."""
    split = urlsplit(url)
    return {
        "host": split.hostname,
        "port": split.port,
        "user": unquote(split.username or ""),
        "password": unquote(split.password or ""),
        "name": split.path.lstrip("/"),
    }


def is_sqlite(url):
    return url.startswith("sqlite://")


def is_postgres(url):
    return url.startswith(("postgres://", "postgresql://"))


def django_database(url):
    """What DATABASES says of this URL."""
    if is_sqlite(url):
        # As docs/django.md advises.
        options = {"timeout": 5, "transaction_mode": "IMMEDIATE"}
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": url.removeprefix("sqlite://"), "OPTIONS": options}
    if not is_postgres(url):
        import pymysql

        pymysql.install_as_MySQLdb()
    engine = "postgresql" if is_postgres(url) else "mysql"
    return {"ENGINE": f"django.db.backends.{engine}", **{name.upper(): value for name, value in parts(url).items()}}


def connect(url, name):
    """A connection to another database of the same server, each statement a transaction of its own."""
    to = parts(url)
    where = {"host": to["host"], "port": to["port"], "user": to["user"], "password": to["password"]}
    if is_postgres(url):
        import psycopg

        return psycopg.connect(**where, dbname=name or "postgres", autocommit=True)
    import pymysql

    return pymysql.connect(**where, database=name, autocommit=True)


def create(url, template):
    name = parts(url)["name"]
    with connect(url, None) as connection, connection.cursor() as cursor:
        if is_postgres(url):
            cursor.execute(f'CREATE DATABASE "{name}"' + (f' TEMPLATE "{parts(template)["name"]}"' if template else ""))
            return
        cursor.execute(f"CREATE DATABASE `{name}` CHARACTER SET utf8mb4")
        if template:
            copy_tables(cursor, parts(template)["name"], name)


def copy_tables(cursor, source, target):
    """MariaDB and MySQL have no templates."""
    cursor.execute("SET foreign_key_checks = 0")
    cursor.execute("SELECT table_name FROM information_schema.tables WHERE table_schema = %s", [source])
    for (table,) in cursor.fetchall():
        cursor.execute(f"SHOW CREATE TABLE `{source}`.`{table}`")
        (_, statement) = cursor.fetchone()
        cursor.execute(f"USE `{target}`")
        cursor.execute(statement)
        cursor.execute(f"INSERT INTO `{target}`.`{table}` SELECT * FROM `{source}`.`{table}`")


def drop(url):
    name = parts(url)["name"]
    with connect(url, None) as connection, connection.cursor() as cursor:
        if is_postgres(url):
            cursor.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        else:
            cursor.execute(f"DROP DATABASE IF EXISTS `{name}`")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["create", url]:
            create(url, None)
        case ["create", url, template]:
            create(url, template)
        case ["drop", url]:
            drop(url)
        case _:
            sys.exit(__doc__)
