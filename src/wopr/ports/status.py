"""Whether work flows, and what holds it back: what a queue answers about itself as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from enum import Enum
from typing import Any, Literal

from wopr.domain.notebook import html_table
from wopr.domain.reason import Reason, Severity
from wopr.domain.spoken import counted, local


class State(str, Enum):
    """Whether work flows."""

    FLOWING = "flowing"
    HELD = "held"
    """Some of it does not, until somebody does something."""
    STOPPED = "stopped"

    __str__ = str.__str__


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """How long tasks that have ended are kept, and what left since the owner has the file."""

    rules: tuple[str, ...]
    archived: int
    deleted: int
    last: datetime | None
    """When the last ones left; aware, in UTC."""
    trouble: str | None
    """Why those that were kept long enough are still there."""

    def __str__(self) -> str:
        left = f"{self.archived:,} archived and {self.deleted:,} deleted by this process"
        last = "" if self.last is None else f", last at {local(self.last)}"
        return f"Kept: {'; '.join(self.rules)} ({left}{last})."


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """Whether work flows; if not, why, the most harmful reason first. Times are aware, in UTC."""

    state: State
    text: str
    """The same in a sentence."""
    reasons: tuple[Reason, ...]
    database: str
    moment: datetime
    owner: int | None = None
    """The process that has the file; ``None`` if it could not be asked."""
    waiting: int = 0
    due: int = 0
    running: int = 0
    workers: int = 0
    kept: Kept | None = None
    """The rules by which old tasks retire; ``None``: there are none."""

    def __str__(self) -> str:
        kept = [] if self.kept is None else [str(self.kept)]
        return "\n".join([self.text, *map(_line, self.reasons), *kept])

    def _repr_html_(self) -> str:
        return _html(self.text, self.reasons)

    def to_plain(self) -> dict[str, Any]:
        """Return it as it travels."""
        plain = asdict(replace(self, reasons=()))
        reasons = [_reason_to_plain(one) for one in self.reasons]
        return {**plain, "state": self.state.value, "reasons": reasons}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Status:
        """Return what travelled."""
        found = tuple(map(_reason_from_plain, plain["reasons"]))
        kept = plain["kept"]
        if kept is not None:
            kept = Kept(**{**kept, "rules": tuple(kept["rules"])})
        return cls(**{**plain, "state": State(plain["state"]), "reasons": found, "kept": kept})


About = Literal["category", "name", "flow", "schedule"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupExplanation:
    """Why tasks that have something in common stand where they stand."""

    about: About
    target: str
    reason: str
    """The kind of the first of ``reasons``; ``flowing`` if there is none, ``nothing`` if no task
    is there that has not ended."""
    text: str
    reasons: tuple[Reason, ...] = ()
    waiting: int = 0
    due: int = 0
    running: int = 0

    def __str__(self) -> str:
        return "\n".join([self.text, *map(_line, self.reasons)])

    def _repr_html_(self) -> str:
        return _html(self.text, self.reasons)

    def to_plain(self) -> dict[str, Any]:
        """Return it as it travels."""
        plain = asdict(replace(self, reasons=()))
        return {**plain, "reasons": [_reason_to_plain(one) for one in self.reasons]}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> GroupExplanation:
        """Return what travelled."""
        return cls(**{**plain, "reasons": tuple(map(_reason_from_plain, plain["reasons"]))})


def _html(text: str, reasons: tuple[Reason, ...]) -> str:
    columns = ("severity", "since", "why", "what mends it")
    rows = [(one.severity, one.since, one.text, one.command) for one in reasons]
    return html_table(text, columns, rows)


def _line(one: Reason) -> str:
    return f"- {one.text}" + (f" → {one.command}" if one.command else "")


def _reason_to_plain(one: Reason) -> dict[str, Any]:
    return {**asdict(one), "severity": one.severity.value}


def _reason_from_plain(plain: Mapping[str, Any]) -> Reason:
    return Reason(**{**plain, "severity": Severity(plain["severity"])})


def state_of(reasons: tuple[Reason, ...]) -> State:
    """Return what reasons come to."""
    severities = {one.severity for one in reasons}
    if Severity.STOPPED in severities:
        return State.STOPPED
    return State.HELD if Severity.HELD in severities else State.FLOWING


def headline(state: State, *, waiting: int, due: int, running: int, workers: int) -> str:
    """Say in a sentence whether work flows."""
    tasks = f"{counted(waiting, 'task')} {'waits' if waiting == 1 else 'wait'}, {due:,} of them due"
    if state is State.STOPPED:
        return f"Nothing runs: {tasks}." if waiting else "Nothing runs, and nothing waits."
    flows = "Work flows" if state is State.FLOWING else "Work flows in part"
    if not workers:
        return f"Nothing is to be done: {tasks}." if waiting else "Nothing is to be done."
    runs = f"{counted(running, 'task')} {'runs' if running == 1 else 'run'}"
    return f"{flows}: {counted(workers, 'worker')}, {runs}, {tasks}."


def unusable(database: str, moment: datetime, reason: Reason) -> Status:
    """Return the status of a queue whose file can't be asked."""
    return Status(
        state=State.STOPPED,
        text=f"Nothing runs: {database} can't be used.",
        reasons=(reason,),
        database=database,
        moment=moment,
    )
