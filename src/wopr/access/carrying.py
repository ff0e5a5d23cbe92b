"""Ask this process what a client was about to ask the owner, now that it has the file itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from wopr.ports.backend import Backend
from wopr.remote import protocol
from wopr.remote.series import Series
from wopr.remote.verbs import Verbs

AGAIN_SECONDS = 0.01
"""So long it is waited before an owner that is about to go is asked once more."""


async def ask_here(backend: Backend, most_args_bytes: int, verb: str, params: Sequence[Any]) -> Any:
    """Carry out a verb as the owner's socket does; return what would arrive at the client."""
    verbs = Verbs(backend, lambda: False, most_args_bytes, Series())
    sent = protocol.decode(protocol.encode({"params": list(params)}))
    answer = await verbs.carry_out(verb, sent["params"])
    return protocol.decode(protocol.encode({"ok": answer}, protocol.ANSWER))["ok"]
