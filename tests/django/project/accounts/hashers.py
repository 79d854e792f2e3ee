from django.contrib.auth.hashers import PBKDF2PasswordHasher


class Quick(PBKDF2PasswordHasher):
    """Django's default hasher with few rounds: its name and its form are the same."""

    iterations = 1000
