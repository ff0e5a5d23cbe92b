"""Arguments on their way to a worker process.

They are pickled by ``multiprocessing``: the process trusts the one that started it. Nothing of
that is ever stored, and nothing that comes back is unpickled (:mod:`wopr.executors.messages`).
"""

from __future__ import annotations

from multiprocessing.reduction import ForkingPickler
from typing import Any

from wopr.domain.errors import PayloadError
from wopr.domain.guarded import safe_text, type_name


def pack(value: object, what: str) -> bytes:
    """Return a value as bytes.

    Raises:
        PayloadError: it can't be pickled; the text begins with ``what``.
    """
    try:
        return bytes(ForkingPickler.dumps(value))
    except BaseException as error:  # somebody's __reduce__ may raise SystemExit
        raise PayloadError(_refusal(what, "pickled", error)) from error


def unpack(data: bytes, what: str) -> Any:
    """Return the value again.

    Raises:
        PayloadError: it can't be made here; the text begins with ``what``.
    """
    try:
        return ForkingPickler.loads(data)
    except BaseException as error:
        raise PayloadError(_refusal(what, "unpickled", error)) from error


def arguments_of(task: str) -> str:
    """Return what the arguments of a task are called in errors."""
    return f"The arguments of task '{task}' can't be sent to a worker process"


def _refusal(what: str, verb: str, error: BaseException) -> str:
    return (
        f"{what}: it can't be {verb} ({type_name(error)}: {safe_text(error)}). Pass plain "
        "values, or objects of classes at the top level of an importable module."
    )
