DROP TABLE IF EXISTS simplejwt_flush_run;
DROP TABLE IF EXISTS simplejwt_event;
DROP TABLE IF EXISTS simplejwt_user;
DROP TABLE IF EXISTS simplejwt_token;
DROP TABLE IF EXISTS simplejwt_session;
