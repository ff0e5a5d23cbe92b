"""A short part of what ``scripts/torture_fleet`` goes on with: hosts are killed and cut off."""

from __future__ import annotations

import asyncio
import random
import signal
from pathlib import Path

import pytest

from faults.fleet.campaign import Campaign, Case, campaign
from faults.fleet.proxy import Fault, Proxy, When
from faults.fleet.server import Server
from faults.fleet.storm import Storm

SEED = 20_261
LABELS = ("claim", "change", "add_one", "own", "orphans", "freed", "register", "COMMIT")
"""Statements between which a host of the short part dies, or loses its connection."""


def chosen(rng: random.Random, *, kill: bool) -> list[Case]:
    """Return a few cases."""
    labels = rng.sample(LABELS, 3)
    return [Case(one, rng.randint(1, 2), rng.choice(list(When)), kill) for one in labels]


async def test_nothing_is_lost_where_hosts_die_or_are_cut_off_between_two_statements(
    server: Server, tmp_path: Path
) -> None:
    rng = random.Random(SEED)
    async with campaign(server, tmp_path, SEED) as hosts:
        cases = [*chosen(rng, kill=True), *chosen(rng, kill=False)]
        await hosts.stories(cases)
        verdict = await hosts.finish()
    assert [] == verdict.problems, verdict.counts()
    assert hosts.happened >= 3, "faults that hit nothing prove nothing"


async def test_nothing_is_lost_in_a_storm_of_kills_stops_and_restarts(
    server: Server, tmp_path: Path
) -> None:
    async with campaign(server, tmp_path, SEED + 1) as hosts:
        storm = Storm(hosts, SEED)
        await storm.rage(3, server=2.0, deeds=("stop", "cut"))
        verdict = await hosts.finish()
    assert [] == verdict.problems, verdict.counts()
    assert len(verdict.tasks) > 20, "there has to be something to lose"


@pytest.mark.parametrize("label", ["measured", "claim"])
async def test_a_host_that_is_stopped_in_the_midst_of_a_claim_holds_nobody_up(
    server: Server, proxy: Proxy, tmp_path: Path, label: str
) -> None:
    async with campaign(server, tmp_path, SEED + 2) as hosts:
        stopped = await hosts.host(proxy, "works")
        asleep = asyncio.Event()

        def stop() -> None:
            stopped.signal(signal.SIGSTOP)
            asleep.set()

        proxy.fault = Fault(label, 3, When.AFTER, stop, cuts=False)
        await hosts.story(None)
        async with asyncio.timeout(60):
            await asleep.wait()
        await hosts.story(None)
        stopped.signal(signal.SIGCONT)
        await hosts.story(None)
        stopped.kill()
        verdict = await hosts.finish()
    assert isinstance(hosts, Campaign)
    assert [] == verdict.problems, verdict.counts()
