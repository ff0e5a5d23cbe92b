"""The gate against a plain model of it that looks at every task each time."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest

from wopr.domain.limits import Limit, Meter
from wopr.domain.status import TaskStatus
from wopr.domain.task import TaskRecord
from wopr.engine.memory import Memory
from wopr.engine.pools.gate import Gate
from wopr.engine.pools.lanes import Lanes

NOON = datetime(2030, 5, 17, 12)
STEPS = 600


@dataclass
class Model:
    """Who waits, who runs and who started when; every question is answered by counting."""

    limits: list[Limit]
    waiting: list[TaskRecord] = field(default_factory=list)
    running: list[TaskRecord] = field(default_factory=list)
    starts: list[tuple[datetime, TaskRecord]] = field(default_factory=list)

    @staticmethod
    def value(limit: Limit, record: TaskRecord) -> object:
        return None if limit.key is None else json.loads(record.kwargs).get(limit.key)

    def holds(self, limit: Limit, record: TaskRecord) -> bool:
        return limit.key is None or self.value(limit, record) is not None

    def may_start(self, record: TaskRecord, now: datetime) -> bool:
        return all(self.room(limit, record, now) for limit in self.limits)

    def room(self, limit: Limit, record: TaskRecord, now: datetime) -> bool:
        if not self.holds(limit, record):
            return True
        same = self.value(limit, record)
        inside = [one for one in self.running if self.value(limit, one) == same]
        if limit.concurrency is not None and len(inside) >= limit.concurrency:
            return False
        if limit.rate is None or limit.per is None:
            return True
        since = now - timedelta(seconds=limit.per)
        recent = [at for at, one in self.starts if self.value(limit, one) == same and at > since]
        return len(recent) < limit.rate


def record_of(rng: random.Random, seq: int, now: datetime) -> TaskRecord:
    kwargs = {"tenant": rng.choice(["a", "b", "c", None]), "host": rng.choice([1, 2])}
    text = json.dumps(kwargs)
    record = TaskRecord(f"t{seq}", "work", "default", rng.randint(1, 4), 0, "[]", text, now)
    record.seq = seq
    return record


LIMITS = {
    "the category": [Limit(category="default", concurrency=3, rate=5, per=4.0)],
    "one key": [Limit(category="default", key="tenant", concurrency=2)],
    "a rate by key": [Limit(category="default", key="tenant", rate=2, per=3.0)],
    "two keys and the category": [
        Limit(category="default", concurrency=5),
        Limit(category="default", key="tenant", concurrency=2, rate=3, per=5.0),
        Limit(category="default", key="host", concurrency=3),
    ],
}


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("limits", LIMITS.values(), ids=LIMITS.keys())
def test_it_starts_the_first_that_may_and_never_one_too_many(
    limits: list[Limit], seed: int
) -> None:
    rng, now, seq = random.Random(seed), NOON, 0
    lanes = Lanes()
    gate = Gate(lanes, limits, lambda record: json.loads(record.kwargs), 10_000)
    model = Model(limits)
    meters: dict[str, list[Meter]] = {}
    started = 0
    for _ in range(STEPS):
        step = rng.random()
        if step < 0.35:
            seq += 1
            record = record_of(rng, seq, now)
            lanes.push(record, now)
            model.waiting.append(record)
        elif step < 0.45 and model.waiting:
            model.waiting.pop(rng.randrange(len(model.waiting))).status = TaskStatus.CANCELLED
        elif step < 0.65 and model.running:
            ended = model.running.pop(rng.randrange(len(model.running)))
            gate.leave(meters.pop(ended.id))
        elif step < 0.75:
            now += timedelta(seconds=rng.choice([0.5, 1, 3]))
        else:
            able = [one for one in model.waiting if model.may_start(one, now)]
            chosen = gate.pop(now)
            assert chosen is (min(able, key=lambda one: (-one.priority, one.seq)) if able else None)
            if chosen is None:
                continue
            if rng.random() < 0.1:  # its claim failed
                gate.give_back(chosen.id)
                lanes.add_paged(chosen, now)
                continue
            started += 1
            chosen.status = TaskStatus.STARTED
            meters[chosen.id] = list(gate.take(chosen))
            model.waiting.remove(chosen)
            model.running.append(chosen)
            model.starts.append((now, chosen))
    assert started > 20


@pytest.mark.parametrize("seed", range(6))
def test_keys_that_take_turns_differ_by_one_at_most(seed: int) -> None:
    rng = random.Random(seed)
    lanes = Lanes()
    gate = Gate(
        lanes,
        [Limit(category="default", fair_by="tenant")],
        lambda record: json.loads(record.kwargs),
        10_000,
    )
    for seq in range(1, 200):
        lanes.push(record_of(rng, seq, NOON), NOON)
    counts = dict.fromkeys(["a", "b", "c", None], 0)
    for _ in range(80):  # nobody has fewer than 20 here
        chosen = gate.pop(NOON)
        assert chosen is not None
        gate.leave(gate.take(chosen))
        counts[json.loads(chosen.kwargs)["tenant"]] += 1
        assert max(counts.values()) - min(counts.values()) <= 1


def test_it_says_when_the_next_may_start() -> None:
    lanes, rng = Lanes(), random.Random(0)
    gate = Gate(lanes, [Limit(category="default", rate=1, per=9.0)], lambda record: {}, 10)
    for seq in (1, 2):
        lanes.push(record_of(rng, seq, NOON), NOON)
    assert gate.pop(NOON) is not None
    assert gate.next_at is None
    assert gate.pop(NOON + timedelta(seconds=2)) is None
    assert gate.next_at == NOON + timedelta(seconds=9)


def numbered(seq: int, **kwargs: object) -> TaskRecord:
    record = TaskRecord(f"t{seq}", "work", "default", 2, 0, "[]", json.dumps(kwargs), NOON)
    record.seq = seq
    return record


def test_a_start_that_came_to_nothing_takes_no_other_start_with_it() -> None:
    lanes = Lanes()
    gate = Gate(lanes, [Limit(category="default", rate=2, per=10.0)], lambda record: {}, 10)
    for seq in range(1, 6):
        lanes.push(numbered(seq), NOON)
    first = gate.pop(NOON)
    assert first is not None
    assert gate.pop(NOON + timedelta(seconds=1)) is not None
    gate.give_back(first.id)  # its claim failed; the second has started
    assert gate.pop(NOON + timedelta(seconds=2)) is not None
    assert gate.pop(NOON + timedelta(seconds=10)) is None
    assert gate.next_at == NOON + timedelta(seconds=11)


def test_values_of_a_key_that_are_never_seen_again_are_forgotten() -> None:
    limits = [Limit(category="default", key="n", concurrency=1)]
    gate = Gate(Lanes(), limits, lambda record: json.loads(record.kwargs), 10)
    for seq in range(5_000):  # each starts in the commit that adds it, so none ever waits
        record = numbered(seq, n=seq)
        assert gate.admit(record, NOON)
        gate.leave(gate.take(record))
    assert len(gate._meters) < 3_000


def test_a_task_that_was_claimed_under_other_limits_counts_when_it_starts() -> None:
    lanes, record = Lanes(), numbered(1)
    gate = Gate(lanes, [Limit(category="default", concurrency=1)], lambda record: {}, 10)
    meters = gate.take(record)  # not chosen by this gate
    lanes.push(numbered(2), NOON)
    assert gate.pop(NOON) is None
    gate.leave(meters)
    assert gate.pop(NOON) is not None


def test_it_takes_no_more_bytes_out_of_the_lanes_than_it_may() -> None:
    memory = Memory(1_000_000)
    lanes = Lanes(memory=memory)
    limits = [Limit(category="default", key="tenant", concurrency=1)]
    gate = Gate(lanes, limits, lambda record: json.loads(record.kwargs), 10_000)
    first = numbered(1, tenant="a")
    lanes.push(first, NOON)
    assert gate.pop(NOON) is first
    for seq in range(2, 200):  # of the same tenant, so they wait for it
        if not lanes.push(numbered(seq, tenant="a", text="x" * 10_000), NOON):
            break
        assert gate.pop(NOON) is None
    held = len(list(gate.records()))
    assert 40 < held < 90
    assert 0 < lanes.qsize() < 50
    assert 0 < memory.free

    gate.leave(gate.take(first))
    second = gate.pop(NOON)
    assert second is not None
    assert 2 == second.seq
    for record in gate.empty():
        lanes.add_paged(record, NOON)
    while lanes.pop() is not None:
        pass
    assert 1_000_000 == memory.free


def test_a_task_that_is_larger_than_all_memory_passes() -> None:
    lanes = Lanes(memory=Memory(1_000))
    limits = [Limit(category="default", key="tenant", concurrency=1)]
    gate = Gate(lanes, limits, lambda record: json.loads(record.kwargs), 10_000)
    for seq in (1, 2):
        lanes.add_paged(numbered(seq, tenant=seq, text="x" * 10_000), NOON)
    assert [1, 2] == [record.seq for _ in range(2) if (record := gate.pop(NOON)) is not None]
