"""What hosts call to each other: hints, which may get lost. Who misses one looks a little later."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Any, Protocol

from wopr.domain.errors import StorageError
from wopr.storage.postgres.connections import Connections, Patience

log = logging.getLogger(__name__)

CHANNEL = "wopr"
WORK, ENDED, CANCELLED, RULES = "w", "e", "c", "r"
MOST_IDS = 150
"""Ids in one notice: it may have 8,000 bytes."""
MOST_WAITING = 10_000
"""Ids that wait to be called out; those beyond are not: whoever wants them looks by itself."""
AGAIN_SECONDS = 1.0
BETWEEN_SECONDS = 0.005
"""Between two calls, so that many things to be said in a row are one statement."""
ASKED_SECONDS = 30.0
"""After so long without a notice the server is asked whether it is still there."""
ANSWER_SECONDS = 10.0
_NOTIFY = """
select set_config('synchronous_commit', 'off', true), pg_notify(%(channel)s, said)
from unnest(%(notices)s::text[]) as said
"""
"""It waits for no disk: who is not there to hear it after a crash looks at the tables anyway."""


class Hears(Protocol):
    """Who is told what other hosts call."""

    def heard(self, kind: str, said: list[str]) -> None:
        """Take a notice."""
        ...

    def missed(self) -> None:
        """Look at everything: for a while nobody listened here."""
        ...


class Bell:
    """Calls to other hosts, after the commit, many at once."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._said: dict[str, dict[str, None]] = {}
        self._ringing: asyncio.Task[None] | None = None
        self.closed = False

    def work(self, category: str) -> None:
        """Say that a category has something to start."""
        self._say(WORK, category)

    def ended(self, task_id: str) -> None:
        """Say that a task has ended."""
        self._say(ENDED, task_id)

    def cancelled(self, task_id: str) -> None:
        """Say that a task which runs somewhere was taken from who runs it."""
        self._say(CANCELLED, task_id)

    def rules(self) -> None:
        """Say that rules have changed."""
        self._say(RULES, "")

    def _note(self, kind: str, what: str) -> None:
        said = self._said.setdefault(kind, {})
        if len(said) < MOST_WAITING:
            said[what] = None

    def _say(self, kind: str, what: str) -> None:
        self._note(kind, what)
        if self._ringing is None and not self.closed:
            self._ringing = asyncio.get_running_loop().create_task(self._ring())

    async def _ring(self) -> None:
        try:
            await asyncio.sleep(0)  # what else is said in this turn goes along
            while self._said:
                said, self._said = self._said, {}
                await self._send(notices_of(said))
                await asyncio.sleep(0 if self.closed else BETWEEN_SECONDS)
        except StorageError as error:
            log.debug("Other hosts were not told, and look by themselves: %s", error)
        finally:
            self._ringing = None

    async def _send(self, notices: list[str]) -> None:
        await self._connections.rows(_NOTIFY, channel=CHANNEL, notices=notices)

    async def close(self) -> None:
        """Say what is left to say, and no more."""
        self.closed = True
        if self._ringing is not None:
            await asyncio.wait([self._ringing], timeout=AGAIN_SECONDS)


def notices_of(said: dict[str, dict[str, None]]) -> list[str]:
    """Return what was said, by kind, as it is called out."""
    notices = []
    for kind, names in said.items():
        whole = list(names)
        if kind == WORK:
            notices += [f"{kind}{one}" for one in whole]
        else:
            notices += [
                kind + ",".join(whole[at : at + MOST_IDS]) for at in range(0, len(whole), MOST_IDS)
            ]
    return notices


class Listener:
    """Hears what other hosts call, on a connection of its own.

    Behind a pooler that lends a connection for one transaction nobody can listen, and it is not
    tried: then the looks at the tables are all there is.
    """

    def __init__(self, connections: Connections, hears: Hears) -> None:
        self._connections = connections
        self._hears = hears
        self._task: asyncio.Task[None] | None = None
        self._told = False

    def start(self) -> None:
        """Listen from now on, where that can be."""
        if self._connections.lent:
            return
        self._task = asyncio.get_running_loop().create_task(self._listen())

    async def stop(self) -> None:
        """Listen no more. Idempotent."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _listen(self) -> None:
        while True:
            try:
                await self._connections.lone(self._hear, patience=Patience.NONE)
            except (StorageError, TimeoutError) as error:
                if not self._told:
                    log.warning("Other hosts are not heard, so looks take their place: %s", error)
                self._told = True
            await asyncio.sleep(AGAIN_SECONDS)

    async def _hear(self, connection: Any) -> None:
        await connection.execute(f"listen {CHANNEL}")
        self._told = False
        self._hears.missed()
        while True:
            async for notice in connection.notifies(timeout=ASKED_SECONDS):
                kind, rest = notice.payload[:1], notice.payload[1:]
                said = [rest] if kind == WORK else rest.split(",")
                self._hears.heard(kind, said)
            async with asyncio.timeout(ANSWER_SECONDS):
                await connection.execute("select 1")  # a broken connection is as silent as an idle
