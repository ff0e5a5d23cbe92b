"""Which questions are wopr's own: nobody has to look what those do."""

from __future__ import annotations

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

_PAST = frozenset(
    text
    for module in (pastqueries, seriesqueries)
    for name, text in vars(module).items()
    if name.isupper() and isinstance(text, str)
)
_OWN = _PAST | frozenset(
    text
    for module in (queries, failurequeries, flowqueries, pagequeries, taskqueries, whatifqueries)
    for name, text in vars(module).items()
    if name.isupper() and isinstance(text, str)
)


def is_own(query: object) -> bool:
    """Whether it is a question of wopr itself."""
    return isinstance(query, str) and query in _OWN


def is_past(query: object) -> bool:
    """Whether it is one of them that the archive is a part of, too."""
    return isinstance(query, str) and query in _PAST
