"""Hosts under load, and all that happens to them and to their server at random."""

from __future__ import annotations

import asyncio
import random
import signal
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from faults.fleet.campaign import Campaign
from faults.fleet.hosts import Host
from faults.fleet.life import LEASE_SECONDS
from faults.fleet.proxy import Line, Proxy

HOSTS = 3
MOST_HEARD = 4_000
"""A host is killed when all together have told fewer bytes than this since the last deed."""


@dataclass
class Berth:
    """Where one host after the other lives, behind a line of its own."""

    proxy: Proxy
    host: Host


class Storm:
    """What happens at random, by a seed."""

    def __init__(self, campaign: Campaign, seed: int) -> None:
        self._campaign = campaign
        self._rng = random.Random(seed)
        self._berths: list[Berth] = []
        self.happened: Counter[str] = Counter()
        self._deeds: dict[str, Callable[[Berth], Awaitable[None]]] = {
            "kill": self._kill,
            "stop": self._stop,
            "cut": self._cut,
            "deaf": lambda berth: self._line(berth, Line.DEAF),
            "mute": lambda berth: self._line(berth, Line.MUTE),
            "dead": lambda berth: self._line(berth, Line.DEAD),
            "slow": self._slow,
        }

    async def rage(self, kills: int, *, server: float | None, deeds: tuple[str, ...] = ()) -> None:
        """Go on until so many hosts were killed.

        Args:
            kills: how many.
            server: so many seconds after its start, the server is killed again and again.
            deeds: these only, besides kills.
        """
        for _ in range(HOSTS):
            proxy = Proxy(self._campaign.server.socket)
            await proxy.start()
            self._berths.append(Berth(proxy, await self._campaign.host(proxy, "storm")))
        names = ["kill", "kill", "kill", *(deeds or self._deeds)]
        killing = None if server is None else asyncio.create_task(self._kill_server(server))
        try:
            while self.happened["kill"] < kills:
                await asyncio.sleep(self._rng.uniform(0, 0.3))
                name = self._rng.choice(names)
                await self._deeds[name](self._rng.choice(self._berths))
                self.happened[name] += 1
                assert killing is None or not killing.done(), killing
        finally:
            if killing is not None:
                killing.cancel()
                await asyncio.gather(killing, return_exceptions=True)
            for berth in self._berths:
                berth.host.kill()
                await berth.host.ended()
                await berth.proxy.close()

    async def _kill(self, berth: Berth) -> None:
        if self._rng.random() < 0.9:  # else perhaps while it opens
            await self._campaign.heard(self._rng.randrange(MOST_HEARD))
        berth.host.kill()
        await berth.host.ended()
        berth.host = await self._campaign.host(berth.proxy, "storm")

    async def _stop(self, berth: Berth) -> None:
        """Let a host sleep through its lease."""
        berth.host.signal(signal.SIGSTOP)
        await asyncio.sleep(self._rng.uniform(1, 2) * LEASE_SECONDS)
        berth.host.signal(signal.SIGCONT)

    async def _cut(self, berth: Berth) -> None:
        berth.proxy.cut()

    async def _line(self, berth: Berth, line: Line) -> None:
        berth.proxy.switch(line)
        await asyncio.sleep(self._rng.uniform(0, 2) * LEASE_SECONDS)
        berth.proxy.switch(Line.OPEN)

    async def _slow(self, berth: Berth) -> None:
        berth.proxy.delay = self._rng.uniform(0, 0.1)
        await asyncio.sleep(0.5)
        berth.proxy.delay = 0.0

    async def _kill_server(self, seconds: float) -> None:
        while True:
            await asyncio.sleep(seconds)
            await asyncio.to_thread(self._campaign.server.restart)
            self.happened["server"] += 1


async def storm(campaign: Campaign, seed: int, kills: int, server: float | None) -> Storm:
    """Let a storm rage; return what happened."""
    made = Storm(campaign, seed)
    await made.rage(kills, server=server)
    return made
