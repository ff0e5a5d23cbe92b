"""The table of the outbox."""

from __future__ import annotations

from typing import ClassVar

from django.db import migrations, models


class Migration(migrations.Migration):  # type: ignore[misc]  # Django has no types
    """Create it."""

    initial = True
    dependencies: ClassVar[list[tuple[str, str]]] = []
    operations: ClassVar[list[object]] = [
        migrations.CreateModel(
            name="OutboxCall",
            fields=[
                ("number", models.BigAutoField(primary_key=True, serialize=False)),
                ("id", models.CharField(max_length=36, unique=True)),
                ("name", models.CharField(max_length=200)),
                ("call", models.TextField()),
                ("created_at", models.DateTimeField()),
                ("error", models.TextField(null=True)),
            ],
            options={"db_table": "wopr_outbox"},
        )
    ]
