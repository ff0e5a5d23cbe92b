"""The connections of an application that is served: what each may cost."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from wopr.config.hangup import hang_up
from wopr.domain.hosts import is_loopback
from wopr.remote.loopback import STATE, is_connected_by_another_user

HEAD_SECONDS = 10.0
"""The head of a request may take so long: who sends it byte by byte must not hold a connection."""
IDLE_SECONDS = 15.0
"""A connection on which nothing is asked is closed after so long."""
MOST_CONNECTIONS = 500
"""Of more, one on which nothing is asked is closed; if there is none, the newest."""
MOST_HEAD_BYTES = 32 * 1024


class Bounded(H11Protocol):
    """Logs no requests; knows whose program is at the other end, if that is on this machine."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.access_log = False
        self.head: asyncio.TimerHandle | None = None

    @property
    def idle(self) -> bool:
        """Whether no answer is under way."""
        return self.cycle is None or self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, or let go of one, where there are too many."""
        super().connection_made(transport)
        if self.client and self.server and is_loopback(self.client[0]):
            ends = self.client, (self.server[0], self.server[1] or 0)
            self.app_state = {**self.app_state, STATE: is_connected_by_another_user(*ends)}
        self._wait_for_head()
        all_of_them = cast("set[Bounded]", self.connections)
        if len(all_of_them) > MOST_CONNECTIONS:
            quiet = [one for one in all_of_them if one.idle and one is not self]
            hang_up((quiet[0] if quiet else self).transport)

    def data_received(self, data: bytes) -> None:
        """Take what came; a head that has begun has to end in time."""
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._wait_no_more()
        elif self.head is None:
            self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._wait_no_more()
        super().connection_lost(exc)

    def _wait_for_head(self) -> None:
        self.head = self.loop.call_later(HEAD_SECONDS, self._hang_up)

    def _wait_no_more(self) -> None:
        if self.head is not None:
            self.head.cancel()
            self.head = None

    def _hang_up(self) -> None:
        self.head = None
        if self.idle:
            hang_up(self.transport)
