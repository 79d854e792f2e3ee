-- What feeds the log. Each part begins with a line that names it, so that one that was lost can be made again by itself.
-- No trigger may name a table of Django's but the one that it is on: Django makes its tables anew when a column of theirs
-- changes, and the renaming at the end of that fails over any trigger that names the table.
-- part trigger simplejwt_blacklisted_insert on token_blacklist_blacklistedtoken
CREATE TRIGGER simplejwt_blacklisted_insert AFTER INSERT ON token_blacklist_blacklistedtoken
BEGIN
    INSERT INTO simplejwt_revocation (token_id, removed, at)
    VALUES (NEW.token_id, 0, strftime('%Y-%m-%d %H:%M:%f', 'now'));
END;
-- part trigger simplejwt_blacklisted_update on token_blacklist_blacklistedtoken
CREATE TRIGGER simplejwt_blacklisted_update AFTER UPDATE OF token_id ON token_blacklist_blacklistedtoken
BEGIN
    INSERT INTO simplejwt_revocation (token_id, removed, at)
    SELECT OLD.token_id, 1, strftime('%Y-%m-%d %H:%M:%f', 'now') WHERE OLD.token_id <> NEW.token_id;
    INSERT INTO simplejwt_revocation (token_id, removed, at)
    VALUES (NEW.token_id, 0, strftime('%Y-%m-%d %H:%M:%f', 'now'));
END;
-- part trigger simplejwt_blacklisted_delete on token_blacklist_blacklistedtoken
CREATE TRIGGER simplejwt_blacklisted_delete AFTER DELETE ON token_blacklist_blacklistedtoken
BEGIN
    INSERT INTO simplejwt_revocation (token_id, removed, at)
    VALUES (OLD.token_id, 1, strftime('%Y-%m-%d %H:%M:%f', 'now'));
END;
-- part trigger simplejwt_outstanding_delete on token_blacklist_outstandingtoken
CREATE TRIGGER simplejwt_outstanding_delete AFTER DELETE ON token_blacklist_outstandingtoken
BEGIN
    UPDATE simplejwt_revocation SET jti = OLD.jti, expires_at = OLD.expires_at
    WHERE token_id = OLD.id AND jti IS NULL;
END;
-- part trigger simplejwt_session_insert on simplejwt_session
CREATE TRIGGER simplejwt_session_insert AFTER INSERT ON simplejwt_session WHEN NEW.ended_at IS NOT NULL
BEGIN
    INSERT INTO simplejwt_revocation (session_id, removed, at)
    VALUES (NEW.id, 0, strftime('%Y-%m-%d %H:%M:%f', 'now'));
END;
-- part trigger simplejwt_session_update on simplejwt_session
CREATE TRIGGER simplejwt_session_update AFTER UPDATE OF ended_at, keep_until ON simplejwt_session
WHEN NEW.ended_at IS NOT OLD.ended_at OR NEW.ended_at IS NOT NULL AND NEW.keep_until > OLD.keep_until
BEGIN
    INSERT INTO simplejwt_revocation (session_id, removed, at)
    VALUES (NEW.id, 0, strftime('%Y-%m-%d %H:%M:%f', 'now'));
END;
-- part trigger simplejwt_cutoff_insert on simplejwt_cutoff
CREATE TRIGGER simplejwt_cutoff_insert AFTER INSERT ON simplejwt_cutoff
BEGIN
    INSERT INTO simplejwt_revocation (cutoff_id, removed, at)
    VALUES (NEW.id, 0, strftime('%Y-%m-%d %H:%M:%f', 'now'));
END;
-- part trigger simplejwt_cutoff_update on simplejwt_cutoff
CREATE TRIGGER simplejwt_cutoff_update AFTER UPDATE ON simplejwt_cutoff
BEGIN
    INSERT INTO simplejwt_revocation (cutoff_id, removed, at)
    VALUES (NEW.id, 0, strftime('%Y-%m-%d %H:%M:%f', 'now'));
END;
-- part catch-up
INSERT INTO simplejwt_revocation (token_id, removed, at)
SELECT listed.token_id, 0, strftime('%Y-%m-%d %H:%M:%f', 'now')
FROM token_blacklist_blacklistedtoken AS listed
JOIN token_blacklist_outstandingtoken AS token ON token.id = listed.token_id
LEFT JOIN simplejwt_token AS facts ON facts.jti = token.jti
WHERE (facts.superseded_at IS NULL OR facts.revoked_at IS NOT NULL)
    AND NOT EXISTS (SELECT 1 FROM simplejwt_revocation AS known WHERE known.token_id = listed.token_id)
ORDER BY listed.id;
UPDATE simplejwt_revocation_state SET generation = lower(hex(randomblob(16)));
