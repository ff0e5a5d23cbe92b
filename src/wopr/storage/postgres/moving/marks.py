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
GUARDED = ("tasks", "transitions", "task_logs", "schedules", "rules", "acts", "owners")


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


KEEPING_LOCK = 0x776F7076
"""Of PostgreSQL's advisory locks: held by a move while what it has compared has to stay."""
KEEP = f"""
create unlogged table if not exists wopr.late_lines (
    task_id uuid not null, attempt integer not null, number integer not null
);
truncate wopr.late_lines;
create or replace function wopr.is_leaving() returns trigger
language plpgsql security definer set search_path = pg_catalog as $$
begin
    if pg_try_advisory_xact_lock_shared({KEEPING_LOCK}) then
        return null;
    end if;
    if tg_op = 'INSERT' then
        insert into wopr.late_lines select task_id, attempt, number from new_lines;
        return null;
    end if;
    raise exception 'The queue is about to leave this server: nothing is deleted meanwhile'
        using errcode = 'WM002', hint = 'Do it again in a minute, or once the queue has moved.';
end
$$;
create or replace trigger is_leaving before delete on wopr.tasks
for each statement execute function wopr.is_leaving();
create or replace trigger is_leaving before delete on wopr.transitions
for each statement execute function wopr.is_leaving();
create or replace trigger is_leaving before delete on wopr.task_logs
for each statement execute function wopr.is_leaving();
create or replace trigger notes_lines after insert on wopr.task_logs
referencing new table as new_lines
for each statement execute function wopr.is_leaving()
"""
LET_GO = """
set lock_timeout = '1s';
drop trigger if exists is_leaving on wopr.tasks;
drop trigger if exists is_leaving on wopr.transitions;
drop trigger if exists is_leaving on wopr.task_logs;
drop trigger if exists notes_lines on wopr.task_logs;
drop function if exists wopr.is_leaving();
drop table if exists wopr.late_lines;
reset lock_timeout
"""
"""While nobody holds the lock, the triggers of a move that was killed do nothing at all."""
