"""The project on a free port, and a console to it on standard input: one line of JSON is a piece of Python, the answer is
one line of JSON with its value. It ends with its input.
"""

import datetime
import json
import os
import re
import sys
import threading
import traceback
from unittest import mock

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings")
django.setup()

from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler, get_internal_wsgi_application
from django.db import connection
from django.utils import timezone
from rest_framework_simplejwt.token_blacklist.models import BlacklistedToken, OutstandingToken
from rest_framework_simplejwt.tokens import AccessToken, RefreshToken, SlidingToken

User = get_user_model()


def at(unix, micros=0):
    return datetime.datetime.fromtimestamp(unix, datetime.UTC) + datetime.timedelta(microseconds=micros)


def create_user(name, password, **fields):
    return str(User.objects.create_user(name, password=password, **fields).pk)


def create_superuser(name, password):
    return str(User.objects.create_superuser(name, password=password).pk)


def blacklist(jti):
    """As the admin page does: the row, and nothing else."""
    BlacklistedToken.objects.create(token=OutstandingToken.objects.get(jti=jti))


def unblacklist(jti):
    BlacklistedToken.objects.get(token__jti=jti).delete()


def is_blacklisted(jti):
    return BlacklistedToken.objects.filter(token__jti=jti).exists()


def record(jti, expires_at, created_at=None, user=None):
    """A row as simplejwt makes it."""
    created_at = created_at or timezone.now()
    return OutstandingToken.objects.create(jti=jti, expires_at=expires_at, created_at=created_at, token="x", user=user)


def jtis():
    return sorted(OutstandingToken.objects.values_list("jti", flat=True))


def flush_as_of(now):
    """Django's flush, run at another moment than this one."""
    module = "rest_framework_simplejwt.token_blacklist.management.commands.flushexpiredtokens"
    with mock.patch(f"{module}.aware_utcnow", lambda: now):
        call_command("flushexpiredtokens")


def sql(statement, *values):
    """The rows of a query, or the number of rows that a statement changed. Placeholders are %s on every database."""
    with connection.cursor() as cursor:
        cursor.execute(statement, values or None)
        return cursor.fetchall() if cursor.description else cursor.rowcount


def catalogue():
    """Everything that the database says about its schema, one text for each thing, names first."""
    rows = (row for query in CATALOGUE[connection.vendor] for row in sql(query))
    return sorted(" ".join(str(cell) for cell in row) for row in rows) + tables()


def tables():
    """The tables as MariaDB and MySQL would make them again, without their counters."""
    if connection.vendor != "mysql":
        return []
    names = sql("SELECT table_name FROM information_schema.tables WHERE table_schema = database() ORDER BY 1")
    statements = [f"{name} {sql(f'SHOW CREATE TABLE `{name}`')[0][1]}" for (name,) in names]
    return [re.sub(r" AUTO_INCREMENT=\d+", "", statement) for statement in statements]


CATALOGUE = {
    "sqlite": ["SELECT name, type, tbl_name, sql FROM sqlite_master"],
    "mysql": [
        "SELECT trigger_name, event_manipulation, event_object_table, action_timing, action_statement "
        "FROM information_schema.triggers WHERE trigger_schema = database()",
        "SELECT routine_name, routine_definition FROM information_schema.routines WHERE routine_schema = database()",
        "SELECT event_name, event_definition FROM information_schema.events WHERE event_schema = database()",
    ],
    "postgresql": [
        "SELECT c.relname, c.relkind, n.nspname, c.relacl::text, c.relowner::regrole::text, c.reloptions::text "
        "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')",
        "SELECT a.attrelid::regclass::text, a.attnum, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, "
        "a.attidentity, a.attcollation::regcollation::text, pg_get_expr(d.adbin, d.adrelid) "
        "FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace "
        "LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum "
        "WHERE a.attnum > 0 AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')",
        "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname NOT IN ('pg_catalog', 'information_schema')",
        "SELECT conrelid::regclass::text, conname, contype, pg_get_constraintdef(oid) FROM pg_constraint "
        "WHERE conrelid <> 0 AND connamespace = 'public'::regnamespace",
        "SELECT tgrelid::regclass::text, tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal",
        "SELECT proname, pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = 'public'::regnamespace "
        "AND prokind <> 'a'",
        "SELECT typname, typtype FROM pg_type WHERE typnamespace = 'public'::regnamespace",
        "SELECT sequencename, data_type::text, increment_by FROM pg_sequences",
    ],
}


def columns():
    """The columns of simplejwt's two tables: table, name, type, whether it takes NULL, and what numbers it."""
    return sorted(" ".join(str(cell) for cell in row) for row in sql(COLUMNS[connection.vendor]))


TWO = "('token_blacklist_outstandingtoken', 'token_blacklist_blacklistedtoken')"
COLUMNS = {
    "sqlite": "SELECT made.name, its.name, lower(its.type), its.\"notnull\", its.pk FROM sqlite_master AS made "
    f"JOIN pragma_table_info(made.name) AS its WHERE made.type = 'table' AND made.name IN {TWO}",
    "mysql": "SELECT table_name, column_name, column_type, is_nullable, extra FROM information_schema.columns "
    f"WHERE table_schema = database() AND table_name IN {TWO}",
    "postgresql": "SELECT relname, attname, format_type(atttypid, atttypmod), attnotnull, attidentity FROM pg_attribute "
    f"JOIN pg_class ON pg_class.oid = attrelid WHERE attnum > 0 AND NOT attisdropped AND relname IN {TWO}",
}


def serve():
    server = ThreadedWSGIServer(("127.0.0.1", 0), WSGIRequestHandler, allow_reuse_address=False)
    server.set_app(get_internal_wsgi_application())
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_port


def evaluate(code):
    """The value of an expression, or of the name `answer` after statements. Names stay known to what comes later."""
    try:
        expression = compile(code, "<console>", "eval")
    except SyntaxError:
        globals()["answer"] = None
        exec(compile(code, "<console>", "exec"), globals())
        return globals()["answer"]
    return eval(expression, globals())


def main():
    # What anybody prints must not pass for an answer.
    answers, sys.stdout = sys.stdout, sys.stderr
    print(json.dumps({"value": serve()}), file=answers, flush=True)
    for line in sys.stdin:
        try:
            answer = {"value": evaluate(json.loads(line))}
            line = json.dumps(answer, default=str)
        # Some of Django's commands say no by ending the program.
        except (Exception, SystemExit):
            line = json.dumps({"error": traceback.format_exc()})
        print(line, file=answers, flush=True)


if __name__ == "__main__":
    main()
