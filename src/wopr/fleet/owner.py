"""This host's lease: while it holds it, what it has claimed is its own.

The lease is on the clock of the database. Who can't renew it in time has lost what it runs: others
put that back in its queue. A host that slept meanwhile finds that out when it wakes up: nothing
of what it ends can be written, and it stops what was taken from it.
"""

from __future__ import annotations

import json
import logging
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from wopr.domain import decide
from wopr.domain.errors import StorageError
from wopr.domain.spoken import counted
from wopr.domain.status import Move, TaskStatus
from wopr.fleet.changing import Changing
from wopr.fleet.parts import Parts
from wopr.ports.storage import Entry
from wopr.running.attempt import Worker
from wopr.storage.postgres import statements
from wopr.storage.postgres.store import records

log = logging.getLogger(__name__)

LEASE_SECONDS = 15.0
PAGE = 500


class Owner:
    """One host's row of owners.

    Args:
        parts: of the fleet.
        changing: puts back what nobody runs.
        max_crashes: a task that ran in so many deaths fails.
        slots: the workers of this host, by category.
    """

    def __init__(
        self,
        parts: Parts,
        changing: Changing,
        max_crashes: int,
        slots: Callable[[], Mapping[str, Sequence[Worker]]],
    ) -> None:
        self._parts = parts
        self._changing = changing
        self._max_crashes = max_crashes
        self._slots = slots
        self.id = 0
        """0: it has no lease, and can claim nothing."""
        self._patient_until = float("-inf")
        self._strange: dict[str, int] = {}
        """Tasks of its own, with their versions, that did not run here at the last look."""

    async def register(self) -> None:
        """Get a lease."""
        rows = await self._parts.store.connections.rows(
            statements.REGISTER, host=socket.gethostname(), pid=os.getpid(), lease=LEASE_SECONDS
        )
        before, self.id = self.id, rows[0][0]
        if before:  # what nobody has taken meanwhile is still this host's
            await self._parts.store.connections.rows(statements.ADOPT, before=before, owner=self.id)

    async def renew(self) -> bool:
        """Renew the lease; ``False`` if it was lost, and there is a new one."""
        slots = {name: [one.name for one in found] for name, found in self._slots().items()}
        rows = await self._parts.store.connections.rows_within(
            LEASE_SECONDS / 3,
            statements.RENEW,
            lease=LEASE_SECONDS,
            owner=self.id,
            slots=json.dumps(slots),
        )
        if rows:
            return True
        self._patient_until = self._parts.clock.monotonic() + LEASE_SECONDS
        log.warning(
            "This host did not renew its lease of %g s in time: what it ran was taken from it, as "
            "far as others looked. Was the process stopped, or the server out of reach?",
            LEASE_SECONDS,
        )
        await self.register()
        return False

    async def leave(self) -> None:
        """Give the lease back: what still runs here may be taken at once."""
        if self.id:
            try:
                await self._parts.store.connections.rows(statements.LEAVE, owner=self.id)
            except StorageError as error:
                log.warning("The lease could not be given back, and runs out: %s", error)
            self.id = 0

    async def put_back(self, strange: Mapping[str, int]) -> None:
        """Put back what is claimed for this host and does not run here, look after look.

        Its claim was made, and the connection broke before this host heard of it.

        Args:
            strange: the versions of those tasks.
        """
        again = [one for one, version in strange.items() if self._strange.get(one) == version]
        self._strange = dict(strange)
        if not again:
            return
        now = self._parts.now()
        for record in (await self._parts.store.get_many(again)).values():
            made = decide.move(record, Move.INTERRUPT, now, reason="claim was not heard of")
            if made is not None and record.version == strange[record.id]:
                await self._changing.made([(record, made)])

    def may_recover(self) -> bool:
        """Whether this host kept its lease for some time, so that others could have kept theirs.

        After an outage of the server, or of the network, they get the time to say that they live.
        """
        return self._parts.clock.monotonic() >= self._patient_until

    async def forget(self) -> None:
        """Forget the hosts whose leases have ended, and whose tasks were taken over."""
        await self._parts.store.connections.rows(statements.FORGET_EXPIRED)

    async def recover(self, category: str | None) -> int:
        """Decide about tasks that nobody runs; return how many there were."""
        count = 0

        async def work(connection: Any) -> list[Entry]:
            values = {"category": category, "most": PAGE}
            cursor = await connection.execute(statements.ORPHANS, values)
            now = self._parts.now()
            lost = [
                (record, decide.recover(record, self._max_crashes, now))
                for record in records(await cursor.fetchall())
            ]
            entries = [(record, made) for record, made in lost if made is not None]
            return await self._changing.within(connection, entries)

        while True:
            done = await self._changing.transaction(work)
            self._changing.tell(done)
            lost = sum(made.from_status is TaskStatus.STARTED for _, made in done)
            count += lost
            if lost < PAGE:
                break
        await self.forget()
        if count:
            said = counted(count, "task")
            log.warning("Recovered %s that a dead process had left running.", said)
        return count
