-- simplejwt's own two tables, name for name and column for column, so that a Django project can share this database.
-- Where Django has made them already, this step is left out.
-- The type of user_id, between the two marks, is what `migrate --user-key` replaces.
CREATE TABLE token_blacklist_outstandingtoken (
    id integer NOT NULL PRIMARY KEY AUTOINCREMENT,
    token text NOT NULL,
    created_at datetime NULL,
    expires_at datetime NOT NULL,
    user_id /*user key*/text/*user key*/ NULL,
    jti varchar(255) NOT NULL UNIQUE
);

CREATE TABLE token_blacklist_blacklistedtoken (
    id integer NOT NULL PRIMARY KEY AUTOINCREMENT,
    blacklisted_at datetime NOT NULL,
    token_id bigint NOT NULL UNIQUE
        REFERENCES token_blacklist_outstandingtoken (id) DEFERRABLE INITIALLY DEFERRED
);

CREATE INDEX token_blacklist_outstandingtoken_user_id_83bc629a ON token_blacklist_outstandingtoken (user_id);

CREATE INDEX simplejwt_outstandingtoken_expires_at ON token_blacklist_outstandingtoken (expires_at);
