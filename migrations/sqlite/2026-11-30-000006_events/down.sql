DROP INDEX simplejwt_event_session_id;
DROP INDEX simplejwt_event_user_id;
DROP INDEX simplejwt_event_delivery;
ALTER TABLE simplejwt_event DROP COLUMN due_at;
ALTER TABLE simplejwt_event DROP COLUMN attempts;
ALTER TABLE simplejwt_event DROP COLUMN delivery;
