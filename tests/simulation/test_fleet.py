"""Hosts that share a simulated server: whatever happens to them, what is promised holds."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any
from unittest import mock

import pytest

from simulation.fleet import taskverbs
from simulation.fleet.asked import Now, given
from simulation.fleet.server import Weather
from simulation.fleet.tables import Row
from simulation.fleet.universe import build, run
from simulation.fleet.world import Host, Storm, World
from wopr.fleet.owner import Owner
from wopr.storage.postgres import statements

SEEDS = (0, 1, 2, 3, 5, 6, 7, 8)
"""Of worlds in which there is something to be lost: in that of 4 five tasks start, and end."""
ENOUGH = 12
"""Within so many seeds each planted fault is found."""


@pytest.mark.parametrize("seed", SEEDS)
def test_all_holds_whatever_happens_to_hosts_lines_and_server(seed: int) -> None:
    world = run(seed)
    assert world.judge.starts > 5, "nothing was to be lost"


def test_a_seed_does_the_same_again() -> None:
    first, again = run(SEEDS[6]), run(SEEDS[6])
    assert first.happened == again.happened
    assert first.judge.trace.digest == again.judge.trace.digest


async def _nothing(*_: object) -> None:
    """Put nothing back."""


def _unfenced(now: Now, columns: Sequence[str]) -> list[Row]:
    """Have every change made, whatever the task is by now."""
    rows = given(now, columns)
    for row in rows:
        if "expected" in row and (task := now.task(row["id"])) is not None:
            row["expected"] = task["version"]
    return rows


BROKEN = Weather(cut_after=0.03, slow=0.3, slowest=0.3)


@pytest.mark.parametrize(
    ("target", "name", "instead", "storm", "said"),
    [
        (Owner, "may_recover", lambda _: False, Storm(kill=0.001, until=25), "runs nowhere"),
        (Owner, "put_back", _nothing, Storm(weather=BROKEN, until=25), "not everything ended"),
        (statements, "MEASURED", "select 1", Storm(until=25), "its limit is 2"),
        (taskverbs, "given", _unfenced, Storm(freeze=0.001, until=25), "and it was"),
    ],
    ids=["the dead are left", "claims get lost", "nobody counts alone", "nobody is fenced off"],
)
def test_a_planted_fault_is_found(
    target: Any, name: str, instead: Any, storm: Storm, said: str
) -> None:
    with mock.patch.object(target, name, instead), pytest.raises(AssertionError, match=said):
        _run_some(storm)


def _run_some(storm: Storm) -> None:
    for seed in range(ENOUGH):
        run(seed, storm)


@pytest.mark.parametrize(("deaf", "seconds"), [(0.0, 0.1), (1.0, 1.1)])
def test_what_a_host_held_that_says_goodbye_runs_elsewhere_within_a_second(
    deaf: float, seconds: float
) -> None:
    left: list[float] = []
    ids: list[str] = []

    async def live(world: World, host: Host) -> None:
        if host is not world.hosts[0]:
            await asyncio.sleep(1.0)
            await host.queue.start_workers("plain", 3)
            return
        await host.queue.start_workers("plain", 3)
        ids.extend(await host.queue.enqueue_ids("plain", [(["ok"], 5.0)] * 3, {}))
        await asyncio.sleep(2.0)
        left.append(world.clock.seconds)
        world.later(0.0, lambda: world.goodbye(host, again=False, grace=0))

    world = World(1, Storm(weather=Weather(deaf=deaf), until=20.0), 2, build, live)
    world.run(least=1)
    here, there = (
        {one: at for at, one, name in world.judge.begins if one in ids and (name == "host 0") is so}
        for so in (True, False)
    )
    assert set(ids) == here.keys() == there.keys()
    assert all(left[0] < at < left[0] + seconds for at in there.values())
