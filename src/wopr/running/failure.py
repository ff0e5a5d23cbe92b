"""What of an error is kept: its text, its type, its traceback, and what it goes back to."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass

from wopr.domain.guarded import cause_of, error_text, full_name, members_of, name_of
from wopr.domain.traces import RemoteTraceback, traceback_of
from wopr.executors.told import original_of

MOST_LEAVES = 20
MOST_SHOWN = 5
"""Members of a group that its text repeats."""
DEEPEST = 50
LONGEST_LEAF = 500

_UUID = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")
_HEX = re.compile(r"0[xX][0-9a-fA-F]+|\b[0-9a-fA-F]*(?:[0-9][a-fA-F]|[a-fA-F][0-9])[0-9a-fA-F]*\b")
_DIGITS = re.compile(r"[0-9]+")


@dataclass(frozen=True, slots=True)
class Failure:
    """An error as texts."""

    text: str
    """Its type and what it says; for a group, also what its first members say."""
    kind: str
    """Its type with the module."""
    traceback: str
    roots: str | None
    """The leaves of a group, and what errors were raised from: what tells causes apart where the
    error's own text doesn't. None for a plain error."""


def failure_of(error: BaseException) -> Failure:
    """Describe an error. Nothing that its own methods raise gets out."""
    original = original_of(error)
    trace = original.traceback if original is not None else ""
    return Failure(
        _text(error), full_name(type(error)), trace or traceback_of(error), _roots(error)
    )


def _text(error: BaseException) -> str:
    lines, waiting = [_line(error)], [*members_of(error)][:MOST_LEAVES]
    while waiting and len(lines) <= MOST_SHOWN:
        one = waiting.pop(0)
        members = members_of(one)[:MOST_LEAVES]
        waiting[:0] = members
        if not members:
            lines.append(_line(one)[:LONGEST_LEAF])
    text = ": ".join([lines[0], "; ".join(lines[1:])] if lines[1:] else lines)
    return f"{text}; …" if waiting else text


def _line(error: BaseException) -> str:
    original = original_of(error)
    text = error_text(error) if original is None else original.text
    name = name_of(type(error), whole=True)
    return f"{name}: {text}" if text else name


def _roots(error: BaseException) -> str | None:
    if not members_of(error) and _cause(error) is None:
        return None
    return "; ".join(sorted(_leaves(error, 0, {}))[:MOST_LEAVES])


def _leaves(error: BaseException, depth: int, known: dict[int, set[str]]) -> set[str]:
    """Return what the errors say that others were made of, each once, without their numbers.

    ``known`` has what was found, by the identity of the errors: some are in many groups.
    """
    if id(error) in known or len(known) > 10 * MOST_LEAVES:
        return known.get(id(error), set())
    known[id(error)] = found = set[str]()
    members = members_of(error)
    if members and depth < DEEPEST:
        found.update(*(_leaves(one, depth + 1, known) for one in members))
        return found
    line = _without_numbers(_line(error)[:LONGEST_LEAF])
    cause = _cause(error)
    if cause is not None and depth < DEEPEST:
        leaves = sorted(_leaves(_first(cause), depth + 1, known))[:MOST_LEAVES]
        found.update(f"{line} from {leaf}"[: 2 * LONGEST_LEAF] for leaf in leaves)
    if not found:
        found.add(line)
    return found


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
