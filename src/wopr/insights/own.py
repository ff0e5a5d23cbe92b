"""Which questions are wopr's own: nobody has to look what those do."""

from __future__ import annotations

from wopr.insights import queries

_OWN = frozenset(text for name, text in vars(queries).items() if name.isupper())


def is_own(query: object) -> bool:
    """Whether it is a question of wopr itself."""
    return query in _OWN
