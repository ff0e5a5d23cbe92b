"""Moves a queue: from a file to PostgreSQL, or back."""

from __future__ import annotations

from pathlib import Path

from wopr.config.settings import Settings
from wopr.domain.address import Address, PostgresAddress
from wopr.domain.errors import InvalidCallError
from wopr.moving.moved import Moved
from wopr.storage.moving.tables import Tell, silent

GRACE_SECONDS = 30.0


async def move(
    source: Path,
    target: Path,
    settings: Settings,
    *,
    grace: float = GRACE_SECONDS,
    tell: Tell = silent,
) -> Moved:
    """Move a queue while it works; return what came of it.

    Args:
        source: where it is: a file, or a database of PostgreSQL.
        target: where it is to be: the other one of the two, empty, or broken off before.
        settings: of this process.
        grace: so many seconds what runs may take to end; then it is put back in its queue.
        tell: is told what is done.

    Raises:
        InvalidCallError: these two are no file and no database of PostgreSQL.
        StorageError: it could not be done; the queue is where it was, if nothing else is said.
    """
    if isinstance(source, Address) == isinstance(target, Address) or any(
        isinstance(one, Address) and not isinstance(one, PostgresAddress)
        for one in (source, target)
    ):
        raise InvalidCallError(
            "A queue moves from a file to a database of PostgreSQL, or back, and not from "
            f"{source} to {target}. To copy a file: wopr backup. To reach one on another machine, "
            "run this there."
        )
    if isinstance(target, PostgresAddress):
        from wopr.moving.toserver import ToServer

        return await ToServer(source, target, settings, grace, tell).run()
    from wopr.moving.tofile import ToFile

    assert isinstance(source, PostgresAddress), "it is one of the two"
    return await ToFile(source, target, settings, grace, tell).run()
