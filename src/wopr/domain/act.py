"""Acts: what an operator did, as rows that never change once they have ended."""

from __future__ import annotations

import contextvars
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from wopr.domain.status import TaskStatus
from wopr.domain.task import TaskInfo, TaskRecord

MOST_UNCHANGED = 1_000
"""So many tasks that stayed as they are, an answer names one by one."""
EXAMPLES = 10
"""So many tasks a preview shows."""


@dataclass(frozen=True, slots=True)
class By:
    """Who does something, and from where."""

    who: str
    origin: str
    """The program, its process and its machine."""


acting: contextvars.ContextVar[By | None] = contextvars.ContextVar("wopr_acting", default=None)
"""Who asks for what is being carried out; ``None``: this process."""


@dataclass(frozen=True, slots=True)
class Tally:
    """How many selected tasks have a name and a status, and how many of them a verb can change."""

    name: str
    status: TaskStatus
    count: int
    changes: int


@dataclass(frozen=True, slots=True)
class Unchanged:
    """A task that stayed as it is, and why."""

    id: str
    why: str


@dataclass(frozen=True, slots=True)
class Previewed:
    """What a verb would do, as the engine knows it."""

    counts: tuple[Tally, ...]
    records: tuple[TaskRecord, ...]
    """The first tasks that it would change, in enqueue order."""
    strange: tuple[Unchanged, ...]
    """What was given as ids and is none."""


@dataclass(frozen=True, slots=True)
class ActProgress:
    """How far an act is that goes on now."""

    done: int
    """So many tasks were looked at."""
    total: int
    changed: int


OBJECT = {"json": "object"}
"""Of a field: its text is a JSON object, and stands as one in a JSON document."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """One act. Times are aware, in UTC."""

    number: int
    verb: str
    who: str
    origin: str
    """From where: the program, its process and its machine."""
    began_at: datetime
    ended_at: datetime | None = None
    """``None``: it goes on now, or was interrupted; repeating the call goes on with it."""
    selection: str = field(default="{}", metadata=OBJECT)
    """What it was about, as a JSON object."""
    detail: str = field(default="{}", metadata=OBJECT)
    """What it set, and what was before; as a JSON object."""
    reason: str = ""
    changed: int = 0
    """So many tasks, or rules, were changed."""
    first_seq: int = 0
    last_seq: int = 0
    """Its transitions are numbered after the one, up to the other."""
    undoes: int | None = None
    """The number of the act that it takes back."""

    @property
    def finished(self) -> bool:
        """Whether it has come to its end."""
        return self.ended_at is not None


@dataclass(frozen=True, slots=True)
class ActAnswer:
    """What came of an act: its row, and what stayed as it is."""

    act: Act
    left: int = 0
    """So many selected tasks stayed as they are."""
    unchanged: tuple[Unchanged, ...] = ()
    """The first of them, each with the reason."""


@dataclass(frozen=True, slots=True)
class Preview:
    """What a verb would do to a selection: nothing was done."""

    counts: tuple[Tally, ...]
    """By name and status, of all that is selected."""
    examples: tuple[TaskInfo, ...]
    """Ten of the tasks that it would change, those enqueued first."""
    unchanged: tuple[Unchanged, ...] = ()
    """What was given as ids and is none of one task."""

    @property
    def selected(self) -> int:
        """How many tasks are selected."""
        return sum(one.count for one in self.counts)

    @property
    def changes(self) -> int:
        """How many of them it would change."""
        return sum(one.changes for one in self.counts)


COLUMNS = (
    "number",
    "verb",
    "who",
    "origin",
    "began_at",
    "ended_at",
    "selection",
    "detail",
    "reason",
    "changed",
    "first_seq",
    "last_seq",
    "undoes",
)
"""Of the table, in order."""


def row_of(act: Act) -> tuple[Any, ...]:
    """Return an act as a row."""
    return tuple(getattr(act, column) for column in COLUMNS)
