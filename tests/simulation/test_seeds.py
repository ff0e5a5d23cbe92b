"""Thousands of simulated processes, each with other faults: what must hold holds in all of them.

The invariants are in :mod:`wopr.simulation.watch`. ``scripts/simulate --hours 8`` goes on with
other seeds.
"""

from __future__ import annotations

import pytest

from simulation.universe import Universe, run

SEEDS = 2_000
PORTION = 100


@pytest.mark.parametrize("first", range(0, SEEDS, PORTION))
def test_whatever_goes_wrong_nothing_is_lost_and_everything_ends(
    universe: Universe, first: int
) -> None:
    deaths = starts = 0
    for seed in range(first, first + PORTION):
        came_to = run(universe, seed)
        deaths += came_to.lives - 1
        starts += came_to.starts
        assert all(task.is_completed or task.schedule for task in came_to.tasks)
    assert deaths > PORTION / 4, "else too little goes wrong"
    assert starts > PORTION * 10, "else too little is done"
