"""Hosts whose network fails: without a word, in both directions or in one."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from faults.fleet.campaign import campaign
from faults.fleet.hosts import nursery
from faults.fleet.life import LEASE_SECONDS
from faults.fleet.network import network
from faults.fleet.proxy import Proxy
from faults.fleet.server import Server


@pytest.mark.parametrize("how", ["cut", "mute"])
async def test_a_host_that_is_cut_off_loses_what_it_runs_once_and_comes_back_by_itself(
    server: Server, tmp_path: Path, how: str
) -> None:
    with network(f"wopr{os.getpid() % 100_000}") as link:
        proxy = Proxy(server.socket, link.here)
        await proxy.start()
        async with campaign(server, tmp_path, 77) as hosts, nursery(link.within) as within:
            await hosts.story(None)
            far = await within.start(hosts.orders(proxy.address(hosts.database), "storm"))
            await hosts.heard(5_000)
            getattr(link, how)()
            await asyncio.sleep(2 * LEASE_SECONDS)
            await hosts.story(None)  # others do what it ran
            {"cut": link.mend, "mute": link.unmute}[how]()
            await hosts.heard(5_000)  # nobody has started it again
            assert far.alive
            far.kill()
            await far.ended()
            verdict = await hosts.finish()
        await proxy.close()
    assert [] == verdict.problems, verdict.counts()
