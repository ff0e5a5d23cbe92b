"""The pages that go deeper than the overview and the tasks."""

from __future__ import annotations

from wopr.web.pages import (
    acts,
    alerts,
    categories,
    console,
    failures,
    flows,
    schedules,
    scheduling,
    travel,
    workers,
)

MORE = (
    flows,
    failures,
    schedules,
    scheduling,
    categories,
    workers,
    console,
    acts,
    alerts,
    travel,
)
"""Each has ``routes()``."""
