"""What a text of SQL may be before DuckDB parses it.

Its parser takes time and memory without a bound for some texts, and nothing can stop it:
1,500 opened brackets take a second and 400 MB, eight unfinished ``with a as (`` three seconds and
1.7 GB. So the tokens are counted first, with DuckDB's own tokenizer: what stands in strings,
comments and quoted names is none.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import duckdb

from wopr.domain.errors import QueryError

LIMITS = {
    "bytes": 65_536,
    "tokens": 4_000,
    "brackets open at once": 50,
    "open brackets that have a WITH": 5,
    "operators in a row": 12,
    "names joined by dots": 16,
    "UNION, INTERSECT and EXCEPT": 100,
    "JOIN": 50,
}
"""The most that a text may have of each. Any token that is repeated up to here is parsed, or
refused, in less than a second and 100 MB: tests/storage/duckdb/test_sql_floods.py."""

SIMPLE_WORDS = 40
SIMPLE_BRACKETS = 6
"""A text within these can't cost much to plan, whatever it says: each doubling of the plan takes a
level of brackets or four words at least. Commas, numbers, strings and parameters are no words."""
_SPREADS = frozenset({b"cube", b"rollup", b"materialized"})
"""But for these, which multiply the plan by more."""

_SETS = frozenset({b"union", b"intersect", b"except"})
_OPENING, _CLOSING = frozenset(b"([{"), frozenset(b")]}")
_APART = frozenset(b",;.*")
"""Signs that stand between operands, as no operator."""
_VALUES = frozenset(b",'?$0123456789")
_SIGNS = frozenset(b"!#$%&*+-/:<=>?@^`|~")


@dataclass(frozen=True, slots=True)
class Shape:
    """What was counted in a text."""

    tokens: int
    words: int
    brackets: int
    """Most that were open at once."""
    spreads: bool

    @property
    def simple(self) -> bool:
        """Whether planning it is cheap, so that nobody has to try that first."""
        few = self.words <= SIMPLE_WORDS and self.brackets <= SIMPLE_BRACKETS
        return few and not self.spreads


class _Counts:
    """Counts tokens, and the most there is of each that has a limit."""

    def __init__(self) -> None:
        self.tokens = self.words = self.brackets = self.withs = self.signs = self.dots = 0
        self.sets = self.joins = self.spreads = 0
        self._open = [False]  # whether there is a WITH, of each bracket
        self._signs = self._dots = 0

    def add(self, word: bytes) -> None:
        """Count one token."""
        self.tokens += 1
        first = word[0]
        self.words += first not in _VALUES
        if first in _OPENING:
            self._open.append(False)
            self.brackets = max(self.brackets, len(self._open) - 1)
        elif first in _CLOSING:
            del self._open[max(1, len(self._open) - 1) :]
        elif word == b"with":
            self._open[-1] = True
            self.withs = max(self.withs, sum(self._open))
        self._count_row(word, first)
        self.sets += word in _SETS
        self.joins += word == b"join"
        self.spreads += word in _SPREADS

    def _count_row(self, word: bytes, first: int) -> None:
        """Count what follows each other without an operand, or a dot, in between."""
        sign = word == b"not" or (first in _SIGNS and first not in _APART)
        self._signs = self._signs + 1 if sign else 0
        self.signs = max(self.signs, self._signs)
        if first == ord("."):
            self._dots += 1
            self.dots = max(self.dots, self._dots)
        elif not (word[:1].isalpha() or first in b'"_' or first >= 0x80):
            self._dots = 0

    def check(self) -> None:
        """Raise if there is more of anything than may be."""
        _check("brackets open at once", self.brackets)
        _check("open brackets that have a WITH", self.withs)
        _check("operators in a row", self.signs)
        _check("names joined by dots", self.dots + 1)
        _check("UNION, INTERSECT and EXCEPT", self.sets)
        _check("JOIN", self.joins)
        _check("tokens", self.tokens)


def shape_of(sql: str) -> Shape:
    """Return what a text is like, if DuckDB may parse it.

    Raises:
        QueryError: it is more than :data:`LIMITS` allow; the message says of what.
    """
    content = sql.encode()
    _check("bytes", len(content))
    counts = _Counts()
    for word in _tokens(sql, content):
        counts.add(word)
    counts.check()
    return Shape(counts.tokens, counts.words, counts.brackets, bool(counts.spreads))


def _check(what: str, count: int) -> None:
    if count > LIMITS[what]:
        raise QueryError(
            f"The query was not run, because its text has too many {what}: {count:,}, and at most "
            f"{LIMITS[what]:,} are allowed. Nothing can stop DuckDB while it parses a text, so "
            "that is limited. Give values as parameters (?), a long list as one parameter "
            "(= any(?)), or ask in several queries."
        )


def _tokens(sql: str, content: bytes) -> Iterator[bytes]:
    """Yield the tokens that are no strings and no comments, in lower case."""
    found = duckdb.tokenize(sql)
    ends = [at for at, _ in found[1:]] + [len(content)]
    for (at, kind), end in zip(found, ends, strict=False):
        if kind == duckdb.token_type.comment:
            continue
        yield b"'" if kind == duckdb.token_type.string_const else content[at:end].strip().lower()
