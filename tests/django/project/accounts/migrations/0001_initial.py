import django.contrib.auth.models
import django.contrib.auth.validators
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

from accounts.keys import primary_key

USERNAME = {
    "error_messages": {"unique": "A user with that username already exists."},
    "help_text": "Required. 150 characters or fewer. Letters, digits and @/./+/-/_ only.",
    "validators": [django.contrib.auth.validators.UnicodeUsernameValidator()],
    "verbose_name": "username",
}
SUPERUSER = "Designates that this user has all permissions without explicitly assigning them."
STAFF = "Designates whether the user can log into this admin site."
ACTIVE = "Designates whether this user should be treated as active. Unselect this instead of deleting accounts."
GROUPS = "The groups this user belongs to. A user will get all permissions granted to each of their groups."


def members(name, to, help_text):
    related = {"related_name": "user_set", "related_query_name": "user"}
    return models.ManyToManyField(blank=True, help_text=help_text, to=to, verbose_name=name, **related)


class Migration(migrations.Migration):
    initial = True
    dependencies = [("auth", "0012_alter_user_first_name_max_length")]
    operations = [
        migrations.CreateModel(
            name="User",
            fields=[
                ("id", primary_key(settings.USER_KEY)),
                ("password", models.CharField(max_length=128, verbose_name="password")),
                ("last_login", models.DateTimeField(blank=True, null=True, verbose_name="last login")),
                (
                    "is_superuser",
                    models.BooleanField(default=False, help_text=SUPERUSER, verbose_name="superuser status"),
                ),
                ("username", models.CharField(max_length=150, unique=True, **USERNAME)),
                ("first_name", models.CharField(blank=True, max_length=150, verbose_name="first name")),
                ("last_name", models.CharField(blank=True, max_length=150, verbose_name="last name")),
                ("email", models.EmailField(blank=True, max_length=254, verbose_name="email address")),
                ("is_staff", models.BooleanField(default=False, help_text=STAFF, verbose_name="staff status")),
                ("is_active", models.BooleanField(default=True, help_text=ACTIVE, verbose_name="active")),
                ("date_joined", models.DateTimeField(default=django.utils.timezone.now, verbose_name="date joined")),
                ("groups", members("groups", "auth.group", GROUPS)),
                (
                    "user_permissions",
                    members("user permissions", "auth.permission", "Specific permissions for this user."),
                ),
            ],
            options={"verbose_name": "user", "verbose_name_plural": "users", "abstract": False},
            managers=[("objects", django.contrib.auth.models.UserManager())],
        ),
    ]
