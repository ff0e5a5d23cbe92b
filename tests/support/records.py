"""Records and transitions without a queue around them."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import Any

from wopr.domain import decide
from wopr.domain.fold import apply
from wopr.domain.outcome import Failed, Succeeded
from wopr.domain.status import Move
from wopr.domain.task import TaskRecord
from wopr.domain.transition import Transition, added

NOW = datetime(2030, 5, 17, 12)


def record(seq: int = 1, *, priority: int = 2, run_at: datetime | None = None) -> TaskRecord:
    """Return a new task as it is after its ``add``."""
    one = TaskRecord(f"id-{seq}", "name", "c", priority, 3, "[1]", "{}", NOW, run_at)
    transition = added(one)
    transition.seq = one.seq = seq
    apply(one, transition)
    return one


def follow(one: TaskRecord, transition: Transition | None) -> TaskRecord:
    """Apply a transition that has to exist."""
    assert transition is not None
    transition.seq = one.version + 1
    apply(one, transition)
    return one


def claimed(one: TaskRecord | None = None, worker: str = "w") -> TaskRecord:
    """Return a task with a worker."""
    one = one or record()
    return follow(one, decide.claim(one, worker, NOW))


def failed(one: TaskRecord | None = None, *, delay: float | None = None) -> TaskRecord:
    """Return a task whose attempt failed."""
    one = claimed(one)
    outcome = Failed("OSError: no", "OSError", "Traceback …", delay)
    return follow(one, decide.settle(one, one.attempt, outcome, 1.0))


def succeeded(one: TaskRecord | None = None) -> TaskRecord:
    """Return a task that ended well."""
    one = claimed(one)
    return follow(one, decide.settle(one, one.attempt, Succeeded("42"), 1.0))


def random_moves(rng: random.Random, count: int) -> tuple[TaskRecord, list[Transition]]:
    """Make random legal moves; return the task and all its transitions."""
    one = record()
    first = added(one)
    first.seq = 1
    log = [first]
    now = NOW
    for _ in range(count):
        now += timedelta(seconds=rng.randint(0, 90))
        transition = _random_move(one, rng, now)
        if transition is not None:
            follow(one, transition)
            log.append(transition)
    return one, log


def _random_move(one: TaskRecord, rng: random.Random, now: datetime) -> Transition | None:
    choices: list[Any] = [
        lambda: decide.claim(one, f"w{rng.randint(1, 3)}", now),
        lambda: decide.settle(one, one.attempt, Succeeded('"done"'), 0.5),
        lambda: decide.settle(one, one.attempt, Failed("E: x", "E", "tb", None), 0.5),
        lambda: decide.settle(one, one.attempt, Failed("E: x", "E", "tb", 2.0), 0.5),
        lambda: decide.recover(one, 3, now),
        lambda: decide.move(one, rng.choice([Move.CANCEL, Move.RENEW, Move.INTERRUPT]), now),
    ]
    transition: Transition | None = rng.choice(choices)()
    return transition
