-- What feeds the log. Each part begins with a line that names it, so that one that was lost can be made again by itself.
-- The triggers are deferred: they run within COMMIT, so that the lock that makes the numbers the order of the commits is held
-- for as long as a commit takes, and not through the rest of somebody else's transaction. They have the rights of whoever made
-- them, and look nowhere but where our tables and Django's are.
-- part function simplejwt_log_row
CREATE OR REPLACE FUNCTION simplejwt_log_row(
    the_token bigint, its_jti varchar, the_session varchar, the_cutoff bigint, its_expiry timestamp with time zone,
    is_removed boolean
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    -- Not PERFORM, which would make a query of it.
    IF pg_advisory_xact_lock(hashtext('simplejwt.revocation')) IS NOT NULL THEN
        INSERT INTO simplejwt_revocation (seq, token_id, jti, session_id, cutoff_id, expires_at, removed, at)
        VALUES (nextval('simplejwt_revocation_seq'), the_token, its_jti, the_session, the_cutoff, its_expiry, is_removed,
            clock_timestamp());
    END IF;
END $$;
-- part function simplejwt_log_token
CREATE OR REPLACE FUNCTION simplejwt_log_token(the_token bigint, is_removed boolean) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    its_jti varchar;
    its_expiry timestamp with time zone;
BEGIN
    SELECT o.jti, o.expires_at INTO its_jti, its_expiry FROM token_blacklist_outstandingtoken AS o WHERE o.id = the_token;
    IF its_jti IS NULL THEN
        -- At commit the outstanding row may be gone too. Who deletes what has expired takes nothing back, and his clock may be
        -- ahead of ours. Of what was never in the log there is nothing to take back.
        SELECT r.jti, r.expires_at INTO its_jti, its_expiry FROM simplejwt_revocation AS r
        WHERE r.token_id = the_token AND r.jti IS NOT NULL ORDER BY r.seq DESC LIMIT 1;
        IF is_removed AND (its_jti IS NULL OR its_expiry <= clock_timestamp() + interval '60 seconds') THEN
            RETURN;
        END IF;
    ELSIF is_removed THEN
        -- The token itself stays: it is this that was meant, whenever it expires.
        its_expiry := NULL;
    END IF;
    -- What a rotation of ours replaced is a refresh token that nobody revoked.
    IF EXISTS (SELECT 1 FROM simplejwt_token AS t
        WHERE t.jti = its_jti AND t.superseded_at IS NOT NULL AND t.revoked_at IS NULL)
    THEN
        RETURN;
    END IF;
    PERFORM simplejwt_log_row(the_token, its_jti, NULL, NULL, its_expiry, is_removed);
END $$;
-- part function simplejwt_on_blacklisted
-- Somebody may insert a hundred thousand rows in one transaction: of what is usual as much as can be is done in one statement.
CREATE OR REPLACE FUNCTION simplejwt_on_blacklisted() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        -- A row that a rotation writes stands for no revocation. Only our own connections rotate, and say so. Without it, a row too
        -- many is in the log.
        IF COALESCE(current_setting('simplejwt.rotates', true), '') <> '' THEN
            PERFORM FROM token_blacklist_outstandingtoken AS o JOIN simplejwt_token AS t ON t.jti = o.jti
            WHERE o.id = NEW.token_id AND t.superseded_at IS NOT NULL AND t.revoked_at IS NULL;
            IF FOUND THEN
                RETURN NULL;
            END IF;
        END IF;
        IF pg_advisory_xact_lock(hashtext('simplejwt.revocation')) IS NOT NULL THEN
            INSERT INTO simplejwt_revocation (seq, token_id, jti, expires_at, removed, at)
            SELECT nextval('simplejwt_revocation_seq'), o.id, o.jti, o.expires_at, false, clock_timestamp()
            FROM token_blacklist_outstandingtoken AS o WHERE o.id = NEW.token_id;
            IF FOUND THEN
                RETURN NULL;
            END IF;
        END IF;
    END IF;
    IF TG_OP = 'DELETE' THEN
        PERFORM simplejwt_log_token(OLD.token_id, true);
    ELSE
        IF TG_OP = 'UPDATE' THEN
            IF OLD.token_id <> NEW.token_id THEN
                PERFORM simplejwt_log_token(OLD.token_id, true);
            END IF;
        END IF;
        PERFORM simplejwt_log_token(NEW.token_id, false);
    END IF;
    RETURN NULL;
END $$;
-- part function simplejwt_on_session
CREATE OR REPLACE FUNCTION simplejwt_on_session() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    PERFORM simplejwt_log_row(NULL, NULL, NEW.id, NULL, NULL, false);
    RETURN NULL;
END $$;
-- part function simplejwt_on_cutoff
CREATE OR REPLACE FUNCTION simplejwt_on_cutoff() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    PERFORM simplejwt_log_row(NULL, NULL, NULL, NEW.id, NULL, false);
    RETURN NULL;
END $$;
-- part function simplejwt_on_truncate
CREATE OR REPLACE FUNCTION simplejwt_on_truncate() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    -- There are no rows to speak of: everybody has to load anew.
    UPDATE simplejwt_revocation_state SET generation = md5(random()::text || clock_timestamp()::text || pg_backend_pid()::text);
    RETURN NULL;
END $$;
-- part trigger simplejwt_blacklisted on token_blacklist_blacklistedtoken calls simplejwt_on_blacklisted
-- It names no column: Django could not change the type of one that a trigger names.
CREATE CONSTRAINT TRIGGER simplejwt_blacklisted
    AFTER INSERT OR DELETE OR UPDATE ON token_blacklist_blacklistedtoken
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION simplejwt_on_blacklisted();
-- part trigger simplejwt_blacklisted_truncate on token_blacklist_blacklistedtoken calls simplejwt_on_truncate
CREATE TRIGGER simplejwt_blacklisted_truncate
    AFTER TRUNCATE ON token_blacklist_blacklistedtoken
    FOR EACH STATEMENT EXECUTE FUNCTION simplejwt_on_truncate();
-- part trigger simplejwt_session_insert on simplejwt_session calls simplejwt_on_session
CREATE CONSTRAINT TRIGGER simplejwt_session_insert
    AFTER INSERT ON simplejwt_session
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.ended_at IS NOT NULL) EXECUTE FUNCTION simplejwt_on_session();
-- part trigger simplejwt_session_update on simplejwt_session calls simplejwt_on_session
CREATE CONSTRAINT TRIGGER simplejwt_session_update
    AFTER UPDATE ON simplejwt_session
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    WHEN (NEW.ended_at IS DISTINCT FROM OLD.ended_at OR (NEW.ended_at IS NOT NULL AND NEW.keep_until > OLD.keep_until))
    EXECUTE FUNCTION simplejwt_on_session();
