"""Which questions are wopr's own: nobody has to look what those do."""

from __future__ import annotations

from wopr.insights import pagequeries, queries, taskqueries

_OWN = frozenset(
    text
    for module in (queries, pagequeries, taskqueries)
    for name, text in vars(module).items()
    if name.isupper() and isinstance(text, str)
)


def is_own(query: object) -> bool:
    """Whether it is a question of wopr itself."""
    return query in _OWN
