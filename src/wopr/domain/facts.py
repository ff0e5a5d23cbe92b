"""What is known of a queue when somebody asks why nothing runs. Gathered elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from wopr.domain.controls import Pause
from wopr.domain.standing import View


@dataclass(frozen=True, slots=True)
class Live:
    """The tasks of one category and name that have not ended."""

    category: str
    name: str
    waiting: int
    due: int
    running: int
    since: datetime | None
    """When the oldest that is due became so; naive UTC, as all times here."""


@dataclass(frozen=True, slots=True)
class Reached:
    """A limit that lets nothing start now."""

    name: str
    category: str
    key: str | None
    value: str | None
    held: int
    """Tasks that wait for it; all that are due, if it is of the whole category."""
    why: str


@dataclass(frozen=True, slots=True)
class Usual:
    """How long tasks of a category waited at this hour of the days before."""

    seconds: float
    """99 of 100 no longer."""
    tasks: int


@dataclass(frozen=True, slots=True)
class Failing:
    """Attempts of one name that failed alike."""

    name: str
    error_type: str | None
    fingerprint: str
    recent: int
    """In the last hour."""
    before: int
    """In the days before that."""
    since: datetime
    sample: str
    """The id of the task that failed last."""
    error: str


@dataclass(frozen=True, slots=True)
class Disk:
    """Room on the disk of the database."""

    path: str
    """The database file."""
    free: int
    used: int
    """Bytes of the database, its log and its journal."""


@dataclass(frozen=True, slots=True)
class Behind:
    """How far the tables are behind the journal."""

    changes: int
    seconds: float
    trouble: str | None
    """Why they can't be brought up; ``None``: they are being."""


@dataclass(frozen=True, slots=True)
class Held:
    """Tasks of some names that wait because of what is to run them."""

    text: str
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All of it, of one moment."""

    now: datetime
    database: str
    owner: int
    stopping: bool = False
    workers: Mapping[str, int] = field(default_factory=dict)
    """By category."""
    registered: frozenset[str] = frozenset()
    """Names with a function."""
    unfound: Mapping[str, str] = field(default_factory=dict)
    """What would register names that have none, as far as that is known."""
    live: tuple[Live, ...] = ()
    pauses: tuple[Pause, ...] = ()
    standing_back: frozenset[str] = frozenset()
    """Categories that start nothing while something in the foreground is done."""
    limits: tuple[Reached, ...] = ()
    refused: tuple[Held, ...] = ()
    unfit: Mapping[str, int] = field(default_factory=dict)
    """By name."""
    stuck: tuple[tuple[str, str, str], ...] = ()
    """Id, category and why, of running tasks that wait for what can't start."""
    schedules: tuple[View, ...] = ()
    missing: Mapping[str, tuple[datetime, ...]] = field(default_factory=dict)
    """By schedule: times of the last week that were planned and have no task."""
    usual: Mapping[str, Usual] = field(default_factory=dict)
    """By category."""
    failing: tuple[Failing, ...] = ()
    days: float = 7.0
    """So many days are before the last hour, at most."""
    disk: Disk | None = None
    behind: Behind | None = None
    storage: str | None = None
    """Why the tables can't be asked; then nothing is known of what waits."""
    overdue: str | None = None
    """Why tasks that were kept long enough are still there."""
    refused_records: int = 0
    unanswered: tuple[str, ...] = ()
    """What could not be found out, and why."""
