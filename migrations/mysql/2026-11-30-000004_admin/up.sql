-- What the admin in a browser remembers.

-- Who is signed in. The key is a digest of what the browser's cookie holds; the login itself is a row of simplejwt_session, so that
-- whatever ends the sessions of a user ends this too.
CREATE TABLE IF NOT EXISTS simplejwt_admin_session (
    digest varchar(64) NOT NULL PRIMARY KEY,
    session_id varchar(36) NOT NULL,
    user_id varchar(500) NOT NULL,
    claim mediumtext NOT NULL,
    username mediumtext NOT NULL,
    password_digest varchar(255) NULL,
    seen_at datetime(6) NOT NULL,
    confirmed_at datetime(6) NOT NULL,
    ends_at datetime(6) NOT NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 /*M!100202 COLLATE utf8mb4_nopad_bin*//*!80017 COLLATE utf8mb4_0900_bin*/;

-- Built-in users who are staff and may look at everything, but change nothing.
CREATE TABLE IF NOT EXISTS simplejwt_viewer (
    user_id bigint NOT NULL PRIMARY KEY
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 /*M!100202 COLLATE utf8mb4_nopad_bin*//*!80017 COLLATE utf8mb4_0900_bin*/;

-- What was issued and revoked in each hour, counted by the processes that did it.
CREATE TABLE IF NOT EXISTS simplejwt_hour (
    hour datetime(6) NOT NULL PRIMARY KEY,
    issued bigint NOT NULL,
    revoked bigint NOT NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 /*M!100202 COLLATE utf8mb4_nopad_bin*//*!80017 COLLATE utf8mb4_0900_bin*/;

-- How many tokens there were when they were counted last. One row.
CREATE TABLE IF NOT EXISTS simplejwt_census (
    id bigint NOT NULL PRIMARY KEY,
    counted_at datetime(6) NOT NULL,
    took_millis bigint NOT NULL,
    live bigint NOT NULL,
    superseded bigint NOT NULL,
    blacklisted bigint NOT NULL,
    expired bigint NOT NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 /*M!100202 COLLATE utf8mb4_nopad_bin*//*!80017 COLLATE utf8mb4_0900_bin*/;
