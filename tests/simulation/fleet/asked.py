"""A statement that a simulated server carries out: its values, and what it asks of the tables."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from simulation.fleet.tables import Row, Transaction
from wopr.domain.task import COLUMNS
from wopr.storage.postgres import statements

Values = dict[str, Any]
Rows = list[tuple[Any, ...]]
Verb = Callable[["Now"], Rows]

CLAIMABLE = ("pending", "retry")
LIVE = ("pending", "started", "retry")
_ELEMENT = re.compile(r'"((?:[^"\\]|\\.)*)"|([^,{}]+)', re.DOTALL)
_CASTS: dict[str, Callable[[str], Any]] = {
    "int": int,
    "bigint": int,
    "float8": float,
    "boolean": lambda text: text == "t",
    "timestamp": datetime.fromisoformat,
}


class Now:
    """A statement that is carried out: its values, its transaction, and the time of the server."""

    def __init__(self, tx: Transaction, values: Values, at: datetime, started: datetime) -> None:
        self.tx = tx
        self.v = values
        self.at = at
        """Aware, in UTC."""
        self.started = started
        """When the server was started."""

    @property
    def tasks(self) -> Iterable[Row]:
        """All tasks."""
        return self.tx.all("tasks")

    def task(self, task_id: str) -> Row | None:
        """Return a task."""
        return self.tx.get("tasks", task_id)

    def those(self, ids: Iterable[str]) -> list[Row]:
        """Return those of the tasks that there are."""
        return [row for one in dict.fromkeys(ids) if (row := self.task(one)) is not None]

    def leases(self) -> set[int]:
        """Return the owners whose leases have not ended."""
        return {one["id"] for one in self.tx.all("owners") if one["lease_until"] > self.at}

    def until(self) -> datetime:
        """Return when a lease ends that begins now."""
        return self.at + timedelta(seconds=self.v["lease"])

    def is_known(self) -> bool:
        """Whether the rules are those that the host knows, and the queue stays."""
        rules = self.tx.get("meta", "rules")
        return rules is not None and rules["value"] == self.v["rules"]

    def pauses(self) -> set[str]:
        """Return what is paused, as rules call it."""
        return {one["name"] for one in self.tx.all("rules") if one["kind"] == "pause"}

    def write(self, row: Row, **changes: Any) -> Row:
        """Write a task that changes."""
        new = {**row, **changes}
        self.tx.put("tasks", new["id"], new)
        return new

    def note(self, seq: int, row: Row, before: str | None, after: str, more: Row) -> None:
        """Write a row of the history."""
        known = {
            "seq": seq,
            "task_id": row["id"],
            "attempt": row["attempt"],
            "from_status": before,
            "to_status": after,
            "worker": None,
            "error": None,
            "data": None,
        }
        self.tx.put("transitions", seq, {**known, **more})


def array(text: str | list[Any] | None, kind: str, length: int) -> list[Any]:
    """Return the elements of an array that was sent as a text."""
    if text is None:
        return [None] * length
    if isinstance(text, list):
        return text
    cast = _CASTS.get(kind, str)
    found: list[Any] = []
    for quoted, bare in _ELEMENT.findall(text[1:-1]):
        plain = bare or re.sub(r"\\(.)", r"\1", quoted, flags=re.DOTALL)
        found.append(None if bare == "NULL" else cast(plain))
    return found


def given(now: Now, columns: Sequence[str]) -> list[Row]:
    """Return rows whose columns came as arrays."""
    longest = "id"
    kinds = {**statements.TYPES, "occurred_at": "timestamp"}
    count = len(array(now.v[longest], "text", 0))
    whole = {one: array(now.v[one], kinds.get(one, "text"), count) for one in columns}

    def at(n: int) -> Row:
        return {one: whole[one][n] if n < len(whole[one]) else None for one in columns}

    return [at(n) for n in range(count)]


def task_row(row: Row) -> tuple[Any, ...]:
    """Return a task as it is selected."""
    return tuple(row[one] for one in COLUMNS)


def is_free(row: Row) -> bool:
    """Whether a task waits for nothing but a worker and its time."""
    return row["status"] in CLAIMABLE and row["waiting"] is not True


def is_due(row: Row, now: datetime) -> bool:
    """Whether a free task may start."""
    return is_free(row) and (row["run_at"] is None or row["run_at"] <= now)


def is_later(row: Row) -> bool:
    """Whether a free task is not found among those that are due, also when its time has come."""
    return is_free(row) and row["run_at"] is not None and row["run_at"] != row["ready_at"]


def is_prompt(row: Row, now: datetime) -> bool:
    """Whether a task is due, and found among those that are."""
    return is_due(row, now) and not is_later(row)


def expires(row: Row) -> datetime | None:
    """Return when a task is too late."""
    if '"expires"' not in (row["options"] or ""):
        return None
    return datetime.fromisoformat(json.loads(row["options"])["expires"])


def in_turn(row: Row) -> tuple[int, int]:
    """Order tasks as they start."""
    return -row["priority"], row["place"]


def holds(row: Row) -> bool:
    """Whether a task lives and has a unique key."""
    return row["unique_key"] is not None and row["status"] in LIVE
