"""A child of the full-disk tests: fills the disk under an open queue, and frees it again.

Called with a directory of its own on a small file system, and ``ballast`` or
``limit``: how the disk gets full. Prints what happened as JSON.
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
from wopr.storage.duckdb import folding
from wopr.storage.duckdb.folding import Folding

PATIENCE = 60.0


class Ballast:
    """Fills a real file system to the last byte."""

    def __init__(self, place: Path) -> None:
        self._file = place / "ballast"

    def fill(self, left: int = 0) -> None:
        """Take all space but ``left`` bytes."""
        with open(self._file, "ab", buffering=0) as file:
            for size in (65_536, 4_096, 1):
                try:
                    while True:
                        file.write(b"x" * size)
                except OSError:
                    continue
            file.truncate(file.tell() - left)

    def free(self) -> None:
        self._file.unlink()


class Limit:
    """Lets no file grow beyond what the log has now: the next write fails (EFBIG)."""

    def __init__(self, place: Path) -> None:
        self._place = place
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    def fill(self, left: int = 0) -> None:
        """Let the log grow by so few bytes that no commit fits."""
        size = os.stat(self._place / "tasks.duckdb.wal").st_size
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + left, hard))

    def free(self) -> None:
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))


class Checkpoints:
    """Counts how often a checkpoint was tried."""

    def __init__(self) -> None:
        self.tried = 0
        original = Folding._checkpoint

        def checkpoint(self_: Folding) -> None:
            try:
                original(self_)
            finally:
                self.tried += 1

        Folding._checkpoint = checkpoint  # type: ignore[method-assign]

    async def more_than(self, tried: int) -> None:
        """Wait until more than so many were tried."""
        async with asyncio.timeout(PATIENCE):
            while self.tried <= tried:
                await asyncio.sleep(0.005)


async def main(place: Path, disk: Ballast | Limit, checkpoint: bool) -> dict[str, Any]:
    """Enqueue on a good, a full and again a good disk."""
    queue = TaskQueue(enabled=True, database=place / "tasks.duckdb")
    checkpoints = Checkpoints()

    @queue.task(name="store", category="c")
    async def store(text: str) -> int:
        return len(text)

    async with queue:
        good = [(await store.enqueue(os.urandom(5_000).hex())).id for _ in range(20)]
        await queue.get_tasks()  # folds
        size = 50_000
        if checkpoint:  # commits fit, what is in the log does not
            size = 100
            folding.CHECKPOINT_WAL_BYTES = 1
            folding.CHECKPOINT_IDLE_SECONDS = 0.0
        disk.fill(left=60_000 if checkpoint else 0)
        refused, errors = 0, []
        for _ in range(30):  # a few may still fit in what the file system had set aside
            tried = checkpoints.tried
            try:
                good.append((await store.enqueue("y" * size)).id)
            except StorageError as error:
                refused += 1
                errors.append(str(error))
            if checkpoint and not refused:
                await checkpoints.more_than(tried)
        await queue.start_workers("c", 2)  # these can't store their claims
        disk.free()
        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    good.append((await store.enqueue("z")).id)
                    break
                except StorageError:
                    await asyncio.sleep(0.05)
        results = [(await queue.wait(task_id, timeout=PATIENCE)).result for task_id in good]
        found = {info.id for info in await queue.get_tasks(limit=1_000)}
    return {
        "refused": refused,
        "errors": errors[:1],
        "acknowledged": len(good),
        "lost": sorted(set(good) - found),
        "unexpected": len(found - set(good)),
        "results": results,
    }


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    where = Path(sys.argv[1])
    full = Ballast(where) if sys.argv[2] == "ballast" else Limit(where)
    print(json.dumps(asyncio.run(main(where, full, sys.argv[3] == "checkpoint"))))
