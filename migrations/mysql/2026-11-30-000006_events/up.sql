-- Whether an event has been delivered (0 not yet, 1 yes, 2 given up), how often that was tried, and not before when it is tried next.
-- One statement, which is done as a whole, and only where it was not: MySQL has no ADD COLUMN IF NOT EXISTS.
SET @simplejwt_step = IF(
    EXISTS (SELECT 1 FROM information_schema.columns
        WHERE table_schema = DATABASE() AND table_name = 'simplejwt_event' AND column_name = 'delivery'),
    'DO 0',
    'ALTER TABLE simplejwt_event
        ADD COLUMN delivery smallint NOT NULL DEFAULT 0,
        ADD COLUMN attempts smallint NOT NULL DEFAULT 0,
        ADD COLUMN due_at datetime(6) NULL,
        ADD KEY simplejwt_event_delivery (delivery, action, at),
        ADD KEY simplejwt_event_user_id (user_id),
        ADD KEY simplejwt_event_session_id (session_id)'
);
PREPARE simplejwt_step FROM @simplejwt_step;
EXECUTE simplejwt_step;
DEALLOCATE PREPARE simplejwt_step;
