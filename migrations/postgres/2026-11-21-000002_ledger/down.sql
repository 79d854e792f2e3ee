DROP TABLE simplejwt_flush_run;
DROP TABLE simplejwt_event;
DROP TABLE simplejwt_user;
DROP TABLE simplejwt_token;
DROP TABLE simplejwt_session;
