"""A queue on another machine, at the address of whoever serves its file there."""

from __future__ import annotations

import asyncio

from wopr.access.access import Access
from wopr.access.starting import acquired, open_elsewhere
from wopr.domain.address import Address
from wopr.domain.errors import InvalidCallError
from wopr.ports.backend import Backend
from wopr.remote.http import HttpBackend


class DistantAccess(Access):
    """Has no engine, and no file: each verb is a request."""

    _distant: HttpBackend | None = None

    @property
    def _address(self) -> Address:
        assert isinstance(self.database, Address), "it is made for one"
        return self.database

    def exists(self) -> bool:
        """Whether there is anything to read: whoever is asked knows."""
        return True

    def _usable(self) -> bool:
        return self._distant is not None and self._distant.open

    async def backend(self, deadline: float | None = None) -> Backend:
        """Return what carries the verbs out; connect if need be.

        Raises:
            QueueClosedError: it is in use on another event loop.
            StorageForkedError: it was open when this process was forked.
            StorageError: nobody answers there.
        """
        self.open_in.check(self.database)
        loop = asyncio.get_running_loop()
        if self._distant is not None and self._usable():
            if self._loop is not loop:
                raise open_elsewhere(self._loop)
            return self._distant
        if self._lock is None or self._loop is not loop:
            self._loop, self._lock = loop, asyncio.Lock()
        await acquired(self._lock, deadline, self.database)
        try:
            if self._distant is None or not self._usable():
                self.open_in.begin()
                self._backend = self._distant = await self._connected()
            return self._distant
        finally:
            if self.closed:
                self.open_in.end()
            self._lock.release()

    async def _connected(self) -> HttpBackend:
        settings = self._settings
        backend = HttpBackend(
            self._address,
            settings.token,
            settings.call_seconds,
            settings.query_seconds,
            self._clock,
            token_over_http=settings.token_over_http,
        )
        await backend.start()
        return backend

    def check_workers(self) -> None:
        """Refuse workers, and the scheduler.

        Raises:
            InvalidCallError: always.
        """
        raise InvalidCallError(
            f"Workers run on the machine that has the file, and {self.database} is at another "
            "one: run `wopr worker` there. From here tasks are enqueued, awaited and asked about."
        )

    async def stop(self, grace: float) -> None:
        """Let go of the connections. Idempotent."""
        if self.open_in.parent:
            return
        self._backend, distant, self._distant = None, self._distant, None
        if distant is not None:
            await distant.close()
        self.open_in.end()
        await self._registry.resources.close()
