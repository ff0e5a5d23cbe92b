"""Gets a file from whoever has it: for a copy, and then for good."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from wopr.config.settings import Settings
from wopr.domain.clock import SystemClock
from wopr.domain.errors import OwnerGoneError, StorageOwnedError
from wopr.ports.storage import Snapshot
from wopr.remote.client import RemoteBackend
from wopr.storage import back_up, signed
from wopr.storage.duckdb.moving.leaving import Leaving, opened_to_leave

AGAIN_SECONDS = 0.05
CLOSE_SECONDS = 60.0
"""So long its owner may take to close a file, once what ran has ended."""


async def copied(database: Path, target: Path, settings: Settings, *, verify: bool) -> None:
    """Make a copy of a file, which goes on being used.

    Args:
        database: the file.
        target: where its copy is to be.
        settings: of this process.
        verify: have a doctor see that all is well with it.

    Raises:
        StorageError: it could not be made, or a doctor found something.
    """

    async def copy() -> Snapshot:
        async with _owner(database, settings) as remote:
            return await remote.backup()

    await back_up(database, target, settings, copy, verify=verify, overwrite=True)


async def taken(database: Path, settings: Settings, grace: float) -> Leaving:
    """Get a file for good: its owner lets what runs end, for so many seconds, and closes it.

    Raises:
        StorageOwnedError: its owner does not let go of it.
        StorageError: it can't be used.
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + grace + settings.call_seconds + CLOSE_SECONDS
    while True:
        try:
            return await asyncio.to_thread(opened_to_leave, database, settings.memory_limit)
        except StorageOwnedError:
            if loop.time() > until:
                raise
        with contextlib.suppress(OwnerGoneError, StorageOwnedError):
            async with _owner(database, settings) as remote:
                if await remote.hand_over(grace):
                    await _left(remote, database, until)
                    return await _after(database, settings, until)
        await asyncio.sleep(AGAIN_SECONDS)


async def _left(remote: RemoteBackend, database: Path, until: float) -> None:
    """Return once the owner has said that it leaves."""
    try:
        async with asyncio.timeout_at(until):
            await remote.ended.wait()
    except TimeoutError:
        raise StorageOwnedError(
            f"Process {remote.owner_pid}, which has {database}, was asked to give it up for the "
            "move and did not: what runs there does not end. Nothing has moved. Stop it, then run "
            "the move again.",
            pid=remote.owner_pid,
        ) from None


async def _after(database: Path, settings: Settings, until: float) -> Leaving:
    """Open the file as soon as its owner, which has said that it leaves, has closed it."""
    while True:
        try:
            return await asyncio.to_thread(opened_to_leave, database, settings.memory_limit)
        except StorageOwnedError:
            if asyncio.get_running_loop().time() > until:
                raise
        await asyncio.sleep(AGAIN_SECONDS)


@contextlib.asynccontextmanager
async def _owner(database: Path, settings: Settings) -> AsyncIterator[RemoteBackend]:
    remote = RemoteBackend(
        database, settings.call_seconds, settings.query_seconds, None, SystemClock()
    )
    try:
        if not await remote.connect(signed(database).pid):
            raise StorageOwnedError(
                f"The process that has {database} can't be asked: {remote.refused}."
            )
        yield remote
    finally:
        await remote.close()
