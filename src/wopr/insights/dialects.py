"""The questions that wopr itself asks, for a home that has other words."""

from __future__ import annotations

from collections.abc import Callable

from wopr.insights import (
    failurequeries,
    flowqueries,
    pagequeries,
    pastqueries,
    queries,
    seriesqueries,
    taskqueries,
    whatifqueries,
)

_MODULES = (
    *(queries, failurequeries, flowqueries, pagequeries, taskqueries),
    *(pastqueries, seriesqueries, whatifqueries),
)
NOT_THERE = frozenset({"HISTORY_IN_NUMBERS"})
"""What only a file can be asked."""
_STANDS_FOR = "the_condition_of_people"


def questions() -> dict[str, str]:
    """Return the names of the questions that each home can be asked, by their texts."""
    return {
        text: name
        for module in _MODULES
        for name, text in vars(module).items()
        if name.isupper() and isinstance(text, str) and " " in text and name not in NOT_THERE
    }


def words(translated: Callable[[str, str], str]) -> Callable[[str], str | None]:
    """Return what translates a question of wopr's own; it gives ``None`` for those of people.

    A condition of people's in a question about the past stays as it is.

    Args:
        translated: gives the text of a question, given its name and DuckDB's text.
    """
    own = {text: translated(name, text) for text, name in questions().items()}

    def find(text: str) -> str | None:
        if text in own or (parts := pastqueries.parted(text)) is None:
            return own.get(text)
        question, condition = parts
        return translated("", pastqueries.having(question, _STANDS_FOR)).replace(
            _STANDS_FOR, condition
        )

    return find
