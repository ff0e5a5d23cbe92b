"""The questions that wopr itself asks, for a home that has other words."""

from __future__ import annotations

from collections.abc import Callable

from wopr.insights import flowqueries, pagequeries, queries, taskqueries

_MODULES = (queries, flowqueries, pagequeries, taskqueries)
NOT_THERE = frozenset({"HISTORY_IN_NUMBERS"})
"""What only a file can be asked; besides all that is about the past as it was."""


def questions() -> dict[str, str]:
    """Return the texts of the questions that each home can be asked, by name."""
    return {
        name: text
        for module in _MODULES
        for name, text in vars(module).items()
        if name.isupper() and isinstance(text, str) and " " in text and name not in NOT_THERE
    }


def words(translated: Callable[[str, str], str]) -> Callable[[str], str | None]:
    """Return what translates a question of wopr's own; it gives ``None`` for those of people.

    Args:
        translated: gives the text of a question, given its name and DuckDB's text.
    """
    own = {text: translated(name, text) for name, text in questions().items()}
    return own.get
