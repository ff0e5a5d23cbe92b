"""The Django application that has the table."""

from __future__ import annotations

from django.apps import AppConfig


class OutboxConfig(AppConfig):  # type: ignore[misc]  # Django has no types
    """In ``INSTALLED_APPS`` by the name of its package."""

    name = "wopr.integrations.outbox.django"
    label = "wopr_outbox"
    verbose_name = "wopr's outbox"
    default_auto_field = "django.db.models.BigAutoField"
