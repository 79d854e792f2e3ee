"""The primary keys that the tests know, for the model and for its migration."""

import uuid

from django.db import models


def named_key():
    return f"user-{uuid.uuid4().hex[:8]}"


def primary_key(kind):
    match kind:
        case "bigint":
            return models.BigAutoField(primary_key=True, serialize=False)
        case "uuid":
            return models.UUIDField(primary_key=True, serialize=False, default=uuid.uuid4)
        case "text":
            return models.CharField(primary_key=True, serialize=False, max_length=40, default=named_key)
        case _:
            raise ValueError(f"no kind of primary key: {kind}")
