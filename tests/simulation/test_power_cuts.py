"""The machine dies: what was synced is there, and whatever else is there belongs together."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Literal

import pytest

from simulation.universe import Universe, faults_of, new_universe, run
from wopr.simulation.disk import Disk, State
from wopr.simulation.watch import Watch
from wopr.testing import SimulationError

Sync = Literal["full", "process"]
SEEDS = 40


@pytest.fixture(scope="module", params=["full", "process"])
def cut(request: pytest.FixtureRequest) -> Iterator[tuple[Sync, Universe]]:
    """Return how writes are synced, and a queue of which they are."""
    logger = logging.getLogger("wopr")
    before = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    yield request.param, new_universe(request.param)
    logger.setLevel(before)


@pytest.fixture
def lost(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return how many tasks each power cut took along."""
    found: list[int] = []
    look = Watch.lost

    def looked(self: Watch, disk: Disk, before: frozenset[str]) -> None:
        found.append(len(before - disk.records.keys()))
        look(self, disk, before)

    monkeypatch.setattr(Watch, "lost", looked)
    return found


def test_what_was_synced_survives_and_the_rest_is_lost_as_a_whole(
    cut: tuple[Sync, Universe], lost: list[int]
) -> None:
    sync, universe = cut
    for seed in range(SEEDS):
        came_to = run(universe, seed, faults_of(seed, power_cut=0.002))
        assert all(task.is_completed or task.schedule for task in came_to.tasks)
    assert len(lost) > SEEDS / 4, "else too little goes wrong"
    assert (sync == "process") == (sum(lost) > 0)


def syncs_nothing(patch: pytest.MonkeyPatch) -> None:
    """Say that it is on the disk, and leave it in memory."""

    def told(self: Disk) -> None:
        if self._watching is not None:
            self._watching.synced()

    patch.setattr(Disk, "sync", told)


def loses_one_in_the_middle(patch: pytest.MonkeyPatch) -> None:
    """Lose a task whose moves, and whose children, are there."""
    load = Disk._load

    def hole(self: Disk, state: State) -> None:
        load(self, state)
        if self.records:
            del self.records[next(iter(self.records))]

    patch.setattr(Disk, "_load", hole)


def keeps_moves_that_the_tasks_lack(patch: pytest.MonkeyPatch) -> None:
    """Lose what the rows of tasks say, and keep the log."""
    load = Disk._load
    patch.setattr(Disk, "_load", lambda self, state: load(self, state._replace(log=10**6)))


@pytest.mark.parametrize(
    ("plant", "said"),
    [
        (syncs_nothing, "was acknowledged, synced, and is lost"),
        (loses_one_in_the_middle, "and no task"),
        (keeps_moves_that_the_tasks_lack, "a power cut leaves"),
    ],
)
def test_a_disk_that_keeps_it_otherwise_is_found(
    monkeypatch: pytest.MonkeyPatch, plant: Callable[[pytest.MonkeyPatch], None], said: str
) -> None:
    plant(monkeypatch)
    monkeypatch.setattr(logging.getLogger("wopr"), "disabled", True)
    with pytest.raises(SimulationError, match=said):
        _all(new_universe("process"))


def _all(universe: Universe) -> None:
    for seed in range(SEEDS):
        run(universe, seed, faults_of(seed, power_cut=0.01))
