"""What a request came to that failed: as which error it is raised, and whether to try again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic_core import from_json

from wopr.domain import errors
from wopr.domain.errors import (
    OwnerGoneError,
    OwnerLeavingError,
    OwnerSilentError,
    ServerRefusedError,
    StorageError,
    WoprError,
)

if TYPE_CHECKING:
    import httpx

PAUSES = (0.1, 0.3, 1.0, 2.0)
"""So long it is waited before each further try; then it is given up."""
LONGEST_PAUSE = 5.0
"""Seconds; a server that asks for more is not waited for."""
LONGEST_TOLD = 4_000
_BY_STATUS: Mapping[int, type[WoprError]] = {
    413: errors.PayloadTooLargeError,
    422: errors.InvalidCallError,
    502: OwnerGoneError,
    503: StorageError,
    504: OwnerGoneError,
}
_BY_NAME: Mapping[str, type[WoprError]] = {
    kind.__name__: kind
    for kind in (
        errors.ActError,
        errors.AuthContextNotFoundError,
        errors.AuthSnapshotUnavailableError,
        errors.BacklogFullError,
        errors.DuplicateScheduleError,
        errors.DuplicateTaskError,
        errors.InvalidCallError,
        errors.InvalidScheduleSpecificationError,
        errors.OwnerGoneError,
        errors.OwnerLeavingError,
        errors.OwnerBusyError,
        errors.OwnerSilentError,
        errors.PayloadError,
        errors.PayloadTooLargeError,
        errors.QueryError,
        errors.QueryTimeoutError,
        errors.QueueClosedError,
        errors.ScheduleNotFoundError,
        errors.StorageError,
        errors.TaskNotFoundError,
        errors.TaskNotRegisteredError,
        errors.UniqueKeyConflictError,
    )
}
"""Those that a message is enough for."""
_NOTHING = "Nothing was to be changed: ask again."
_UNKNOWN = (
    "It is not known whether the call was carried out: look before you repeat it. An enqueue with "
    "a unique_key may be repeated while its task is live."
)
_AGAIN = frozenset({429, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Failure:
    """What one try came to."""

    error: WoprError
    again: bool
    """Whether the same request may be answered if it is sent again."""
    carried_out: bool
    """Whether it may have been carried out."""
    pause: float = 0.0
    """Seconds that the server asks to wait."""


def pause_before(failure: Failure, tries: int, *, reads: bool) -> float | None:
    """Return how long to wait before the next try; ``None``: there is none.

    Args:
        failure: what the last try came to.
        tries: how many have failed before that one.
        reads: whether the request changes nothing.
    """
    if not failure.again or tries >= len(PAUSES) or failure.pause > LONGEST_PAUSE:
        return None
    if failure.carried_out and not reads:
        return None
    return max(PAUSES[tries], failure.pause)


def of_answer(status: int, headers: Mapping[str, str], content: bytes) -> Failure:
    """Return what an answer says that is a problem."""
    said = _problem(content)
    detail = str(said.get("detail") or f"The server answers {status}.")[:LONGEST_TOLD]
    named = _BY_NAME.get(str(said.get("error")))
    kind = named or _BY_STATUS.get(status)
    error = ServerRefusedError(detail, status) if kind is None else kind(detail)
    full = isinstance(error, errors.BacklogFullError)  # it is full for longer than a moment
    return Failure(
        error,
        again=status in _AGAIN and not full,
        carried_out=status != 429,
        pause=_seconds(headers.get("retry-after", "")),
    )


def of_transport(error: httpx.TransportError, where: str, *, reads: bool) -> Failure:
    """Return what it means that there is no answer."""
    import httpx

    known = _NOTHING if reads else _UNKNOWN
    told: WoprError
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout):
        told = OwnerLeavingError(
            f"Nobody answers at {where}, so nothing was sent: {error!s:.200}. "
            "Is `wopr web` running there, and reachable from here?"
        )
        found = Failure(told, again=True, carried_out=False)
    elif isinstance(error, httpx.TimeoutException):
        told = OwnerSilentError(f"{where} did not answer in time (timeout=). {known}")
        found = Failure(told, again=False, carried_out=True)
    else:
        told = OwnerGoneError(f"The connection to {where} ended before the answer did. {known}")
        found = Failure(told, again=True, carried_out=True)
    told.__cause__ = error
    return found


def too_large(where: str, most: int) -> Failure:
    """Return what it means that an answer has no end."""
    told = StorageError(
        f"{where} answers more than {most // 2**20} MiB, which are not kept. Ask for less, or "
        "row by row with stream_sql()."
    )
    return Failure(told, again=False, carried_out=True)


def _problem(content: bytes) -> Mapping[str, object]:
    try:
        said = from_json(content)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def _seconds(text: str) -> float:
    return float(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0.0
