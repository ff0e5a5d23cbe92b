"""Tracebacks as text, without wopr's own frames."""

from __future__ import annotations

import traceback

from wopr.domain.frames import without_ours
from wopr.domain.guarded import error_text, full_name, guarded


class RemoteTraceback(Exception):  # noqa: N818 - belongs to errors, is never raised itself
    """Shows the traceback that an error has in the process where it was raised."""

    def __str__(self) -> str:
        return f'\n"""\n{self.args[0]}"""'


def traceback_of(error: BaseException) -> str:
    """Return the traceback of an error and of what caused it."""
    frames = guarded(lambda: without_ours(error), None)
    lines = guarded(lambda: traceback.format_exception(type(error), error, frames), None)
    if lines is None:  # e.g. a class without a name
        lines = ["Traceback (most recent call last):\n", *traceback.format_tb(frames)]
        lines.append(f"{full_name(type(error))}: {error_text(error)}\n")
    return "".join(lines)
