"""Calls that an owner did not answer: which those are, and how this process answers them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from wopr.access.local import LocalBackend
from wopr.domain.errors import OwnerGoneError, OwnerLeavingError, StorageError
from wopr.ports.backend import Backend
from wopr.remote import protocol
from wopr.remote.series import Series
from wopr.remote.verbs import ONCE, Verbs

AGAIN_SECONDS = 0.01
"""So long it is waited before an owner that is about to go is asked once more."""


def not_begun(backend: Backend, error: StorageError) -> bool:
    """Whether a change was not made because its owner, this process perhaps, gave the file up."""
    if isinstance(backend, LocalBackend) and backend.engine.given_up:
        return True  # its storage was closed before the change was handed over
    return isinstance(error, OwnerLeavingError)


def not_answered(backend: Backend, error: StorageError) -> bool:
    """Whether nobody answered, because the owner is gone or gave the file up."""
    return isinstance(error, OwnerGoneError) or not_begun(backend, error)


def repeatable(backend: Backend, error: StorageError, verb: str) -> bool:
    """Whether the next owner may be asked what this one did not answer."""
    if verb in ONCE:  # a closed storage says nothing of what was changed before
        return isinstance(error, OwnerLeavingError)
    return not_answered(backend, error)


async def ask_here(backend: Backend, most_args_bytes: int, verb: str, params: Sequence[Any]) -> Any:
    """Carry out a verb as the owner's socket does; return what would arrive at the client."""
    verbs = Verbs(backend, lambda grace: False, most_args_bytes, Series())
    sent = protocol.decode(protocol.encode({"params": list(params)}))
    answer = await verbs.carry_out(verb, sent["params"])
    return protocol.decode(protocol.encode({"ok": answer}, protocol.ANSWER))["ok"]
