"""Hanging up at once, on a connection that may have ended by itself."""

from __future__ import annotations

import asyncio
import contextlib


def hang_up(transport: asyncio.WriteTransport) -> None:
    """Close a connection at once, whatever the other side has not read. Idempotent.

    A transport of CPython's that was closed with bytes unsent, and has sent them since, has no
    event loop any more: its ``abort()`` raises an AttributeError then, and nothing is left to do.
    """
    with contextlib.suppress(AttributeError):
        transport.abort()
