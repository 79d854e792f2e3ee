-- First of all: a trigger whose table is gone would fail whoever fires it.
DROP TRIGGER IF EXISTS simplejwt_blacklisted_insert;
DROP TRIGGER IF EXISTS simplejwt_blacklisted_update;
DROP TRIGGER IF EXISTS simplejwt_blacklisted_delete;
DROP TRIGGER IF EXISTS simplejwt_session_insert;
DROP TRIGGER IF EXISTS simplejwt_session_update;
-- part tables
DROP TABLE IF EXISTS simplejwt_cutoff;
DROP TABLE IF EXISTS simplejwt_revocation_state;
DROP TABLE IF EXISTS simplejwt_inbox;
DROP TABLE IF EXISTS simplejwt_revocation;
