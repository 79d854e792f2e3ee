"""The smallest project that has simplejwt and its admin pages. What the tests vary comes from the environment:

DJANGO_DATABASE_URL  sqlite://PATH, postgres://USER:PASSWORD@HOST:PORT/NAME or mysql://...
DJANGO_USER_KEY      the primary key of the users: integer (Django's own users), bigint, uuid or text
DJANGO_SIMPLE_JWT    the settings of simplejwt as JSON; lifetimes in seconds
DJANGO_HASHERS       the password hashers as a JSON list
"""

import json
import os
from datetime import timedelta
from pathlib import Path

from databases import django_database

BASE_DIR = Path(__file__).parent
SECRET_KEY = "no token is signed with this key, as SIGNING_KEY is set"
DEBUG = False
ALLOWED_HOSTS = ["127.0.0.1"]
ROOT_URLCONF = "urls"
USE_TZ = True
# Not UTC, so that an instant without its zone would show.
TIME_ZONE = "Asia/Kathmandu"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
STATIC_URL = "static/"

DATABASES = {"default": django_database(os.environ["DJANGO_DATABASE_URL"])}

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "rest_framework",
    "rest_framework_simplejwt",
    "rest_framework_simplejwt.token_blacklist",
]
USER_KEY = os.environ.get("DJANGO_USER_KEY", "integer")
if USER_KEY != "integer":
    INSTALLED_APPS.append("accounts")
    AUTH_USER_MODEL = "accounts.User"

MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
# As Django's default, but quick.
PASSWORD_HASHERS = json.loads(os.environ.get("DJANGO_HASHERS", '["accounts.hashers.Quick"]'))

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework_simplejwt.authentication.JWTAuthentication"],
}
SIMPLE_JWT = {
    name: timedelta(seconds=value) if name.endswith("_LIFETIME") else value
    for name, value in json.loads(os.environ.get("DJANGO_SIMPLE_JWT", "{}")).items()
}
