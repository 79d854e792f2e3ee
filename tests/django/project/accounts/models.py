"""Users as projects have them who did not take Django's own: with another primary key."""

from django.conf import settings
from django.contrib.auth.models import AbstractUser

from .keys import primary_key


class User(AbstractUser):
    id = primary_key(settings.USER_KEY)
