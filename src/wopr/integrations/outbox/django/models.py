"""The table of the outbox, as Django knows it."""

from __future__ import annotations

from typing import Any

from django.db import models


class OutboxCall(models.Model):  # type: ignore[misc]  # Django has no types
    """One call that waits to become a task."""

    number = models.BigAutoField(primary_key=True)
    id: Any = models.CharField(max_length=36, unique=True)
    name = models.CharField(max_length=200)
    call = models.TextField()
    created_at = models.DateTimeField()
    error = models.TextField(null=True)

    class Meta:
        """The same columns as in the table of other applications."""

        db_table = "wopr_outbox"

    def __str__(self) -> str:
        return f"{self.name} {self.id}"
