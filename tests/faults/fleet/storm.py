"""Hosts under load, and all that happens to them and to their server at random."""

from __future__ import annotations

import asyncio
import random
import signal
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from faults.fleet.campaign import Campaign
from faults.fleet.hosts import Host
from faults.fleet.life import LEASE_SECONDS
from faults.fleet.proxy import Line, Proxy

HOSTS = 3
MOST_HEARD = 2_000
"""A host is killed when all together have told fewer bytes than this since the last deed."""
LONGEST_PAUSE = 0.3
"""Seconds between two deeds, at most; kills go on beside the others."""


@dataclass
class Berth:
    """Where one host after the other lives, behind a line of its own."""

    proxy: Proxy
    host: Host
    busy: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while something happens to it."""


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

    async def rage(
        self, kills: int, *, server: float | None, deeds: tuple[str, ...] = (), hosts: int = HOSTS
    ) -> None:
        """Go on until so many hosts were killed.

        Args:
            kills: how many.
            server: so many seconds after its start, the server is killed again and again.
            deeds: these only, besides kills.
            hosts: so many live at once.
        """
        for _ in range(hosts):
            proxy = Proxy(self._campaign.server.socket)
            await proxy.start()
            self._berths.append(Berth(proxy, await self._campaign.host(proxy, "storm")))
        names = [name for name in deeds or self._deeds if name != "kill"]
        beside = [asyncio.create_task(self._go_on(names))]
        if server is not None:
            beside.append(asyncio.create_task(self._kill_server(server)))
        try:
            while self.happened["kill"] < kills:
                await self._do(["kill"])
                assert not any(one.done() for one in beside), beside
        finally:
            for one in beside:
                one.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
            for berth in self._berths:
                berth.host.kill()
                await berth.host.ended()
                await berth.proxy.close()

    async def _go_on(self, names: list[str]) -> None:
        while True:
            await self._do(names)

    async def _do(self, names: list[str]) -> None:
        """Let something happen to somebody to whom nothing happens just now."""
        await asyncio.sleep(self._rng.uniform(0, LONGEST_PAUSE))
        free = [one for one in self._berths if not one.busy.locked()]
        if not free:
            return
        berth, name = self._rng.choice(free), self._rng.choice(names)
        async with berth.busy:
            await self._deeds[name](berth)
        self.happened[name] += 1

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
