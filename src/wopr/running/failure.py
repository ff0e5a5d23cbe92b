"""What of an error is kept: its text, its type, its traceback, and what it goes back to."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass

from wopr.domain.guarded import cause_of, error_text, full_name, members_of, name_of
from wopr.domain.traces import RemoteTraceback, traceback_of
from wopr.executors.told import original_of

MOST_LEAVES = 20
DEEPEST = 50
LONGEST_LEAF = 500

_UUID = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")
_HEX = re.compile(r"0[xX][0-9a-fA-F]+|\b[0-9a-fA-F]*(?:[0-9][a-fA-F]|[a-fA-F][0-9])[0-9a-fA-F]*\b")
_DIGITS = re.compile(r"[0-9]+")


@dataclass(frozen=True, slots=True)
class Failure:
    """An error as texts."""

    text: str
    """Its type and what it says."""
    kind: str
    """Its type with the module."""
    traceback: str
    origin: str | None
    """The leaves of a group, and what errors were raised from: what tells causes apart where the
    error's own text doesn't. None for a plain error."""


def failure_of(error: BaseException) -> Failure:
    """Describe an error. Nothing that its own methods raise gets out."""
    original = original_of(error)
    trace = original.traceback if original is not None else ""
    return Failure(
        _line(error), full_name(type(error)), trace or traceback_of(error), _origin(error)
    )


def _line(error: BaseException) -> str:
    original = original_of(error)
    text = error_text(error) if original is None else original.text
    name = name_of(type(error), whole=True)
    return f"{name}: {text}" if text else name


def _origin(error: BaseException) -> str | None:
    if not members_of(error) and _cause(error) is None:
        return None
    return "; ".join(sorted(_leaves(error, 0))[:MOST_LEAVES])


def _leaves(error: BaseException, depth: int) -> set[str]:
    """Return what the errors say that others were made of, each once, without their numbers."""
    members = members_of(error)
    if members and depth < DEEPEST:
        return set().union(*(_leaves(one, depth + 1) for one in members[: 10 * MOST_LEAVES]))
    line = _without_numbers(_line(error)[:LONGEST_LEAF])
    cause = _cause(error)
    if cause is None or depth >= DEEPEST:
        return {line}
    return {f"{line} from {leaf}" for leaf in _leaves(_first(cause), depth + 1)}


def _first(error: BaseException) -> BaseException:
    """Return the cause that all the others come from."""
    for _ in range(DEEPEST):
        cause = _cause(error)
        if cause is None or members_of(error):
            break
        error = cause
    return error


def _cause(error: BaseException) -> BaseException | None:
    """Return what an error was raised from, if that says more than that it was stopped."""
    cause = cause_of(error)
    if cause is None or issubclass(type(cause), asyncio.CancelledError | RemoteTraceback):
        return None
    return cause


def _without_numbers(text: str) -> str:
    """Replace what differs between two errors of one cause, as the view ``failures`` does."""
    text = _HEX.sub("<hex>", _UUID.sub("<uuid>", text))
    return _DIGITS.sub("<n>", text)
