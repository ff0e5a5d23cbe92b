"""Which modules are wopr's own: their frames and their log lines are not the function's."""

from __future__ import annotations

from types import TracebackType

_OF_THE_APPLICATION = frozenset({"wopr.task", "wopr.background"})
"""Loggers that carry what functions and services of the application say."""


def ours(name: str) -> bool:
    """Whether a module, or the logger of that name, is wopr's own."""
    return name == "wopr" or (name.startswith("wopr.") and name not in _OF_THE_APPLICATION)


def without_ours(trace: TracebackType | None) -> TracebackType | None:
    """Return a traceback without wopr's own frames at its beginning.

    If there are no others, the last one is left: it says where the error comes from.
    """
    while trace is not None and trace.tb_next is not None and ours(_module(trace)):
        trace = trace.tb_next
    return trace


def _module(trace: TracebackType) -> str:
    name = trace.tb_frame.f_globals.get("__name__")
    return name if isinstance(name, str) else ""
