-- What the admin in a browser remembers.

-- Who is signed in. The key is a digest of what the browser's cookie holds; the login itself is a row of simplejwt_session, so that
-- whatever ends the sessions of a user ends this too.
CREATE TABLE simplejwt_admin_session (
    digest varchar(64) NOT NULL PRIMARY KEY,
    session_id varchar(36) NOT NULL,
    user_id varchar(500) NOT NULL,
    claim text NOT NULL,
    username text NOT NULL,
    password_digest varchar(255) NULL,
    seen_at timestamp with time zone NOT NULL,
    confirmed_at timestamp with time zone NOT NULL,
    ends_at timestamp with time zone NOT NULL
);

-- Built-in users who are staff and may look at everything, but change nothing.
CREATE TABLE simplejwt_viewer (
    user_id bigint NOT NULL PRIMARY KEY
);

-- What was issued and revoked in each hour, counted by the processes that did it.
CREATE TABLE simplejwt_hour (
    hour timestamp with time zone NOT NULL PRIMARY KEY,
    issued bigint NOT NULL,
    revoked bigint NOT NULL
);

-- How many tokens there were when they were counted last. One row.
CREATE TABLE simplejwt_census (
    id bigint NOT NULL PRIMARY KEY,
    counted_at timestamp with time zone NOT NULL,
    took_millis bigint NOT NULL,
    live bigint NOT NULL,
    superseded bigint NOT NULL,
    blacklisted bigint NOT NULL,
    expired bigint NOT NULL
);
