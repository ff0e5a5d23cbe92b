"""Kill -9 at random moments and at every named point of the write path.

Every kill is followed by an audit of the file as it was left, and by the next
child's recovery; each series ends with a child that works everything off.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from faults.crash.nursery import Series, Totals, Zygote, zygote
from support.paths import ROOT
from wopr.config.crashpoint import KEEPING, MOVING, POINTS

pytestmark = [pytest.mark.crash, pytest.mark.timeout(900)]  # each wait has a limit of its own

RANDOM_SERIES = 8
RANDOM_KILLS = 17
USUAL_PASSES = ((1, 4, 23), (2, 9))
PASSES = {
    "recovery.before_write": ((1, 1, 1), (1, 1)),  # once per opening
    "recovery.after_write": ((1, 1, 1), (1, 1)),
    "checkpoint.before": ((1, 2, 5), (1, 3)),  # in quiet moments only
    "checkpoint.after": ((1, 2, 5), (1, 3)),
}
SEED = int(os.environ.get("WOPR_TEST_SEED", "0"))


@pytest.fixture(scope="module")
def zygotes() -> Iterator[tuple[Zygote, Zygote]]:
    with zygote() as first, zygote() as second:
        yield first, second


def _report(series: list[Series]) -> Totals:
    totals = Totals()
    for one in series:
        for name in ("kills", "acknowledged", "runs", "results", "occurrences"):
            setattr(totals, name, getattr(totals, name) + getattr(one.totals, name))
    print(totals)
    return totals


def test_kills_at_random_moments_lose_nothing_and_run_nothing_twice(
    tmp_path: Path, zygotes: tuple[Zygote, Zygote]
) -> None:
    seed = SEED or int.from_bytes(os.urandom(3), "big")
    print(f"WOPR_TEST_SEED={seed} starts the same children again")

    def work(number: int) -> list[Series]:
        done = []
        for turn in range(number, RANDOM_SERIES, 2):
            folder = tmp_path / str(turn)
            folder.mkdir()
            series = Series(folder, seed + turn, zygotes[number])
            for _ in range(RANDOM_KILLS):
                series.kill_at_random()
            series.finish()
            done.append(series)
        return done

    with ThreadPoolExecutor(2) as pool:
        totals = _report([one for part in pool.map(work, (0, 1)) for one in part])
    assert RANDOM_SERIES * RANDOM_KILLS == totals.kills
    # A test that kills idle children proves nothing.
    assert totals.acknowledged > 10 * totals.kills
    assert totals.runs > 10 * totals.kills
    assert totals.results > RANDOM_SERIES
    assert totals.occurrences > totals.kills


@pytest.mark.parametrize("point", [point for point in POINTS if not point.startswith("outbox.")])
def test_kills_at_a_named_point_lose_nothing_and_run_nothing_twice(
    point: str, tmp_path: Path, zygotes: tuple[Zygote, Zygote]
) -> None:
    def work(number: int) -> Series:
        folder = tmp_path / str(number)
        folder.mkdir()
        series = Series(folder, POINTS.index(point) * 10 + number, zygotes[number])
        for passes in PASSES.get(point, USUAL_PASSES)[number]:
            if point.startswith("recovery."):  # only a file with orphans has something to recover
                series.kill_at("attempt.after_run", 5)
            series.kill_at(point, passes)
        series.finish()
        return series

    with ThreadPoolExecutor(2) as pool:
        totals = _report(list(pool.map(work, (0, 1))))
    assert totals.kills >= 5


def test_a_crash_point_can_be_chosen_through_the_environment(tmp_path: Path) -> None:
    program = (
        "from wopr.config.crashpoint import crashpoint\n"
        "crashpoint('journal.after_write')\n"
        "crashpoint('journal.before_write')\n"
        "print('first', flush=True)\n"
        "crashpoint('journal.before_write')\n"
        "print('second', flush=True)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT / "src"),
            "WOPR_CRASH_POINT": "journal.before_write:2",
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert -signal.SIGKILL == done.returncode, done.stderr
    assert "first\n" == done.stdout


def test_every_crash_point_of_the_source_is_in_the_list_and_the_other_way_round() -> None:
    used = set()
    for path in (ROOT / "src" / "wopr").rglob("*.py"):
        for line in path.read_text(encoding="utf-8").splitlines():
            if 'crashpoint("' in line:
                used.add(line.split('crashpoint("')[1].split('"')[0])

    assert {*POINTS, *KEEPING, *MOVING} == used