-- part trigger simplejwt_cutoff_change on simplejwt_cutoff calls simplejwt_on_cutoff
CREATE CONSTRAINT TRIGGER simplejwt_cutoff_change
    AFTER INSERT OR UPDATE ON simplejwt_cutoff
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION simplejwt_on_cutoff();
-- part catch-up
DO $$
DECLARE
    places text;
    it record;
BEGIN
    SELECT format('%I, %s, pg_temp', current_schema(), relnamespace::regnamespace) INTO places
    FROM pg_class WHERE oid = 'token_blacklist_blacklistedtoken'::regclass;
    FOR it IN VALUES ('blacklisted'), ('session'), ('cutoff'), ('truncate') LOOP
        EXECUTE format('ALTER FUNCTION %I() SET search_path = %s', 'simplejwt_on_' || it.column1, places);
        -- To fire a trigger takes no right; to put the function on a table of one's own would.
        EXECUTE format('REVOKE ALL ON FUNCTION %I() FROM PUBLIC', 'simplejwt_on_' || it.column1);
    END LOOP;
    -- Also for what arrives by replication. Only the owner of a table may say so.
    FOR it IN SELECT tgrelid::regclass AS place, tgname FROM pg_trigger
        WHERE tgname LIKE 'simplejwt\_%' AND tgenabled <> 'A' AND tgrelid IN ('token_blacklist_blacklistedtoken'::regclass,
            'simplejwt_session'::regclass, 'simplejwt_cutoff'::regclass)
    LOOP
        BEGIN
            EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER %I', it.place, it.tgname);
        EXCEPTION WHEN insufficient_privilege THEN
            NULL;
        END;
    END LOOP;
    -- Before anything is read, so that whatever came before us is seen.
    PERFORM pg_advisory_xact_lock(hashtext('simplejwt.revocation'));
END $$;
INSERT INTO simplejwt_revocation (seq, token_id, jti, expires_at, removed, at)
SELECT nextval('simplejwt_revocation_seq'), listed.token_id, token.jti, token.expires_at, false, clock_timestamp()
FROM token_blacklist_blacklistedtoken AS listed
JOIN token_blacklist_outstandingtoken AS token ON token.id = listed.token_id
LEFT JOIN simplejwt_token AS facts ON facts.jti = token.jti
WHERE (facts.superseded_at IS NULL OR facts.revoked_at IS NOT NULL)
    AND NOT EXISTS (SELECT 1 FROM simplejwt_revocation AS known WHERE known.token_id = listed.token_id);
UPDATE simplejwt_revocation_state SET generation = md5(random()::text || clock_timestamp()::text || pg_backend_pid()::text);
