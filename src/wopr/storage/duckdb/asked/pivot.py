"""A PIVOT that does not name its values: DuckDB finds them by a statement of its own.

So it has no tree to be looked at. With values named it has one, of all the rest of its text.
"""

from __future__ import annotations

import duckdb

_PIVOTS = frozenset({b"pivot", b"pivot_wider"})
_ENDS = frozenset({b"using", b"group", b"order", b"limit", b"union", b"intersect", b"except", b";"})
_VALUES = b"\n in (null) "


class _Pivot:
    """One that is being read."""

    def __init__(self, depth: int) -> None:
        self.depth = depth
        self.joins = 0
        """So many ON are still those of joins."""
        self.columns = False
        """Whether what stands after its ON is being read."""
        self.named = False
        """Whether the values of this column are named."""


def with_values(sql: str) -> str | None:
    """Return a text in which each PIVOT names its values; ``None`` if they all do."""
    content = sql.encode()
    found = duckdb.tokenize(sql)
    ends = [at for at, _ in found[1:]] + [len(content)]
    places: list[int] = []
    inside: list[_Pivot] = []
    depth = 0
    for (at, kind), end in zip(found, ends, strict=True):
        if kind == duckdb.token_type.comment:
            continue
        word = content[at:end].strip().lower()
        depth += (word == b"(") - (word == b")")
        while inside and depth < inside[-1].depth:
            _close(inside.pop(), at, places)
        if word in _PIVOTS and kind != duckdb.token_type.string_const:
            inside.append(_Pivot(depth))
        elif inside and depth == inside[-1].depth:
            _read(inside, word, at, places)
    while inside:
        _close(inside.pop(), len(content), places)
    for at in sorted(places, reverse=True):
        content = content[:at] + _VALUES + content[at:]
    return content.decode() if places else None


def _read(inside: list[_Pivot], word: bytes, at: int, places: list[int]) -> None:
    """Read a token that stands where the innermost PIVOT does."""
    pivot = inside[-1]
    if not pivot.columns:
        pivot.joins += word == b"join"
        if word == b"on" and pivot.joins:
            pivot.joins -= 1
        elif word == b"on":
            pivot.columns = True
    elif word in _ENDS:
        _close(inside.pop(), at, places)
    elif word == b",":
        _close(pivot, at, places)
        pivot.named = False
    elif word == b"in":
        pivot.named = True


def _close(pivot: _Pivot, at: int, places: list[int]) -> None:
    if pivot.columns and not pivot.named:
        places.append(at)
