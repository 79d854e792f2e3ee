-- What simplejwt does not remember. Keyed by jti, without a foreign key into the two tables above: rows there may be
-- deleted by Django at expires_at, and what is known of a token must outlive that.
-- Texts are compared byte for byte.

-- A login, and all the tokens that descend from it.
CREATE TABLE IF NOT EXISTS simplejwt_session (
    id varchar(36) NOT NULL PRIMARY KEY,
    user_id varchar(500) NULL,
    created_at datetime(6) NOT NULL,
    last_used_at datetime(6) NOT NULL,
    address text NULL,
    user_agent varchar(255) NULL,
    absolute_end datetime(6) NULL,
    ended_at datetime(6) NULL,
    ended_reason mediumtext NULL,
    ended_by varchar(255) NULL,
    keep_until datetime(6) NOT NULL,
    KEY simplejwt_session_user_id (user_id),
    KEY simplejwt_session_keep_until (keep_until, id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 /*M!100202 COLLATE utf8mb4_nopad_bin*//*!80017 COLLATE utf8mb4_0900_bin*/;

-- What is known of a token beside its outstanding row.
-- The second column of the first key lets the check of a session skip all the tokens that it has rotated away.
CREATE TABLE IF NOT EXISTS simplejwt_token (
    jti varchar(255) NOT NULL PRIMARY KEY,
    kind varchar(16) NULL,
    session_id varchar(36) NULL,
    parent varchar(255) NULL,
    superseded_at datetime(6) NULL,
    successor varchar(255) NULL,
    revoked_at datetime(6) NULL,
    claims longtext NULL,
    keep_until datetime(6) NOT NULL,
    KEY simplejwt_token_session_id (session_id, superseded_at),
    KEY simplejwt_token_keep_until (keep_until, jti)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 /*M!100202 COLLATE utf8mb4_nopad_bin*//*!80017 COLLATE utf8mb4_0900_bin*/;

-- The id of a removed user is never given to another one.
CREATE TABLE IF NOT EXISTS simplejwt_user (
    id bigint NOT NULL AUTO_INCREMENT PRIMARY KEY,
    username varchar(150) NOT NULL,
    email varchar(254) NULL,
    password varchar(255) NOT NULL,
    is_active boolean NOT NULL,
    is_staff boolean NOT NULL,
    last_login datetime(6) NULL,
    created_at datetime(6) NOT NULL,
    password_changed_at datetime(6) NOT NULL,
    UNIQUE KEY simplejwt_user_username (username),
    UNIQUE KEY simplejwt_user_email (email)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 /*M!100202 COLLATE utf8mb4_nopad_bin*//*!80017 COLLATE utf8mb4_0900_bin*/;

-- Who did what to which token, session or user, and why; and whether that has been delivered to the webhook (0 not yet, 1 yes, 2 given
-- up), how often it was tried, and not before when it is tried next.
CREATE TABLE IF NOT EXISTS simplejwt_event (
    id bigint NOT NULL AUTO_INCREMENT PRIMARY KEY,
    at datetime(6) NOT NULL,
    action varchar(32) NOT NULL,
    target varchar(512) NOT NULL,
    user_id varchar(500) NULL,
    session_id varchar(36) NULL,
    reason mediumtext NULL,
    who text NOT NULL,
    via varchar(16) NOT NULL,
    address text NULL,
    delivery smallint NOT NULL DEFAULT 0,
    attempts smallint NOT NULL DEFAULT 0,
    due_at datetime(6) NULL,
    KEY simplejwt_event_target (target),
    KEY simplejwt_event_at (at),
    KEY simplejwt_event_delivery (delivery, action, at),
    KEY simplejwt_event_action (action),
    KEY simplejwt_event_user_id (user_id),
    KEY simplejwt_event_session_id (session_id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 /*M!100202 COLLATE utf8mb4_nopad_bin*//*!80017 COLLATE utf8mb4_0900_bin*/;

-- The runs of flushexpiredtokens. One without finished_at is at work, unless its heartbeat has stopped.
CREATE TABLE IF NOT EXISTS simplejwt_flush_run (
    id bigint NOT NULL AUTO_INCREMENT PRIMARY KEY,
    started_at datetime(6) NOT NULL,
    heartbeat_at datetime(6) NOT NULL,
    finished_at datetime(6) NULL,
    outcome varchar(16) NULL,
    as_of datetime(6) NOT NULL,
    outstanding bigint NOT NULL,
    blacklisted bigint NOT NULL,
    tokens bigint NOT NULL,
    sessions bigint NOT NULL,
    events bigint NOT NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 /*M!100202 COLLATE utf8mb4_nopad_bin*//*!80017 COLLATE utf8mb4_0900_bin*/;
