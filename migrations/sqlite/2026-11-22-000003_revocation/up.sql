-- What changed, in the order of the commits: a row says of which token, session or cutoff, and not what is so now. Whoever
-- reads it asks the tables. Fed by the triggers of this step, so that nobody's change is missed; only our flush deletes from it.
-- AUTOINCREMENT: with one writer at a time that is the order of the commits, and no number comes twice.
CREATE TABLE simplejwt_revocation (
    seq integer NOT NULL PRIMARY KEY AUTOINCREMENT,
    token_id bigint NULL,
    -- Filled in when the outstanding row goes; until then it says so itself.
    jti varchar(255) NULL,
    session_id varchar(36) NULL,
    cutoff_id bigint NULL,
    expires_at datetime NULL,
    -- The token was taken off the blacklist.
    removed boolean NOT NULL,
    at datetime NOT NULL
);

CREATE INDEX simplejwt_revocation_token_id ON simplejwt_revocation (token_id);
-- In most rows there is none.
CREATE INDEX simplejwt_revocation_jti ON simplejwt_revocation (jti) WHERE jti IS NOT NULL;

-- One row. Another generation, or more pruned than a reader has read: it has to load everything anew.
CREATE TABLE simplejwt_revocation_state (
    id integer NOT NULL PRIMARY KEY CHECK (id = 1),
    generation varchar(32) NOT NULL,
    pruned_through bigint NOT NULL
);

INSERT INTO simplejwt_revocation_state (id, generation, pruned_through) VALUES (1, lower(hex(randomblob(16))), 0);

-- Every session that began no later than not_before is over: of a user, or of everybody.
CREATE TABLE simplejwt_cutoff (
    id integer NOT NULL PRIMARY KEY AUTOINCREMENT,
    user_id text NULL,
    not_before datetime NOT NULL,
    keep_until datetime NOT NULL,
    reason text NULL
);

CREATE INDEX simplejwt_cutoff_keep_until ON simplejwt_cutoff (keep_until, id);
CREATE INDEX simplejwt_cutoff_user_id ON simplejwt_cutoff (user_id, not_before);
