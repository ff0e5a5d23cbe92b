"""What the tables on a server say of a queue that moves, in ``wopr.meta``."""

from __future__ import annotations

from typing import Any

from wopr.domain.errors import QueueMovedError
from wopr.domain.moving import MOVED, MOVING, refuse
from wopr.storage.postgres.connections import MOVED_STATE, Connections

_META = "select key, value from wopr.meta"
_ARRIVED = f"delete from wopr.meta where key = '{MOVING}'"


async def settle(connections: Connections, proof: str = "") -> None:
    """See that the queue is here.

    Args:
        connections: to a database with the tables of a queue.
        proof: the move that has ended here, if somebody comes from the home that was left.

    Raises:
        QueueMovedError: it is elsewhere.
        StorageError: it is half moved.
    """

    async def work(connection: Any) -> None:
        rows = await (await connection.execute(_META)).fetchall()
        meta = dict(rows)
        try:
            refuse(meta, proof=proof)
        except QueueMovedError as error:
            if connections.on_moved is not None:
                connections.on_moved(error)
            raise
        if MOVING in meta:
            await connection.execute(_ARRIVED)

    await connections.run(work)


GUARD = f"""
create or replace function wopr.has_moved() returns trigger language plpgsql as $$
begin
    raise exception '%', (select value from wopr.meta where key = '{MOVED}')
        using errcode = '{MOVED_STATE}';
end
$$
"""
"""Refuses a change, whoever makes it: hosts that were there before learn of the move by it."""
GUARDED = ("tasks", "transitions", "schedules", "rules", "acts", "owners")


def guards() -> list[str]:
    """Return what has each change of the tables refused from now on."""
    return [
        GUARD,
        *(
            f"create trigger has_moved before insert or update or delete on wopr.{table} "
            "for each statement execute function wopr.has_moved()"
            for table in GUARDED
        ),
    ]
