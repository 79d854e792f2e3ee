DROP TABLE simplejwt_census;
DROP TABLE simplejwt_hour;
DROP TABLE simplejwt_viewer;
DROP TABLE simplejwt_admin_session;
