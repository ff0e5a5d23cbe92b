"""What would have been with other workers or limits: the question and its answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

MOST_RUNS = 20_000
"""So many starts one question looks at, the first ones of its time."""


@dataclass(frozen=True, slots=True)
class Run:
    """One start of a task, as it was; its seconds count from the begin of what is asked about."""

    category: str
    name: str
    priority: int
    ready: float
    """Since when nothing but a worker or a limit was in its way."""
    started: float
    seconds: float
    """How long it ran."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waits:
    """How long tasks of a category waited until they started, and what came of that."""

    p50: float
    """Seconds; half of them started sooner. So of the next two."""
    p95: float
    most: float
    backlog: int
    """So many waited at the same time, at most."""
    per_hour: float
    """So many ended, from the first arrival to the end of the last one."""
    seconds: float
    """From the first arrival to the end of the last one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WhatIfCategory:
    """One category: as it was, and as it would have been."""

    category: str
    tasks: int
    """Starts, retries among them."""
    workers: int
    """As it would have been."""
    limit: str
    """What limits starting then, in words."""
    was: Waits
    would: Waits


@dataclass(frozen=True, slots=True, kw_only=True)
class WhatIf:
    """What would have been with other workers or limits."""

    since: datetime
    until: datetime
    complete: bool
    """Whether all starts of that time were looked at, and not the first ones only."""
    categories: tuple[WhatIfCategory, ...]
    approximates: tuple[str, ...]
    """What the answer does not know, in sentences."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What is asked about: what would be otherwise."""

    workers: Mapping[str, int] = field(default_factory=dict)
    """By category."""
    concurrency: Mapping[str, int | None] = field(default_factory=dict)
    """By category; ``None``: no limit."""
    rates: Mapping[str, tuple[int, float] | None] = field(default_factory=dict)
    """By category: starts per seconds; ``None``: no limit."""
