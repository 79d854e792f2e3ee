-- What changed, in the order of the commits: a row says of which token, session or cutoff, and not what is so now. Whoever
-- reads it asks the tables. Only our flush deletes from it.
CREATE TABLE IF NOT EXISTS simplejwt_revocation (
    seq bigint NOT NULL PRIMARY KEY,
    token_id bigint NULL,
    jti varchar(255) NULL,
    session_id varchar(36) NULL,
    cutoff_id bigint NULL,
    expires_at datetime(6) NULL,
    -- The token was taken off the blacklist.
    removed boolean NOT NULL,
    at datetime(6) NOT NULL,
    KEY simplejwt_revocation_token_id (token_id),
    KEY simplejwt_revocation_jti (jti)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 /*M!100202 COLLATE utf8mb4_nopad_bin*//*!80017 COLLATE utf8mb4_0900_bin*/;

-- What the triggers of this step write, without a lock, so that nobody's slow transaction holds up another one. Committed rows
-- are moved to the log by whichever process of ours comes first; until then they are read here.
CREATE TABLE IF NOT EXISTS simplejwt_inbox (
    id bigint NOT NULL AUTO_INCREMENT PRIMARY KEY,
    token_id bigint NULL,
    jti varchar(255) NULL,
    session_id varchar(36) NULL,
    cutoff_id bigint NULL,
    expires_at datetime(6) NULL,
    removed boolean NOT NULL,
    at datetime(6) NOT NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 /*M!100202 COLLATE utf8mb4_nopad_bin*//*!80017 COLLATE utf8mb4_0900_bin*/;

-- One row. Another generation, or more pruned than a reader has read: it has to load everything anew.
CREATE TABLE IF NOT EXISTS simplejwt_revocation_state (
    id integer NOT NULL PRIMARY KEY,
    generation varchar(32) NOT NULL,
    pruned_through bigint NOT NULL,
    seq bigint NOT NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 /*M!100202 COLLATE utf8mb4_nopad_bin*//*!80017 COLLATE utf8mb4_0900_bin*/;

INSERT IGNORE INTO simplejwt_revocation_state (id, generation, pruned_through, seq) VALUES (1, REPLACE(UUID(), '-', ''), 0, 0);

-- Every session that began no later than not_before is over: of a user, or of everybody.
CREATE TABLE IF NOT EXISTS simplejwt_cutoff (
    id bigint NOT NULL AUTO_INCREMENT PRIMARY KEY,
    user_id varchar(500) NULL,
    not_before datetime(6) NOT NULL,
    keep_until datetime(6) NOT NULL,
    reason mediumtext NULL,
    KEY simplejwt_cutoff_keep_until (keep_until, id),
    KEY simplejwt_cutoff_user_id (user_id, not_before)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 /*M!100202 COLLATE utf8mb4_nopad_bin*//*!80017 COLLATE utf8mb4_0900_bin*/;
