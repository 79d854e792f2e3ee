DROP TRIGGER IF EXISTS simplejwt_blacklisted_insert;
DROP TRIGGER IF EXISTS simplejwt_blacklisted_update;
DROP TRIGGER IF EXISTS simplejwt_blacklisted_delete;
DROP TRIGGER IF EXISTS simplejwt_outstanding_delete;
DROP TRIGGER IF EXISTS simplejwt_session_insert;
DROP TRIGGER IF EXISTS simplejwt_session_update;
DROP TABLE simplejwt_cutoff;
DROP TABLE simplejwt_revocation_state;
DROP TABLE simplejwt_revocation;
