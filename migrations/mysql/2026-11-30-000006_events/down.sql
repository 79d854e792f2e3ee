ALTER TABLE simplejwt_event
    DROP KEY simplejwt_event_session_id,
    DROP KEY simplejwt_event_user_id,
    DROP KEY simplejwt_event_delivery,
    DROP COLUMN due_at,
    DROP COLUMN attempts,
    DROP COLUMN delivery;
