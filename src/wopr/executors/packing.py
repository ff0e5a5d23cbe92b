"""Values and errors on their way between two processes of one program.

They are pickled by ``multiprocessing``; nothing of that is ever stored.
"""

from __future__ import annotations

import traceback
from multiprocessing.reduction import ForkingPickler
from typing import Any

from wopr.domain.errors import PayloadError, WoprError
from wopr.domain.frames import without_ours
from wopr.domain.jsontext import clip, safe_text
from wopr.executors.messages import Failure

LONGEST_TEXT = 65_536


class RemoteTraceback(Exception):  # noqa: N818 - the cause of errors, never raised itself
    """Shows the traceback that an error has in the process where it was raised."""

    def __str__(self) -> str:
        return f'\n"""\n{self.args[0]}"""'


def pack(value: object, what: str) -> bytes:
    """Return a value as bytes.

    Raises:
        PayloadError: it can't be pickled; the text begins with ``what``.
    """
    try:
        return bytes(ForkingPickler.dumps(value))
    except Exception as error:
        raise PayloadError(_refusal(what, "pickled", error)) from error


def unpack(data: bytes, what: str) -> Any:
    """Return the value again.

    Raises:
        PayloadError: it can't be made here; the text begins with ``what``.
    """
    try:
        return ForkingPickler.loads(data)
    except Exception as error:
        raise PayloadError(_refusal(what, "unpickled", error)) from error


def arguments_of(task: str) -> str:
    """Return what the arguments of a task are called in errors."""
    return f"The arguments of task '{task}' can't be sent to a worker process"


def result_of(task: str) -> str:
    """Return what the result of a task is called in errors."""
    return f"The result of task '{task}' can't be sent from its worker process"


def failure_of(error: BaseException) -> Failure:
    """Describe an error for the other process, and pack it if it survives the journey."""
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else _dotted(kind)
    packed, obstacle = None, ""
    try:
        packed = bytes(ForkingPickler.dumps(error))
        ForkingPickler.loads(packed)
    except Exception as trouble:  # noqa: BLE001 - errors of users decide how they are pickled
        packed, obstacle = None, f"{type(trouble).__name__}: {safe_text(trouble)}"
    text = clip(safe_text(error), LONGEST_TEXT)
    return Failure(name, text, _traceback_of(error), packed, clip(obstacle, LONGEST_TEXT))


def error_of(failure: Failure, task: str) -> BaseException:
    """Return what a function raised in another process; its cause shows the traceback there."""
    obstacle = failure.obstacle
    error: object = None
    if failure.error is not None:
        try:
            error = ForkingPickler.loads(failure.error)
        except Exception as trouble:  # noqa: BLE001 - errors of users decide how they are pickled
            obstacle = f"{type(trouble).__name__}: {safe_text(trouble)}"
    if not isinstance(error, BaseException):
        error = WoprError(
            f"{failure.name}: {failure.text}\nTask '{task}' raised this in its worker process. "
            f"The error itself can't be pickled, so it is only told here ({obstacle})."
        )
    error.__cause__ = RemoteTraceback(failure.traceback)
    return error


def _traceback_of(error: BaseException) -> str:
    """Return the traceback without wopr's own frames at its beginning."""
    frames = without_ours(error)
    try:
        text = "".join(traceback.format_exception(type(error), error, frames))
    except Exception:  # noqa: BLE001 - an error whose __str__ raises
        text = safe_text(error)
    return clip(text, LONGEST_TEXT)


def _refusal(what: str, verb: str, error: Exception) -> str:
    return (
        f"{what}: it can't be {verb} ({type(error).__name__}: {safe_text(error)}). Pass plain "
        "values, or objects of classes at the top level of an importable module."
    )


def _dotted(kind: type[BaseException]) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"
