"""Which modules are wopr's own: their frames and their log lines are not the function's."""

from __future__ import annotations

from types import TracebackType

OF_THE_TASK = "wopr.task"
"""The logger that carries what functions say: ``current_task().logger``."""


def ours(name: str) -> bool:
    """Whether a module, or the logger of that name, is wopr's own."""
    if name == OF_THE_TASK or name.startswith(f"{OF_THE_TASK}."):
        return False
    return name == "wopr" or name.startswith("wopr.")


def without_ours(error: BaseException) -> TracebackType | None:
    """Return the traceback of an error without wopr's own frames at its beginning.

    If there are no others, the last one is left, which says where the error comes from; but for
    an error with a cause: that says it better, like the traceback from a worker process.
    """
    trace = error.__traceback__
    while trace is not None and ours(_module(trace)):
        if trace.tb_next is None and error.__cause__ is None:
            return trace
        trace = trace.tb_next
    return trace


def _module(trace: TracebackType) -> str:
    name = trace.tb_frame.f_globals.get("__name__")
    return name if isinstance(name, str) else ""
