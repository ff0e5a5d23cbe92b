"""Whether work flows in a queue, whatever state its file is in."""

from __future__ import annotations

import asyncio

from wopr.core.core import Core
from wopr.domain.address import PostgresAddress
from wopr.domain.errors import (
    OwnerBusyError,
    OwnerGoneError,
    OwnerSilentError,
    SchemaError,
    StorageError,
    StorageOwnedError,
)
from wopr.domain.reason import Reason, Severity
from wopr.ports.status import Status, unusable
from wopr.storage import missing

PATIENCE = 20.0
"""So many seconds an owner that is just opening the file, or closing it, is waited for."""
_KINDS: tuple[tuple[type[StorageError], str], ...] = (
    (OwnerSilentError, "owner silent"),
    (OwnerBusyError, "owner busy"),
    (StorageOwnedError, "owned"),
    (SchemaError, "schema"),
)


async def status_of(core: Core, *, brief: bool = False) -> Status:
    """Return whether work flows, and why not; also where the file can't be used at all."""
    if not core.enabled:
        return _unusable(core, "switched off", "The queue is switched off (WOPR_TASKS_ENABLED).")
    until = asyncio.get_running_loop().time() + PATIENCE
    while True:
        try:
            backend = await core.reader(until)
            if backend is None:
                text = str(missing(core.database))
                if isinstance(core.database, PostgresAddress):
                    return _unusable(core, "no tables", text)
                return _unusable(core, "no file", text)
            return await backend.status(brief=brief)
        except OwnerGoneError as error:  # the next one is asked
            if asyncio.get_running_loop().time() > until:
                return _unusable(core, "owner silent", str(error))
        except StorageError as error:
            kind = next((name for cls, name in _KINDS if isinstance(error, cls)), "file")
            return _unusable(core, kind, str(error))


def _unusable(core: Core, kind: str, text: str) -> Status:
    command = "wopr doctor" if kind == "file" else None
    reason = Reason(kind=kind, severity=Severity.STOPPED, text=text, command=command)
    return unusable(str(core.database), core.time.now(), reason)
