-- What feeds the log. Each part begins with a line that names it, so that one that was lost can be made again by itself.
-- The triggers have the rights of whoever made them, and the mode below: what Django could write into its own table must not
-- fail here. SELECT ... INTO takes no lock. One that is there already is left over from a run that was interrupted.
-- Of a variable and a column it is the column that says how they are compared, as its collation is the binary one.
-- A row that a rotation writes stands for no revocation. Only our own connections rotate, and say so in a variable: to look at
-- thousands of rows of somebody else's would take a third of the time that the triggers take. Without it, a row too many is
-- in the log.
-- part before
SET @simplejwt_sql_mode = @@SESSION.sql_mode;
SET SESSION sql_mode = '';
-- part trigger simplejwt_blacklisted_insert on token_blacklist_blacklistedtoken
DROP TRIGGER IF EXISTS simplejwt_blacklisted_insert;
CREATE TRIGGER simplejwt_blacklisted_insert AFTER INSERT ON token_blacklist_blacklistedtoken FOR EACH ROW
BEGIN
    DECLARE its_jti varchar(255) CHARACTER SET utf8mb4;
    DECLARE its_expiry datetime(6);
    DECLARE replaced bigint DEFAULT 0;
    SELECT jti, expires_at INTO its_jti, its_expiry FROM token_blacklist_outstandingtoken WHERE id = NEW.token_id;
    IF @simplejwt_rotates IS NOT NULL THEN
        SELECT count(*) INTO replaced FROM simplejwt_token
        WHERE jti = its_jti AND superseded_at IS NOT NULL AND revoked_at IS NULL;
    END IF;
    IF replaced = 0 THEN
        INSERT INTO simplejwt_inbox (token_id, jti, expires_at, removed, at)
        VALUES (NEW.token_id, its_jti, its_expiry, false, UTC_TIMESTAMP(6));
    END IF;
END;
-- part trigger simplejwt_blacklisted_update on token_blacklist_blacklistedtoken
DROP TRIGGER IF EXISTS simplejwt_blacklisted_update;
CREATE TRIGGER simplejwt_blacklisted_update AFTER UPDATE ON token_blacklist_blacklistedtoken FOR EACH ROW
BEGIN
    DECLARE its_jti varchar(255) CHARACTER SET utf8mb4;
    DECLARE its_expiry datetime(6);
    IF OLD.token_id <> NEW.token_id THEN
        SELECT jti, expires_at INTO its_jti, its_expiry FROM token_blacklist_outstandingtoken WHERE id = OLD.token_id;
        INSERT INTO simplejwt_inbox (token_id, jti, expires_at, removed, at)
        VALUES (OLD.token_id, its_jti, its_expiry, true, UTC_TIMESTAMP(6));
    END IF;
    SELECT jti, expires_at INTO its_jti, its_expiry FROM token_blacklist_outstandingtoken WHERE id = NEW.token_id;
    INSERT INTO simplejwt_inbox (token_id, jti, expires_at, removed, at)
    VALUES (NEW.token_id, its_jti, its_expiry, false, UTC_TIMESTAMP(6));
END;
-- part trigger simplejwt_blacklisted_delete on token_blacklist_blacklistedtoken
DROP TRIGGER IF EXISTS simplejwt_blacklisted_delete;
CREATE TRIGGER simplejwt_blacklisted_delete AFTER DELETE ON token_blacklist_blacklistedtoken FOR EACH ROW
BEGIN
    DECLARE its_jti varchar(255) CHARACTER SET utf8mb4;
    DECLARE its_expiry datetime(6);
    DECLARE replaced bigint;
    SELECT jti, expires_at INTO its_jti, its_expiry FROM token_blacklist_outstandingtoken WHERE id = OLD.token_id;
    IF its_expiry IS NULL OR its_expiry > UTC_TIMESTAMP(6) THEN
        SELECT count(*) INTO replaced FROM simplejwt_token
        WHERE jti = its_jti AND superseded_at IS NOT NULL AND revoked_at IS NULL;
        IF replaced = 0 THEN
            INSERT INTO simplejwt_inbox (token_id, jti, expires_at, removed, at)
            VALUES (OLD.token_id, its_jti, its_expiry, true, UTC_TIMESTAMP(6));
        END IF;
    END IF;
END;
-- part trigger simplejwt_session_insert on simplejwt_session
DROP TRIGGER IF EXISTS simplejwt_session_insert;
CREATE TRIGGER simplejwt_session_insert AFTER INSERT ON simplejwt_session FOR EACH ROW
BEGIN
    IF NEW.ended_at IS NOT NULL THEN
        INSERT INTO simplejwt_inbox (session_id, removed, at) VALUES (NEW.id, false, UTC_TIMESTAMP(6));
    END IF;
END;
-- part trigger simplejwt_session_update on simplejwt_session
DROP TRIGGER IF EXISTS simplejwt_session_update;
CREATE TRIGGER simplejwt_session_update AFTER UPDATE ON simplejwt_session FOR EACH ROW
BEGIN
    IF NOT (NEW.ended_at <=> OLD.ended_at) OR NEW.ended_at IS NOT NULL AND NEW.keep_until > OLD.keep_until THEN
        INSERT INTO simplejwt_inbox (session_id, removed, at) VALUES (NEW.id, false, UTC_TIMESTAMP(6));
    END IF;
END;
-- part trigger simplejwt_cutoff_insert on simplejwt_cutoff
DROP TRIGGER IF EXISTS simplejwt_cutoff_insert;
CREATE TRIGGER simplejwt_cutoff_insert AFTER INSERT ON simplejwt_cutoff FOR EACH ROW
BEGIN
    INSERT INTO simplejwt_inbox (cutoff_id, removed, at) VALUES (NEW.id, false, UTC_TIMESTAMP(6));
END;
-- part trigger simplejwt_cutoff_update on simplejwt_cutoff
DROP TRIGGER IF EXISTS simplejwt_cutoff_update;
CREATE TRIGGER simplejwt_cutoff_update AFTER UPDATE ON simplejwt_cutoff FOR EACH ROW
BEGIN
    INSERT INTO simplejwt_inbox (cutoff_id, removed, at) VALUES (NEW.id, false, UTC_TIMESTAMP(6));
END;
-- part after
SET SESSION sql_mode = @simplejwt_sql_mode;
-- part catch-up
INSERT INTO simplejwt_inbox (token_id, jti, expires_at, removed, at)
SELECT listed.token_id, token.jti, token.expires_at, false, UTC_TIMESTAMP(6)
FROM token_blacklist_blacklistedtoken AS listed
JOIN token_blacklist_outstandingtoken AS token ON token.id = listed.token_id
-- Two binary collations do not go together, and Django's may be another one than ours.
LEFT JOIN simplejwt_token AS facts ON facts.jti = CONVERT(token.jti USING utf8mb4)
WHERE (facts.superseded_at IS NULL OR facts.revoked_at IS NOT NULL)
    AND NOT EXISTS (SELECT 1 FROM simplejwt_revocation AS known WHERE known.token_id = listed.token_id);
UPDATE simplejwt_revocation_state SET generation = REPLACE(UUID(), '-', '');
