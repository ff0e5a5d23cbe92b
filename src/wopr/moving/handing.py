"""Puts back in its queue what runs on the hosts of a queue that moves away."""

from __future__ import annotations

from wopr.domain import decide
from wopr.domain.address import PostgresAddress
from wopr.domain.clock import SystemClock, naive_now
from wopr.domain.status import Move
from wopr.storage.postgres.connections import CONNECT_SECONDS, Connections
from wopr.storage.postgres.statements import STARTED
from wopr.storage.postgres.store import Store, records

PAGE = 500


async def hand_back(address: PostgresAddress) -> None:
    """Interrupt what runs: its hosts find out, and stop it."""
    connections = Connections(address, 1, CONNECT_SECONDS)
    await connections.open()
    try:
        store = Store(connections)
        while running := records(await connections.rows(STARTED, most=PAGE)):
            now = naive_now(SystemClock())
            made = [(one, decide.move(one, Move.INTERRUPT, now, reason="moved")) for one in running]
            await store.change([(one, change) for one, change in made if change is not None])
    finally:
        await connections.close()
