-- What simplejwt does not remember. Keyed by jti, without a foreign key into the two tables above: rows there may be
-- deleted by Django at expires_at, and what is known of a token must outlive that.

-- A login, and all the tokens that descend from it.
CREATE TABLE simplejwt_session (
    id varchar(36) NOT NULL PRIMARY KEY,
    user_id text NULL,
    created_at datetime NOT NULL,
    last_used_at datetime NOT NULL,
    address text NULL,
    user_agent varchar(255) NULL,
    absolute_end datetime NULL,
    ended_at datetime NULL,
    ended_reason text NULL,
    ended_by varchar(255) NULL,
    keep_until datetime NOT NULL
);

CREATE INDEX simplejwt_session_user_id ON simplejwt_session (user_id, id);
CREATE INDEX simplejwt_session_keep_until ON simplejwt_session (keep_until, id);

-- What is known of a token beside its outstanding row.
CREATE TABLE simplejwt_token (
    jti varchar(255) NOT NULL PRIMARY KEY,
    kind varchar(16) NULL,
    session_id varchar(36) NULL,
    parent varchar(255) NULL,
    superseded_at datetime NULL,
    successor varchar(255) NULL,
    revoked_at datetime NULL,
    claims text NULL,
    keep_until datetime NOT NULL
);

-- The second column lets the check of a session skip all the tokens that it has rotated away.
CREATE INDEX simplejwt_token_session_id ON simplejwt_token (session_id, superseded_at);
CREATE INDEX simplejwt_token_keep_until ON simplejwt_token (keep_until, jti);

-- AUTOINCREMENT: the id of a removed user is never given to another one.
CREATE TABLE simplejwt_user (
    id integer NOT NULL PRIMARY KEY AUTOINCREMENT,
    username varchar(150) NOT NULL UNIQUE,
    email varchar(254) NULL UNIQUE,
    password varchar(255) NOT NULL,
    is_active boolean NOT NULL,
    is_staff boolean NOT NULL,
    last_login datetime NULL,
    created_at datetime NOT NULL,
    password_changed_at datetime NOT NULL
);

-- Who did what to which token, session or user, and why; and whether that has been delivered to the webhook (0 not yet, 1 yes, 2 given
-- up), how often it was tried, and not before when it is tried next.
CREATE TABLE simplejwt_event (
    id integer NOT NULL PRIMARY KEY AUTOINCREMENT,
    at datetime NOT NULL,
    action varchar(32) NOT NULL,
    target varchar(512) NOT NULL,
    user_id text NULL,
    session_id varchar(36) NULL,
    reason text NULL,
    who text NOT NULL,
    via varchar(16) NOT NULL,
    address text NULL,
    delivery smallint NOT NULL DEFAULT 0,
    attempts smallint NOT NULL DEFAULT 0,
    due_at datetime NULL
);

CREATE INDEX simplejwt_event_target ON simplejwt_event (target);
CREATE INDEX simplejwt_event_at ON simplejwt_event (at);
CREATE INDEX simplejwt_event_delivery ON simplejwt_event (delivery, action, at);
CREATE INDEX simplejwt_event_action ON simplejwt_event (action, id);
CREATE INDEX simplejwt_event_user_id ON simplejwt_event (user_id);
CREATE INDEX simplejwt_event_session_id ON simplejwt_event (session_id);

-- The runs of flushexpiredtokens. One without finished_at is at work, unless its heartbeat has stopped.
CREATE TABLE simplejwt_flush_run (
    id integer NOT NULL PRIMARY KEY AUTOINCREMENT,
    started_at datetime NOT NULL,
    heartbeat_at datetime NOT NULL,
    finished_at datetime NULL,
    outcome varchar(16) NULL,
    as_of datetime NOT NULL,
    outstanding bigint NOT NULL,
    blacklisted bigint NOT NULL,
    tokens bigint NOT NULL,
    sessions bigint NOT NULL,
    events bigint NOT NULL
);
