"""What reads of the past answer: rows of a query and rows of a task's history."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple, overload

from wopr.domain.errors import QueryError
from wopr.domain.notebook import html_pairs, html_table
from wopr.domain.spoken import counted, local
from wopr.domain.status import TaskStatus
from wopr.domain.transition import Transition
from wopr.ports.cut import way_on, why_cut
from wopr.ports.storage import QueryRows


class QueryResult:
    """The answer to a query: iterates as dicts, converts to data frames.

    ``truncated`` tells that there were more rows than the limits allow (``limit=``, or
    ``WOPR_TASKS_QUERY_ROWS``; and 32 MB) and the rest is missing; such an answer does not become
    a data frame. ``moment`` tells of when the answer is, if it is of a snapshot; else it is of now.
    """

    __slots__ = ("columns", "cut", "moment", "rows")

    def __init__(self, answer: QueryRows, moment: datetime | None = None) -> None:
        self.moment = moment
        self.columns = answer.columns
        self.rows = answer.rows
        self.cut = answer.cut
        """Which limit it was cut at."""

    @property
    def truncated(self) -> bool:
        """Whether there were more rows than these."""
        return self.cut is not None

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (dict(zip(self.columns, row, strict=True)) for row in self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...

    @overload
    def __getitem__(self, index: slice) -> list[dict[str, Any]]: ...

    def __getitem__(self, index: int | slice) -> dict[str, Any] | list[dict[str, Any]]:
        if isinstance(index, slice):
            return [dict(zip(self.columns, row, strict=True)) for row in self.rows[index]]
        return dict(zip(self.columns, self.rows[index], strict=True))

    def __repr__(self) -> str:
        return f"<QueryResult {counted(len(self.rows), 'row')}: {', '.join(self.columns)}>"

    def _repr_html_(self) -> str:
        notes = ["There were more rows than the limits allow."] if self.truncated else []
        if self.moment is not None:
            notes.append(f"As of {local(self.moment)}.")
        title = counted(len(self.rows), "row")
        return html_table(title, self.columns, self.rows, note=" ".join(notes))

    def scalar(self) -> Any:
        """Return the first column of the first row; ``None`` if there is no row."""
        return self.rows[0][0] if self.rows else None

    def df(self) -> Any:
        """Return a pandas DataFrame.

        Raises:
            QueryError: pandas is not installed, or the answer was cut.
        """
        self._check_whole()
        return self._module("pandas").DataFrame(self.rows, columns=list(self.columns))

    def pl(self) -> Any:
        """Return a polars DataFrame.

        Raises:
            QueryError: polars is not installed, or the answer was cut.
        """
        self._check_whole()
        module = self._module("polars")
        return module.DataFrame(
            self._plain_rows(), schema=list(self.columns), orient="row", infer_schema_length=None
        )

    def arrow(self) -> Any:
        """Return a pyarrow Table.

        Raises:
            QueryError: pyarrow is not installed, or the answer was cut.
        """
        self._check_whole()
        rows = self._plain_rows()
        columns = {name: [row[at] for row in rows] for at, name in enumerate(self.columns)}
        return self._module("pyarrow").table(columns)

    def _check_whole(self) -> None:
        """Refuse to make a frame of a part: what is counted from it would be wrong, silently."""
        if self.cut is not None:
            raise QueryError(
                f"{why_cut(self.cut, len(self.rows))} A data frame of them would count too little, "
                f"so none was made. {way_on(self.cut)} The rows that there are: .rows"
            )

    def _plain_rows(self) -> list[tuple[Any, ...]]:
        """Return the rows with ids as text: not every library knows UUIDs."""
        from uuid import UUID

        return [
            tuple(str(value) if isinstance(value, UUID) else value for value in row)
            for row in self.rows
        ]

    @staticmethod
    def _module(name: str) -> Any:
        import importlib

        try:
            return importlib.import_module(name)
        except ImportError as error:
            raise QueryError(
                f"{name} is not installed, so the result can't be converted. Install it: "
                "pip install 'wopr[data]'"
            ) from error


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One transition of a task. ``traceback`` and ``error_type`` belong to failed attempts."""

    seq: int
    task_id: str
    attempt: int
    from_status: TaskStatus | None
    to_status: TaskStatus
    occurred_at: datetime
    worker: str | None
    reason: str
    error: str | None
    error_type: str | None
    traceback: str | None
    act: int | None = None
    """The number of the act that it is a part of."""


def entry(transition: Transition) -> HistoryEntry:
    """Return a transition as people see it."""
    data = transition.data or {}
    occurred_at: datetime = transition.occurred_at.replace(tzinfo=UTC)
    return HistoryEntry(
        transition.seq,
        transition.task_id,
        transition.attempt,
        transition.from_status,
        transition.to_status,
        occurred_at,
        transition.worker,
        transition.reason,
        transition.error,
        data.get("error_type"),
        data.get("traceback"),
        data.get("act"),
    )


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a task stands where it stands.

    ``reason`` is one of: ended, running, starting, waiting for parents, unregistered, does not
    fit, refused, delayed, snoozed, retrying, paused, foreground, limits, no workers, shutting
    down, stuck, limited, queued.
    ``wopr tasks explain`` says besides: no worker process.
    """

    task_id: str
    status: TaskStatus
    reason: str
    text: str
    ahead: int = 0
    """How many due tasks of its category start before it."""

    def __str__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        values = {"task": self.task_id, "status": self.status, "reason": self.reason}
        return html_pairs(self.text, {**values, "ahead": self.ahead or None})


class Because(NamedTuple):
    """A reason for programs, one of those that :class:`Explanation` lists, and one for people."""

    reason: str
    text: str


def attempts(number: int) -> str:
    """Return a number of attempts as people read it."""
    return counted(number, "attempt")


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerInfo:
    """What one worker slot is doing. Times are aware datetimes in UTC."""

    name: str
    category: str
    task_id: str | None = None
    """What it runs; ``None`` when it is idle."""
    task_name: str | None = None
    attempt: int | None = None
    since: datetime | None = None
    """Since when it runs that."""
    last_claim_at: datetime | None = None
    """When it last took a task."""
    heartbeat_at: datetime
    """When the event loop that runs it was last seen alive."""
