-- Whether an event has been delivered (0 not yet, 1 yes, 2 given up), how often that was tried, and not before when it is tried next.
ALTER TABLE simplejwt_event ADD COLUMN delivery smallint NOT NULL DEFAULT 0;
ALTER TABLE simplejwt_event ADD COLUMN attempts smallint NOT NULL DEFAULT 0;
ALTER TABLE simplejwt_event ADD COLUMN due_at datetime NULL;

CREATE INDEX simplejwt_event_delivery ON simplejwt_event (delivery, action, at);
CREATE INDEX simplejwt_event_user_id ON simplejwt_event (user_id);
CREATE INDEX simplejwt_event_session_id ON simplejwt_event (session_id);
