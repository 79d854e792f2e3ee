-- With the triggers, also those on a table of which we are not the owner.
DROP FUNCTION IF EXISTS simplejwt_on_blacklisted() CASCADE;
DROP FUNCTION IF EXISTS simplejwt_on_session() CASCADE;
DROP FUNCTION IF EXISTS simplejwt_on_cutoff() CASCADE;
DROP FUNCTION IF EXISTS simplejwt_on_truncate() CASCADE;
DROP FUNCTION IF EXISTS simplejwt_log_token(bigint, boolean);
DROP FUNCTION IF EXISTS simplejwt_log_row(bigint, varchar, varchar, bigint, timestamp with time zone, boolean);
DROP TABLE simplejwt_cutoff;
DROP TABLE simplejwt_revocation_state;
DROP TABLE simplejwt_revocation;
