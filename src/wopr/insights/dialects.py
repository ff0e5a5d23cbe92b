"""The questions that wopr itself asks, for a home that has other words."""

from __future__ import annotations

from collections.abc import Callable

from wopr.insights import queries

_NOT_THERE = frozenset({"HISTORY_IN_NUMBERS"})
"""What only a file can be asked."""


def words(translated: Callable[[str, str], str]) -> Callable[[str], str]:
    """Return what translates a question of wopr's own, and leaves those of people alone.

    Args:
        translated: gives the text of a question, given its name and DuckDB's text.
    """
    own = {
        text: translated(name, text)
        for name, text in vars(queries).items()
        if name.isupper() and isinstance(text, str) and name not in _NOT_THERE
    }
    return lambda text: own.get(text, text)
