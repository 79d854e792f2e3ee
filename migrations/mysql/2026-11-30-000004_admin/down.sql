DROP TABLE IF EXISTS simplejwt_census;
DROP TABLE IF EXISTS simplejwt_hour;
DROP TABLE IF EXISTS simplejwt_viewer;
DROP TABLE IF EXISTS simplejwt_admin_session;
