"""What seeds have found, one by one."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

from wopr.domain.errors import StorageError
from wopr.engine.shared import to_its_end


async def test_an_error_after_its_caller_has_gone_is_nobodys_complaint() -> None:
    """A caller gave up on pause() or set_limit(), the disk refused it, and asyncio complained."""
    complaints: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, said: complaints.append(said))
    written: asyncio.Future[None] = loop.create_future()

    async def write() -> None:
        await written

    caller = asyncio.ensure_future(to_its_end(write()))
    await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    written.set_exception(StorageError("The disk refused it."))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    gc.collect()

    assert complaints == []


async def test_who_waits_is_told_the_error() -> None:
    async def write() -> None:
        raise StorageError("The disk refused it.")

    with pytest.raises(StorageError, match="refused"):
        await to_its_end(write())
