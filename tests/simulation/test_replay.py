"""A seed is all that is needed to see the same once more."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from simulation.universe import Universe, run
from support.paths import ROOT
from wopr.domain.errors import StorageError
from wopr.engine.unique import UniqueKeys
from wopr.testing import SimulationError

SEEDS = range(5, 15)
PROGRAM = """
from simulation.universe import new_universe, run
universe = new_universe()
for seed in range(5, 15):
    print(run(universe, seed).digest)
"""


def test_a_seed_comes_to_the_same_every_time(universe: Universe) -> None:
    once = [run(universe, seed) for seed in SEEDS]
    again = [run(universe, seed) for seed in SEEDS]

    assert [one.digest for one in once] == [one.digest for one in again]
    assert [one.tasks[-1].id for one in once] == [one.tasks[-1].id for one in again]
    assert len({one.digest for one in once}) == len(SEEDS)


def test_in_another_process_with_other_hashes_too(universe: Universe) -> None:
    expected = [run(universe, seed).digest for seed in SEEDS]
    path = os.pathsep.join([str(ROOT / "tests"), str(ROOT / "src")])
    there = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "PYTHONHASHSEED": "4711", "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    assert expected == there.stdout.split()


def test_a_failure_is_the_same_every_time_and_says_how_to_see_it(
    universe: Universe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(UniqueKeys, "take", lambda self, record: None)
    failed = next(seed for seed in range(200) if _failure(universe, seed))

    said = _failure(universe, failed)

    assert f"seed={failed}" in said
    assert said == _failure(universe, failed)


def _failure(universe: Universe, seed: int) -> str:
    try:
        run(universe, seed)
    except SimulationError as error:
        return str(error)
    except StorageError as error:  # it would hide the failure that is looked for
        raise AssertionError(f"seed {seed} let an error out") from error
    return ""
