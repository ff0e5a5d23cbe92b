"""The lines that this host's tasks log, on their way into ``task_logs``: many at once."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence

from wopr.domain.errors import StorageError
from wopr.domain.jsontext import clip
from wopr.domain.logline import LogLine
from wopr.storage.postgres.store import Store

log = logging.getLogger(__name__)

MOST_LINES = 100_000
MOST_BYTES = 32 * 1024 * 1024
MOST_AT_ONCE = 1_000
BYTES_AT_ONCE = 1024 * 1024
MESSAGE_BYTES = 64 * 1024
NAME_BYTES = 1024
AGAIN_SECONDS = 1.0
PATIENCE = 1.0
"""So long a read waits for what is on its way."""


class Lines:
    """Lines that are not stored yet, and whoever stores them; on the event loop."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: deque[LogLine] = deque()
        self._bytes = 0
        self._task: asyncio.Task[None] | None = None
        self._closed = self._said_so = False

    def add(self, lines: Sequence[LogLine]) -> None:
        """Take lines over, but drop them while too many wait."""
        if self._closed:
            return  # work that was abandoned can log after the end
        for line in lines:
            if len(self._waiting) >= MOST_LINES or self._bytes >= MOST_BYTES:
                self._complain()
                break
            self._waiting.append(line)
            self._bytes += _weight(line)
        if self._waiting and self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._write_on())

    def _complain(self) -> None:
        if not self._said_so:
            self._said_so = True
            log.warning(
                "Tasks log faster than the server takes it: %d of their lines wait, and what they "
                "log until those are written is not kept with them. Let them log less, or keep "
                "fewer lines per attempt: WOPR_TASKS_LOG_LINES.",
                len(self._waiting),
            )

    async def _write_on(self) -> None:
        try:
            while self._waiting:
                batch = self._next()
                try:
                    await self._store.save_logs([_bounded(line) for line in batch])
                except StorageError as error:
                    log.error("Lines that tasks logged could not be stored yet: %s", error)
                    if self._closed:
                        return
                    await asyncio.sleep(AGAIN_SECONDS)
                    continue
                for line in batch:
                    self._waiting.popleft()
                    self._bytes -= _weight(line)
            self._said_so = False
        finally:
            self._task = None

    def _next(self) -> list[LogLine]:
        batch: list[LogLine] = []
        size = 0
        for line in self._waiting:
            if len(batch) == MOST_AT_ONCE or size >= BYTES_AT_ONCE:
                break
            batch.append(line)
            size += _weight(line)
        return batch

    async def written(self) -> None:
        """Return once what there is is stored, or a second has passed."""
        if self._task is not None:
            await asyncio.wait([self._task], timeout=PATIENCE)

    def left(self) -> list[LogLine]:
        """Return what was not stored, once it is closed."""
        return list(self._waiting)

    async def close(self) -> None:
        """Store what is left, and no more; what the server does not take then is lost."""
        self._closed = True
        if self._task is not None:
            await asyncio.wait([self._task])


def _weight(line: LogLine) -> int:
    return 200 + len(line.message)


def _bounded(line: LogLine) -> LogLine:
    """Return a line as the table takes it: texts there have no NUL."""
    return LogLine(
        line.task_id,
        line.attempt,
        line.number,
        line.logged_at,
        clip(line.level, NAME_BYTES).replace("\0", "�"),
        clip(line.logger, NAME_BYTES).replace("\0", "�"),
        clip(line.message, MESSAGE_BYTES).replace("\0", "�"),
    )
