"""Faults of kinds that queues really had are planted in the engine: a few seeds find each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from simulation.universe import Universe, run
from wopr.domain import decide
from wopr.engine.pools.gate import Gate
from wopr.engine.pools.pool import Pool
from wopr.engine.recovery import Recovery
from wopr.engine.shared import Shared
from wopr.engine.unique import UniqueKeys
from wopr.testing import SimulationError

SEEDS = 150
Plant = Callable[[pytest.MonkeyPatch], None]


def acknowledges_early(patch: pytest.MonkeyPatch) -> None:
    """Say that a write is on disk when it is handed over."""
    submit = Shared.submit

    def hasty(self: Shared, entries: Any, done: Any, **options: Any) -> None:
        submit(self, entries, lambda error: None, **options)
        done(None)

    patch.setattr(Shared, "submit", hasty)


def forgets_keys(patch: pytest.MonkeyPatch) -> None:
    """Let two live tasks have one unique key."""
    patch.setattr(UniqueKeys, "take", lambda self, record: None)


def recovers_nothing(patch: pytest.MonkeyPatch) -> None:
    """Leave STARTED for ever what a dead process ran."""

    async def recover(self: Recovery, orphans: Iterator[Any]) -> int:
        return sum(1 for _ in orphans)

    patch.setattr(Recovery, "_decide", recover)


def counts_attempts_anew(patch: pytest.MonkeyPatch) -> None:
    """Let a task that comes back from a crash have the attempt number of before."""
    recover = decide.recover

    def back(record: Any, max_crashes: int, now: Any) -> Any:
        made = recover(record, max_crashes, now)
        if made is not None:
            made.attempt -= 1
        return made

    patch.setattr(decide, "recover", back)


def limits_leak(patch: pytest.MonkeyPatch) -> None:
    """Give the room under a limit free twice."""
    leave = Gate.leave

    def twice(self: Gate, meters: Any) -> None:
        leave(self, meters)
        leave(self, meters)

    patch.setattr(Gate, "leave", twice)


def forgets_failed_claims(patch: pytest.MonkeyPatch) -> None:
    """Drop tasks whose claim the disk refused."""
    claimed = Pool._claimed

    def drop(self: Pool, tasks: Any, error: BaseException | None) -> None:
        if error is None:
            claimed(self, tasks, error)
            return
        self._claiming -= 1
        for record, worker in tasks:
            self.release(record, worker)

    patch.setattr(Pool, "_claimed", drop)


def _all(universe: Universe) -> None:
    for seed in range(SEEDS):
        run(universe, seed)


@pytest.mark.parametrize(
    ("plant", "said"),
    [
        (acknowledges_early, "not on disk"),
        (forgets_keys, "both live with the unique key"),
        (recovers_nothing, "Not everything ended"),
        (counts_attempts_anew, "comes after attempt"),
        (limits_leak, "its limit is 2"),
        (forgets_failed_claims, "Not everything ended"),
    ],
)
def test_a_planted_fault_is_found(
    universe: Universe, monkeypatch: pytest.MonkeyPatch, plant: Plant, said: str
) -> None:
    plant(monkeypatch)

    with pytest.raises(SimulationError) as found:
        _all(universe)

    assert said in str(found.value)
    assert "seed=" in str(found.value)
