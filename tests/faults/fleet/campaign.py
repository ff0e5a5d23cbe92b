"""Faults at every step of a host, one after the other, over one database that is judged at last."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from faults.fleet.hosts import Host, Nursery, nursery
from faults.fleet.judge import Verdict, judge
from faults.fleet.life import Orders
from faults.fleet.proxy import Fault, Proxy, When
from faults.fleet.server import Server

STORY_SECONDS = 60.0
LOOK_SECONDS = 0.01
SILENT_LOOKS = 500


@dataclass(frozen=True)
class Case:
    """One fault at one step."""

    label: str
    number: int
    when: When
    kill: bool
    """Kill the host; else cut its connection."""

    def __str__(self) -> str:
        return f"{'kill' if self.kill else 'cut'}:{self.when.value}:{self.number}:{self.label}"


def cases_of(steps: Counter[str], most: int = 3) -> list[Case]:
    """Return the cases at the first, the second, … step of each label."""
    return [
        Case(label, number, when, kill)
        for label, count in sorted(steps.items())
        for number in range(1, min(count, most) + 1)
        for when in When
        for kill in (True, False)
    ]


class Campaign:
    """Hosts on one database, what stands in between, and what is told."""

    def __init__(self, server: Server, folder: Path, seed: int, hosts: Nursery) -> None:
        self.server = server
        self.seed = seed
        self.said = folder / f"said-{uuid4().hex}"
        self.said.touch()
        self.database = f"wopr_{uuid4().hex}"
        self.direct = server.new_database(self.database)
        self._hosts = hosts
        self._started = 0
        self.happened = 0

    def orders(self, address: str, kind: str, **more: float) -> Orders:
        """Return what the next host is told."""
        self._started += 1
        return Orders(address, self.said, self.seed * 10_000 + self._started, kind, **more)

    async def host(self, proxy: Proxy, kind: str) -> Host:
        """Start a host behind a line."""
        return await self._hosts.start(self.orders(proxy.address(self.database), kind))

    async def heard(self, size: int) -> None:
        """Return when so many bytes more were told, or nothing for some time."""
        whole = self.said.stat().st_size + size
        for _ in range(SILENT_LOOKS):
            if self.said.stat().st_size >= whole:
                return
            await asyncio.sleep(LOOK_SECONDS)

    async def story(self, case: Case | None) -> Counter[str]:
        """Let a host live through its story, with a fault; return the steps that there were."""
        proxy = Proxy(self.server.socket)
        await proxy.start()
        try:
            host = await self.host(proxy, "story")
            if case is not None:
                do = host.kill if case.kill else None
                proxy.fault = Fault(case.label, case.number, case.when, do)
            await host.ended(STORY_SECONDS)
            self.happened += case is not None and proxy.fault is None
        finally:
            await proxy.close()
        return Counter(proxy.steps)

    async def stories(self, cases: Sequence[Case]) -> None:
        """Let hosts live through their stories, one after the other."""
        for case in cases:
            try:
                await self.story(case)
            except TimeoutError as error:
                raise AssertionError(f"the host hangs after {case}") from error

    async def finish(self) -> Verdict:
        """Let a last host do what is left, and judge."""
        host = await self._hosts.start(self.orders(self.direct, "drain"))
        await host.ended()
        with self.server.connect(self.database) as connection:
            return judge(connection, self.said)


@contextlib.asynccontextmanager
async def campaign(server: Server, folder: Path, seed: int) -> AsyncIterator[Campaign]:
    """Give a campaign, and end its hosts."""
    async with nursery() as hosts:
        yield await asyncio.to_thread(Campaign, server, folder, seed, hosts)
