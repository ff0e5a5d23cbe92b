"""A child of the full-disk tests: fills the disk under an open queue, and frees it again.

Called with a directory of its own on a small file system, ``ballast`` or ``limit``: how the
disk gets full, and ``journal``, ``tables`` or ``checkpoint``: what is to lack the space. Prints
what happened as JSON.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any

from wopr import TaskQueue
from wopr.domain.errors import StorageError
from wopr.storage.duckdb import checkpoints, folding
from wopr.storage.duckdb.journal import segments

PATIENCE = 60.0
CALLS = 30


class Ballast:
    """Fills a real file system to the last byte."""

    def __init__(self, place: Path) -> None:
        self._file = place / "ballast"

    def fill(self) -> None:
        """Take all space."""
        with open(self._file, "ab", buffering=0) as file:
            for size in (65_536, 4_096, 1):
                try:
                    while True:
                        file.write(b"x" * size)
                except OSError:
                    continue

    def free(self) -> None:
        self._file.unlink()


class Limit:
    """Lets no file be longer than the journal's first segment: what is beyond fails (EFBIG)."""

    def __init__(self, place: Path) -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    def fill(self) -> None:
        """Begin to do so."""
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (segments.FIRST_BYTES, hard))

    def free(self) -> None:
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))


class Scenario:
    """Enqueue on a good, a full and again a good disk."""

    def __init__(self, place: Path, disk: Ballast | Limit, lacks: str) -> None:
        self.disk = disk
        self.queue = TaskQueue(enabled=True, database=place / "tasks.duckdb")
        self.good: list[str] = []
        self.refused: list[str] = []
        self.unanswered: list[str] = []
        self.size = 50_000 if lacks == "journal" else 100
        folding.BACK_OFF_SECONDS = 0.05
        if lacks == "checkpoint":  # one after each fold
            checkpoints.SHARE = 1_000_000_000

        @self.queue.task(name="store", category="c")
        async def store(text: str) -> int:
            return len(text)

        self.store = store

    async def run(self) -> dict[str, Any]:
        """Do all of it; return what happened."""
        async with self.queue as queue:
            for _ in range(20):
                self.good.append((await self.store.enqueue(os.urandom(5_000).hex())).id)
            await queue.get_tasks()
            self.disk.fill()
            for _ in range(CALLS):
                await self.enqueue("y" * self.size)
            await self.ask()
            await queue.start_workers("c", 2)  # these may not be able to store their claims
            self.disk.free()
            async with asyncio.timeout(PATIENCE):
                while not await self.enqueue("z") or not await self.ask():
                    await asyncio.sleep(0.05)
            results = [(await queue.wait(one, timeout=PATIENCE)).result for one in self.good]
            found = {info.id for info in await queue.get_tasks(limit=1_000)}
        return {
            "refused": self.refused,
            "unanswered": self.unanswered,
            "acknowledged": len(self.good),
            "lost": sorted(set(self.good) - found),
            "unexpected": len(found - set(self.good)),
            "results": results,
        }

    async def enqueue(self, text: str) -> bool:
        """Enqueue a task; return whether it was accepted."""
        try:
            self.good.append((await self.store.enqueue(text)).id)
        except StorageError as error:
            self.refused.append(str(error))
            return False
        return True

    async def ask(self) -> bool:
        """Ask a question that the tables have to answer; return whether they did."""
        try:
            await self.queue.get_task_stats()
        except StorageError as error:
            self.unanswered.append(str(error))
            return False
        return True


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    where = Path(sys.argv[1])
    full = Ballast(where) if sys.argv[2] == "ballast" else Limit(where)
    print(json.dumps(asyncio.run(Scenario(where, full, sys.argv[3]).run())))
