"""Hosts that are processes, as the campaign starts and ends them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict

from faults.fleet.life import Orders
from support.paths import ROOT

PATIENCE = 120.0


class Host:
    """One host, by its process."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._handle = os.pidfd_open(pid)  # a number is given to others, this one is not
        self._gone = asyncio.Event()
        asyncio.get_running_loop().add_reader(self._handle, self._end)

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        return not self._gone.is_set()

    def signal(self, which: signal.Signals) -> None:
        """Send it a signal, if it is still there."""
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._handle, which)

    def kill(self) -> None:
        """Kill it."""
        self.signal(signal.SIGKILL)

    async def ended(self, seconds: float = PATIENCE) -> None:
        """Return once it has ended."""
        async with asyncio.timeout(seconds):
            await self._gone.wait()

    def _end(self) -> None:
        asyncio.get_running_loop().remove_reader(self._handle)
        os.close(self._handle)
        self._gone.set()


class Nursery:
    """Starts hosts, and leaves none."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._lock = asyncio.Lock()
        self._hosts: list[Host] = []

    async def start(self, orders: Orders) -> Host:
        """Start a host."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        async with self._lock:
            self._process.stdin.write((json.dumps(asdict(orders), default=str) + "\n").encode())
            line = await self._process.stdout.readline()
        assert line, "what starts hosts has died"
        host = Host(int(line))
        self._hosts = [one for one in self._hosts if one.alive] + [host]
        return host

    async def close(self) -> None:
        """Kill what is left."""
        for host in self._hosts:
            host.signal(signal.SIGCONT)
            host.kill()
        for host in self._hosts:
            await host.ended()
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()


@contextlib.asynccontextmanager
async def nursery(within: Sequence[str] = ()) -> AsyncIterator[Nursery]:
    """Give what starts hosts, and end all of them.

    Args:
        within: the command that has others run where they are to be.
    """
    environment = {k: v for k, v in os.environ.items() if not k.startswith("WOPR_")}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT / "tests"), str(ROOT / "src")])
    process = await asyncio.create_subprocess_exec(
        *within,
        sys.executable,
        "-m",
        "faults.fleet.zygote",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=environment,
    )
    made = Nursery(process)
    try:
        yield made
    finally:
        await made.close()
