-- A month of a busy service: ROWS refresh tokens, five to a session, each replaced when STEP more had been issued: after the five minutes
-- for which an access token lives. One in a hundred sessions ended when its last token was revoked. User 0 is a robot, of whom all the
-- oldest tenth is; the others are a hundred thousand people. A fifth of the rows begins a session, a fifth goes on with it for the first
-- time, and so on.
CREATE FUNCTION pg_temp.session(i bigint) RETURNS bigint LANGUAGE sql IMMUTABLE
    AS $$ SELECT (i - i % 5 * (STEP + 1) + 4 * STEP) / 5 $$;
CREATE FUNCTION pg_temp.uuid(s bigint) RETURNS text LANGUAGE sql IMMUTABLE
    AS $$ SELECT '01900000-0000-7000-8000-' || lpad(s::text, 12, '0') $$;
CREATE FUNCTION pg_temp.person(s bigint) RETURNS text LANGUAGE sql IMMUTABLE
    AS $$ SELECT CASE WHEN s < ROWS / 50 THEN '0' ELSE (1 + s * 7919 % 100000)::text END $$;
CREATE FUNCTION pg_temp.at(i bigint) RETURNS timestamptz LANGUAGE sql STABLE
    AS $$ SELECT now() - (ROWS - i) * interval '30 days' / ROWS $$;
-- Whether it was replaced, and whether it was revoked.
CREATE FUNCTION pg_temp.old(i bigint) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$ SELECT i % 5 < 4 AND i + STEP < ROWS $$;
CREATE FUNCTION pg_temp.off(i bigint) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$ SELECT i % 500 = 4 $$;

INSERT INTO token_blacklist_outstandingtoken (id, token, created_at, expires_at, user_id, jti)
SELECT i, '', pg_temp.at(i), pg_temp.at(i) + interval '1 day', pg_temp.person(pg_temp.session(i)), md5(i::text)
FROM generate_series(1, ROWS) AS n(i);

INSERT INTO simplejwt_token (jti, kind, session_id, parent, superseded_at, successor, revoked_at, keep_until)
SELECT md5(i::text), 'refresh', pg_temp.uuid(pg_temp.session(i)),
       CASE WHEN i % 5 > 0 AND i > STEP + 1 THEN md5((i - STEP - 1)::text) END,
       CASE WHEN pg_temp.old(i) THEN pg_temp.at(i + STEP + 1) END,
       CASE WHEN pg_temp.old(i) THEN md5((i + STEP + 1)::text) END,
       CASE WHEN pg_temp.off(i) THEN pg_temp.at(i) + interval '10 minutes' END,
       pg_temp.at(i) + interval '1 day 1 minute'
FROM generate_series(1, ROWS) AS n(i);

INSERT INTO token_blacklist_blacklistedtoken (blacklisted_at, token_id)
SELECT CASE WHEN pg_temp.old(i) THEN pg_temp.at(i + STEP + 1) ELSE pg_temp.at(i) + interval '10 minutes' END, i
FROM generate_series(1, ROWS) AS n(i) WHERE pg_temp.old(i) OR pg_temp.off(i) ORDER BY 1;

INSERT INTO simplejwt_session (id, user_id, created_at, last_used_at, address, user_agent, ended_at, ended_reason, keep_until)
SELECT pg_temp.uuid(pg_temp.session(i)), pg_temp.person(pg_temp.session(i)), pg_temp.at(i - i % 5 * (STEP + 1)), pg_temp.at(i),
       '203.0.113.' || i % 250, 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0',
       CASE WHEN pg_temp.off(i) THEN pg_temp.at(i) + interval '10 minutes' END, CASE WHEN pg_temp.off(i) THEN 'blacklisted' END,
       pg_temp.at(i) + interval '1 day 1 minute'
FROM generate_series(1, ROWS) AS n(i) WHERE NOT pg_temp.old(i) ORDER BY 1;

-- One in ten asked twice for the successor of its token.
INSERT INTO simplejwt_event (at, action, target, user_id, session_id, reason, who, via, address)
SELECT pg_temp.at(i), CASE WHEN pg_temp.off(i) THEN 'blacklist' ELSE 'refresh_retry' END, md5(i::text),
       pg_temp.person(pg_temp.session(i)), pg_temp.uuid(pg_temp.session(i)), CASE WHEN pg_temp.off(i) THEN 'lost phone' END,
       CASE WHEN pg_temp.off(i) THEN 'user:1' ELSE 'token' END, CASE WHEN pg_temp.off(i) THEN 'admin' ELSE 'http' END,
       '203.0.113.' || i % 250
FROM generate_series(1, ROWS) AS n(i) WHERE pg_temp.off(i) OR i % 10 = 3 ORDER BY i;
