"""What must be true of the tables, and of what was told, whatever happened meanwhile.

It asks the server itself, on whose clock each change has the moment at which it was committed.
"""

from __future__ import annotations

import itertools
import json
import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg

from faults.fleet.life import LIMIT, TICK, outcome
from support.audit import EDGES

TERMINAL = {"success", "failed", "cancelled"}
TOLD = re.compile(r"nothing was|not done|not known whether", re.IGNORECASE)
"""What an error of a call says: that it is not done, or that nobody knows."""
_TASKS = """
select id::text, name, status, attempt, version, result, schedule, scheduled_for from wopr.tasks
"""
_CHANGES = """
select seq, task_id::text, attempt, from_status, to_status, reason,
    pg_xact_commit_timestamp(xmin)
from wopr.transitions order by seq
"""
_LEFT = """
select count(*) from wopr.awaits join wopr.tasks on tasks.id = child_id
where status in ('success', 'failed', 'cancelled')
"""


@dataclass(frozen=True)
class Task:
    """A row of tasks."""

    id: str
    name: str
    status: str
    attempt: int
    version: int
    result: str | None
    schedule: str | None
    scheduled_for: datetime | None


@dataclass(frozen=True)
class Change:
    """A row of the history, and when it was committed."""

    seq: int
    task_id: str
    attempt: int
    before: str | None
    after: str
    reason: str
    at: datetime | None


@dataclass
class Verdict:
    """What was found, and what is wrong with it."""

    problems: list[str] = field(default_factory=list)
    tasks: dict[str, Task] = field(default_factory=dict)
    changes: dict[str, list[Change]] = field(default_factory=lambda: defaultdict(list))
    said: list[list[str]] = field(default_factory=list)

    def say(self, problem: str) -> None:
        """Note something that is wrong."""
        self.problems.append(problem)

    def counts(self) -> str:
        """Say how much there was: what judges nothing proves nothing."""
        words = Counter(one[0] for one in self.said)
        lost = sum(c.reason == "worker lost" for one in self.changes.values() for c in one)
        return (
            f"{len(self.tasks)} tasks, {words['ack']} acknowledged, {words['run']} runs, "
            f"{words['got']} results, {words['cancelled']} cancelled, {words['error']} errors, "
            f"{lost} put back from dead hosts"
        )


def judge(connection: psycopg.Connection[Any], said: Path, *, drained: bool = True) -> Verdict:
    """Check the tables of a campaign, and what its hosts have told."""
    found = Verdict(said=[json.loads(line) for line in said.read_text().splitlines()])
    found.tasks = {row[0]: Task(*row) for row in connection.execute(_TASKS).fetchall()}
    for row in connection.execute(_CHANGES).fetchall():
        found.changes[row[1]].append(Change(*row))
    for task in found.tasks.values():
        _check_chain(found, task, found.changes[task.id])
    _check_words(found)
    _check_runs(found)
    _check_limit(found)
    _check_schedule(found)
    if drained:
        for task in found.tasks.values():
            if task.status not in TERMINAL:
                found.say(f"task {task.id} ({task.name}) was left {task.status}")
        left = connection.execute(_LEFT).fetchone()
        if left is None or left[0]:
            found.say(f"{left} rows say that ended tasks wait")
    return found


def _check_chain(found: Verdict, task: Task, changes: list[Change]) -> None:
    if not changes or changes[0].reason != "add":
        found.say(f"task {task.id} has no beginning: {changes[:1]}")
        return
    last: Change | None = None
    ends: Counter[int] = Counter()
    for one in changes:
        before = None if last is None else last.after
        if one.before != before or (one.before, one.after) not in EDGES:
            found.say(f"task {task.id}: {one.reason} goes from {one.before} after {before}")
        expected = 0 if last is None else last.attempt + (one.reason == "claim")
        if one.attempt != expected:
            found.say(f"task {task.id}: {one.reason} is of attempt {one.attempt}, not {expected}")
        if last is not None and one.at and last.at and one.at < last.at:
            found.say(f"task {task.id}: {one.reason} was there before {last.reason}")
        ends[one.attempt] += one.before == "started"
        last = one
    if most := [attempt for attempt, count in ends.items() if count > 1]:
        found.say(f"attempts {most} of task {task.id} were settled twice")
    assert last is not None
    if (task.status, task.version, task.attempt) != (last.after, last.seq, last.attempt):
        found.say(f"task {task.id} is {task}, and its history ends with {last}")


def _check_words(found: Verdict) -> None:
    """Check that what was told is so."""
    for kind, *more in found.said:
        if kind == "broke":
            found.say(f"a host broke: {more[0]}")
        elif kind == "error" and more[0] != "wait" and not TOLD.search(more[1]):
            found.say(f"an error does not say what came of {more[0]}: {more[1]}")
        if kind not in {"ack", "got", "cancelled"}:
            continue
        task = found.tasks.get(more[0])
        if task is None:
            found.say(f"task {more[0]} is lost; it was told: {kind}")
        elif kind == "cancelled" and task.status != "cancelled":
            found.say(f"task {task.id} was told to be cancelled and is {task.status}")
        elif kind == "got" and (task.status, str(task.result)) != (more[1], more[2]):
            found.say(f"task {task.id} was told to be {more[1:]} and is {task}")
        elif kind == "ack":
            _check_end(found, task, more[1], int(more[2]))


def _check_end(found: Verdict, task: Task, name: str, number: int) -> None:
    """Check that it ended as its function does."""
    if name == "limited":
        number -= number % 35
    if task.status == "success" and str(number * 2) != task.result:
        found.say(f"task {task.id} of {number} has the result {task.result}")
    if task.status == "failed" and outcome(number, 2) != "error":
        found.say(f"task {task.id} of {number} has failed, and a retry was left")


def _check_runs(found: Verdict) -> None:
    """Check that each attempt ran once, and only after its claim was durable."""
    runs = Counter((more[0], int(more[1])) for kind, *more in found.said if kind == "run")
    for (task_id, attempt), count in runs.items():
        claims = [c for c in found.changes[task_id] if c.reason == "claim"]
        if count > 1:
            found.say(f"attempt {attempt} of task {task_id} ran {count} times")
        if attempt not in {one.attempt for one in claims}:
            found.say(f"attempt {attempt} of task {task_id} ran and was not claimed")


def _check_limit(found: Verdict) -> None:
    """Check that no more ran than may, by the spans between commits on the server's clock."""
    events = []
    for task in found.tasks.values():
        if task.name == "limited":
            for one in found.changes[task.id]:
                if one.reason == "claim":
                    events.append((one.at, 1))
                elif one.before == "started":
                    events.append((one.at, -1))
    running = most = 0
    for _, step in sorted(events, key=lambda one: (str(one[0]), one[1])):
        running += step
        most = max(most, running)
    if most > LIMIT:
        found.say(f"{most} tasks ran at once where {LIMIT} may")


def _check_schedule(found: Verdict) -> None:
    """Check that the plan was kept: each planned time has one task, and none is missing."""
    planned = [one.scheduled_for for one in found.tasks.values() if one.schedule == "tick"]
    times = sorted(at for at in planned if at is not None)
    if len(times) != len(set(times)):
        found.say(f"planned times have several tasks: {Counter(times).most_common(2)}")
    steps = {after - before for before, after in itertools.pairwise(sorted(set(times)))}
    if steps - {TICK}:
        found.say(f"planned times have no task: there are steps of {sorted(map(str, steps))}")
