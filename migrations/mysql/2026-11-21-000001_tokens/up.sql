-- simplejwt's own two tables, name for name and column for column, so that a Django project can share this database.
-- Where Django has made them already, this step is left out.
-- The type of user_id, between the two marks, is what `migrate --user-key` replaces.
-- jti is compared byte for byte; the collation that a database has otherwise takes AbC for abc, and utf8mb4_bin 'abc ' for abc. The one
-- that is exact has another name on MariaDB than on MySQL, and each reads only what is written for it.
-- Tables cannot be made within a transaction here, so that a step which was interrupted has to be taken anew.
CREATE TABLE IF NOT EXISTS token_blacklist_outstandingtoken (
    id bigint NOT NULL AUTO_INCREMENT PRIMARY KEY,
    token longtext NOT NULL,
    created_at datetime(6) NULL,
    expires_at datetime(6) NOT NULL,
    user_id /*user key*/text/*user key*/ NULL,
    jti varchar(255) CHARACTER SET utf8mb4 /*M!100202 COLLATE utf8mb4_nopad_bin*//*!80017 COLLATE utf8mb4_0900_bin*/ NOT NULL,
    UNIQUE KEY token_blacklist_outstandingtoken_jti_hex_d9bdf6f7_uniq (jti),
    KEY token_blacklist_outstandingtoken_user_id_83bc629a (user_id),
    KEY simplejwt_outstandingtoken_expires_at (expires_at)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4;

CREATE TABLE IF NOT EXISTS token_blacklist_blacklistedtoken (
    id bigint NOT NULL AUTO_INCREMENT PRIMARY KEY,
    blacklisted_at datetime(6) NOT NULL,
    token_id bigint NOT NULL,
    UNIQUE KEY token_id (token_id),
    CONSTRAINT token_blacklist_blacklistedtoken_token_id_3cc7fe56_fk
        FOREIGN KEY (token_id) REFERENCES token_blacklist_outstandingtoken (id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4;
