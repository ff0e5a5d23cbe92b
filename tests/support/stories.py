"""Histories of tasks, likely and unlikely, and what the tables have to hold after them."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from support.records import NOW
from wopr.domain.clock import IdFactory
from wopr.domain.fold import apply
from wopr.domain.status import TRANSITIONS, Move, TaskStatus
from wopr.domain.task import TaskRecord
from wopr.domain.transition import Transition, added, decode_data, encode_added, encode_data
from wopr.storage.duckdb.journal.records import transition_record

Row = tuple[Any, ...]

IDS = IdFactory()
PIECES = [*map(chr, range(32)), "\x7f", "\x1e0", "\x1e3", "\r\n", "'", '"', "\\", "NULL", ",", "{}"]
PIECES += ["a", "Zoë", "e\N{COMBINING ACUTE ACCENT}", "\N{COMBINING ACUTE ACCENT}", "😀", "\u2028"]
ODD = [
    "",
    *PIECES,
    "".join(PIECES),
    "".join(reversed(PIECES)),
    "\x1f\x1f\n\n\x1e\x1e",
    "\ufeff\U0010ffff",
    "ü\n\x1e" * 1000,
    "x\x1f" * (128 * 1024),
]
"""Texts that mean harm to what cuts texts up."""

JSON = [
    "[]",
    "[ 1,\n2 ]",
    '{"a" : 12345678901234567890123.10}',
    '"\\u0000\\ud83d 😀"',
    "[1E400,-0]",
]
"""Payloads that nobody may read and write again: they would be spelled otherwise."""

TIMES = [
    datetime.min,
    datetime.max,
    datetime(999, 12, 31, 23, 59, 59, 999_999),
    datetime(1969, 12, 31, 23, 59, 59, 999_999),
    datetime(2024, 2, 29, 1, 2, 3, 400_000),
    NOW,
]
NUMBERS = [0, 1, -1, 2**31 - 1, -(2**31)]
FLOATS = [0.0, 0.1, 1e-7, 5e-324, 1.7976931348623157e308, 2.0**53 + 2, 1 / 3, -1e22]
FLOATS += [float("inf"), float("-inf"), float("nan")]


def _text(rng: random.Random) -> str:
    return "".join(rng.choices(PIECES, k=rng.randint(0, 4)))


STATE: dict[str, Callable[[random.Random], Any]] = {
    "retry_count": lambda rng: rng.choice(NUMBERS),
    "crashes": lambda rng: rng.choice(NUMBERS),
    "run_at": lambda rng: rng.choice([None, *TIMES]),
    "started_at": lambda rng: rng.choice([None, *TIMES]),
    "completed_at": lambda rng: rng.choice([None, *TIMES]),
    "elapsed_seconds": lambda rng: rng.choice([None, *FLOATS]),
    "worker": lambda rng: rng.choice([None, _text(rng)]),
    "result": lambda rng: rng.choice([None, "null", *JSON]),
    "error": lambda rng: rng.choice([None, _text(rng)]),
    "error_type": lambda rng: rng.choice([None, _text(rng)]),
    "progress": lambda rng: rng.choice(FLOATS),
    "progress_message": _text,
    "waiting": lambda rng: rng.random() < 0.5,
    "progress_data": lambda rng: rng.choice([None, "{}", _text(rng)]),
}
"""What a move can set besides what follows from it, and values for that."""


class Story:
    """Transitions one after the other, their lines, and what the tables have to hold."""

    def __init__(self, seed: int = 1) -> None:
        self.rng = random.Random(seed)
        self.lines: list[str] = []
        self.log: list[Row] = []
        self.records: list[TaskRecord] = []
        self._now: datetime = NOW

    def tell(self, record: TaskRecord, transition: Transition) -> None:
        """Let a transition happen."""
        transition.seq = len(self.log) + 1
        if transition.move is Move.ADD:
            record.seq = record.version = transition.seq
            self.records.append(record)
            data: str | None = encode_added(record)
        else:
            apply(record, transition)
            data = encode_data(transition.data)
        self.lines.append(transition_record(record, transition))
        before = transition.from_status
        self.log.append(
            (
                transition.seq,
                transition.task_id,
                transition.attempt,
                before and before.value,
                transition.to_status.value,
                transition.occurred_at,
                transition.worker,
                transition.reason,
                transition.error,
                decode_data(data),
            )
        )

    def add(self, **columns: Any) -> TaskRecord:
        """Let a task be added."""
        record = TaskRecord(IDS.new(NOW), "name", "category", 2, 3, "[1]", "{}", self.later())
        for column, value in columns.items():
            setattr(record, column, value)
        self.tell(record, added(record))
        return record

    def move(self, record: TaskRecord, move: Move, after: TaskStatus, **more: Any) -> None:
        """Let a task change, by a move that need not be one of the table."""
        attempt = record.attempt + (move is Move.CLAIM)
        values = {"occurred_at": self.later(), "worker": record.worker, **more}
        self.tell(record, Transition(record.id, move, record.status, after, attempt, **values))

    def claim(self, record: TaskRecord, **more: Any) -> None:
        """Let a task start."""
        self.move(record, Move.CLAIM, TaskStatus.STARTED, **{"worker": "host-1", **more})

    def succeed(self, record: TaskRecord, result: str = "1", **more: Any) -> None:
        """Let a task end well."""
        self.move(record, Move.SUCCEED, TaskStatus.SUCCESS, **{"data": {"result": result}, **more})

    def later(self) -> datetime:
        """Return a time that is not before the others."""
        self._now += timedelta(microseconds=self.rng.choice([0, 1, 10**5, 10**6]))
        return self._now

    def add_any(self) -> None:
        """Let a task be added that says as much or as little as it likes."""
        rng = self.rng
        columns: dict[str, Any] = {"args": rng.choice(JSON), "kwargs": rng.choice(JSON)}
        more: dict[str, Any] = {
            "name": _text(rng),
            "category": _text(rng),
            "priority": rng.choice(NUMBERS),
            "max_retries": rng.choice(NUMBERS),
            "options": rng.choice(JSON),
            "unique_key": _text(rng),
            "run_at": rng.choice(TIMES),
            "depends_on": rng.choice(JSON),
            "waiting": True,
            "flow_id": IDS.new(NOW),
            "schedule": _text(rng),
            "scheduled_for": rng.choice(TIMES),
        }
        for column in rng.sample(sorted(more), rng.choice([0, 0, 0, 1, 3, 12])):
            columns[column] = more[column]
        self.add(**columns)

    def move_any(self) -> Move:
        """Let some task make some move; return which."""
        rng = self.rng
        record = rng.choice(self.records[-6:])
        self._now += timedelta(days=rng.choice([0] * 9 + [2]))
        legal = [move for status, move in TRANSITIONS if status is record.status]
        usual = [move for move in legal if move in {Move.CLAIM, Move.SUCCEED}]
        move = rng.choice([*legal * 2, *usual * 10, Move.SAVE])
        if move is Move.SAVE:
            data = {column: value(rng) for column, value in STATE.items()}
            self.move(record, move, rng.choice(list(TaskStatus)), data=data)
            return move
        more: dict[str, Any] = {}
        if move is Move.CLAIM:
            more["worker"] = rng.choice(["host-1", "host-1", "", None, _text(rng)])
        if move is Move.SUCCEED:
            more["data"] = {"result": rng.choice(JSON)}
        if move not in {Move.CLAIM, Move.SUCCEED} or rng.random() < 0.2:
            more["data"] = rng.choice([None, {}, self._some_state()])
        if move in {Move.PRIORITIZE, Move.TRANSFER}:
            place = {"category": _text(rng), "priority": rng.choice(NUMBERS)}
            column = "priority" if move is Move.PRIORITIZE else "category"
            more["data"] = {**(more["data"] or {}), column: place[column]}
        if rng.random() < 0.1:
            more["error"], more["reason"], more["worker"] = _text(rng), _text(rng), _text(rng)
        self.move(record, move, TRANSITIONS[record.status, move], **more)
        return move

    def _some_state(self) -> dict[str, Any]:
        columns = self.rng.sample(sorted(STATE), self.rng.randint(1, 4))
        return {"traceback": _text(self.rng), **{one: STATE[one](self.rng) for one in columns}}
