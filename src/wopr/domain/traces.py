"""Tracebacks as text, without wopr's own frames."""

from __future__ import annotations

import traceback
from types import CodeType, TracebackType

from wopr.domain.frames import without_ours
from wopr.domain.guarded import cause_of, context_of, error_text, full_name, guarded, members_of

MOST_MEMBERS = 2_000
"""Members of groups in an error whose traceback shows them all."""


MOST_FRAMES = 50
MOST_STACKS = 256
Place = tuple[str, CodeType, int]
"""The file too: the code of two files is equal if they say the same at the same line."""
_STACKS: dict[tuple[Place, ...], str] = {}
_SAYS_MORE = (SyntaxError, NameError, AttributeError, ImportError)
"""Python shows a line of code for those, or guesses what was meant."""


class RemoteTraceback(Exception):  # noqa: N818 - belongs to errors, is never raised itself
    """Shows the traceback that an error has in the process where it was raised."""

    def __str__(self) -> str:
        return f'\n"""\n{self.args[0]}"""'


def traceback_of(error: BaseException) -> str:
    """Return the traceback of an error and of what caused it."""
    frames = guarded(lambda: without_ours(error), None)
    lines = None
    if not _has_too_many(error):
        lines = guarded(lambda: _alone(error, frames), None) or guarded(
            lambda: traceback.format_exception(type(error), error, frames), None
        )
    if lines is None:  # e.g. a class without a name
        lines = ["Traceback (most recent call last):\n", *traceback.format_tb(frames)]
        lines.append(f"{full_name(type(error))}: {error_text(error)}\n")
    return "".join(lines)


def _alone(error: BaseException, frames: TracebackType | None) -> list[str] | None:
    """Format an error that nothing caused; ``None`` for others.

    Its stack comes from memory if it was seen before: looking for the lines in their files costs
    more than many a task, and what fails once often fails again.
    """
    if cause_of(error) is not None or context_of(error) is not None or members_of(error):
        return None
    places: list[Place] = []
    trace = frames
    while trace is not None and len(places) <= MOST_FRAMES:
        code = trace.tb_frame.f_code
        places.append((code.co_filename, code, trace.tb_lasti))
        trace = trace.tb_next
    if not places or trace is not None:
        return None
    stack = _STACKS.get(key := tuple(places))
    if stack is None:
        stack = "".join(traceback.format_tb(frames))
        if len(_STACKS) >= MOST_STACKS:
            _STACKS.clear()
        _STACKS[key] = stack
    return ["Traceback (most recent call last):\n", stack, *_last_lines(error)]


def _last_lines(error: BaseException) -> list[str]:
    """Return what Python says below the stack; for a plain error without its own way to it.

    That looks for what the error may have beside its text, which costs more than all the rest.
    """
    kind = type(error)
    module, name, text = kind.__module__, kind.__qualname__, str(error)
    plain = type(module) is type(name) is type(text) is str
    if not plain or issubclass(kind, _SAYS_MORE) or hasattr(error, "__notes__"):
        return traceback.format_exception_only(kind, error)
    if module not in ("__main__", "builtins"):
        name = f"{module}.{name}"
    return [f"{name}: {text}\n" if text else f"{name}\n"]


def _has_too_many(error: BaseException) -> bool:
    """Whether groups in an error have more members than can be formatted, counted in each group.

    A group that holds the same one twice, and so on, has a member more than there are atoms.
    """
    waiting, chained, left = [error], {id(error)}, MOST_MEMBERS
    while waiting:
        one = waiting.pop()
        for other in (cause_of(one), context_of(one)):
            if other is not None and id(other) not in chained:
                chained.add(id(other))
                waiting.append(other)
        members = members_of(one)
        left -= len(members)
        if left < 0:
            return True
        waiting += members
    return False
