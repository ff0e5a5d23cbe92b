"""How much the values take that a query makes on the way, which DuckDB does not count.

Its memory limit is about what it keeps: groups, sorted rows, pages of the file. What a function
returns is none of that, for 2,048 rows at once: ``reverse(result)`` over results of 1 MiB takes
2 GiB. A text says how many such values are there at once; how long they are says the file.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from wopr.storage.duckdb.asked.harmless import words

VECTOR = 2_048
"""Rows of which DuckDB makes the values at once."""
FLAT_BYTES = 16
FIXED_OPERATORS = words(
    "OPERATOR_NOT OPERATOR_IS_NULL OPERATOR_IS_NOT_NULL COMPARE_IN COMPARE_NOT_IN"
)
MAKING = frozenset({"FUNCTION", "WINDOW", "CASE", "CAST", "COLLATE", "OPERATOR"})
"""Kinds of expressions that make a value."""
COLLECTING = words(
    """
    array_agg group_concat histogram json_group_array json_group_object list listagg string_agg
    """
)
"""Aggregates whose value has something of every row, and so do these of some ``n`` rows."""
COLLECTING_SOME = words("arg_max arg_min argmax argmin max max_by min min_by")
NUMBERED = frozenset({"generate_series", "range"})
LISTED = 4_000
"""So many rows a text may list itself, by the number of its tokens."""
MULTIPLYING = frozenset({"generate_subscripts", "unnest"})


@dataclass(frozen=True, slots=True)
class Size:
    """So many bytes, as many times the longest value, and all rows together."""

    flat: int = 0
    long: int = 0
    all: int = 0

    def __add__(self, other: Size) -> Size:
        return Size(self.flat + other.flat, self.long + other.long, self.all + other.all)

    def times(self, number: int) -> Size:
        """Return so many of them."""
        return Size(self.flat * number, self.long * number, self.all * number)


@dataclass(frozen=True, slots=True)
class Weight:
    """What a text makes of the values that are there."""

    made: Size
    """All that is made for a row."""
    growth: int
    """How many times as long as a stored value one may be, in a query in the query."""
    literal: int
    """How long the longest text is that stands there."""
    tables: tuple[str, ...]
    """Those that are read, as often as they are."""
    columns: frozenset[str] | None
    """The names of what is made more of; ``None``: it may be any column, or all of a row."""
    given: frozenset[str]
    """Names that the text gives itself, to a value: what has no such column is one of those."""
    rows: float
    """How many times more rows there are than those of the tables together."""
    foreign: bool
    """Whether it reads what is no table, and has texts of its own."""

    @property
    def one_row(self) -> bool:
        """Whether it reads nothing at all."""
        return not self.tables and self.rows == 1 and not self.foreign

    @property
    def nothing(self) -> bool:
        """Whether nothing is made, however long the stored values are."""
        return not (self.made.long or self.made.all or self.made.flat)


NOTHING = Weight(Size(), 1, 0, (), frozenset(), frozenset(), 1, foreign=False)


class Scales:
    """Weighs one text.

    Args:
        fixed: functions whose answers are all short: numbers, times, truths.
        flat: types of which all values are.
        expanding: how often others double what they are given.
    """

    def __init__(
        self, fixed: Collection[str], flat: Collection[str], expanding: dict[str, int]
    ) -> None:
        self._fixed = fixed
        self._flat = flat
        self._expanding = expanding
        self._made = Size()
        self._growth = 1
        self._literal = 0
        self._rows = 1.0
        self._starred = False

    def weigh(self, node: dict[str, Any]) -> Weight:
        """Return what a statement makes, given its node."""
        names = Names(node)
        self._size(node, outer=True)
        ctes = names.ctes
        tables = tuple(name for name in names.tables if name not in ctes)
        again = len(names.tables) - len(tables) > len(ctes)
        if again or names.multiplies:
            self._rows = math.inf
        return Weight(
            self._made,
            self._growth,
            self._literal,
            tables,
            None if self._starred else names.columns(),
            frozenset(names.aliases),
            self._rows,
            foreign=names.foreign,
        )

    def _size(self, node: Any, *, outer: bool = False, listed: bool = False) -> Size:
        """Return the size of a value, and note what is made on the way to it."""
        if isinstance(node, list):
            return sum(map(self._size, node), Size())
        if not isinstance(node, dict):
            return Size()
        if node.get("type") == "SELECT_NODE":
            return self._select(node, outer=outer)
        kind = node.get("class")
        if kind == "CONSTANT":
            return self._constant(node)
        if kind in {"COLUMN_REF", "PARAMETER", "STAR", "POSITIONAL_REFERENCE"}:
            self._starred = self._starred or (kind == "STAR" and not listed)
            given = sum(map(self._size, node.values()), Size())
            return given + Size(0, 1)
        if node.get("type") == "TABLE_FUNCTION":
            self._rows *= _rows(node["function"])
            return self._size(node["function"].get("arguments"))
        if node.get("type") == "EXPRESSION_LIST":
            self._rows *= LISTED
        given = sum((self._size(value, outer=outer) for value in node.values()), Size())
        if kind not in MAKING:
            return given if kind in {None, "SUBQUERY"} else Size(FLAT_BYTES)
        return self._value(node, given)

    def _value(self, node: dict[str, Any], given: Size) -> Size:
        name = str(node.get("function_name", "")).lower()
        if name in self._fixed or node.get("type") in FIXED_OPERATORS or self._is_flat(node):
            return Size(FLAT_BYTES)
        made = given + Size(FLAT_BYTES)
        if node["class"] == "COLLATE":  # and so is what it is compared with
            made += Size(0, 1)
        if name in COLLECTING or (name in COLLECTING_SOME and len(node["arguments"]) > 1):
            made = Size(0, 0, max(1, given.long) + given.all)
            if node["class"] == "FUNCTION":
                return made  # as groups are kept, it is counted; what is made of it is not
            made = made.times(VECTOR)  # each row may have all of those before it
        elif name in {"lpad", "rpad"}:
            made += Size(4 * _number(node, 1))
        elif name == "repeat":
            made = (given + Size(-FLAT_BYTES)).times(_number(node, 1)) + Size(FLAT_BYTES)
        elif name in NUMBERED:
            made = Size(FLAT_BYTES * max(map(abs, _numbers(node)), default=0))
        doubled = 1 if node.get("class") == "CAST" else self._expanding.get(name, 0)
        made = made.times(2**doubled)
        self._made += made
        return made

    def _is_flat(self, node: dict[str, Any]) -> bool:
        kind = node.get("type_expr")
        return kind is not None and str(kind.get("type_name")).lower() in self._flat

    def _select(self, node: dict[str, Any], *, outer: bool) -> Size:
        outs = [self._size(one, listed=True) for one in node["select_list"]]
        for key, value in node.items():
            if key != "select_list":
                self._size(value)
        value = sum(outs, Size())
        if outer:
            self._made += Size(0, 0, value.all)
        else:
            self._growth *= max([1, *(one.long for one in outs)])
            self._literal = max([self._literal, *(one.flat for one in outs)])
            if value.all:
                self._growth = 2**60
        return value

    def _constant(self, node: dict[str, Any]) -> Size:
        literal = node.get("literal") or {}
        text = literal.get("kind") == "STRING"
        size = len(str(literal["text"]).encode()) if text else FLAT_BYTES
        self._literal = max(self._literal, size)
        return Size(size)


class Names:
    """The names that stand in a text, and whether they say which columns are meant."""

    def __init__(self, node: dict[str, Any]) -> None:
        self.tables: list[str] = []
        self.ctes: set[str] = set()
        self.multiplies = self.foreign = False
        self._columns: set[str] = set()
        self.aliases: set[str] = set()
        self._of_tables: set[str] = set()
        self._star = self._renamed = self._unclear = False
        for one in _all(node):
            self._note(one)

    def columns(self) -> frozenset[str] | None:
        """Return the names of columns, if those are all that is made more of."""
        unclear = self._unclear or (self._star and self._renamed)
        if unclear or self._columns & (self._of_tables | self.ctes):
            return None
        return frozenset(self._columns)

    def _note(self, node: dict[str, Any]) -> None:
        kind, called = node.get("type"), str(node.get("alias") or "").lower()
        if kind == "COLUMN_REF":
            self._columns.add(str(node["column_names"][-1]).lower())
        if "class" in node:
            self.aliases.add(called)
        elif called:
            self._of_tables.add(called)
        if "cte_map" in node:
            self.ctes |= {str(one["key"]).lower() for one in node["cte_map"]["map"]}
        if kind == "BASE_TABLE":
            self.tables.append(str(node["table_name"]).lower())
            self._of_tables.add(self.tables[-1])
        self._note_unclear(node, kind)

    def _note_unclear(self, node: dict[str, Any], kind: Any) -> None:
        name = str(node.get("function_name", "")).lower()
        self.multiplies = self.multiplies or kind == "RECURSIVE_CTE_NODE" or name in MULTIPLYING
        if kind == "STAR":
            self._star = True
            self._unclear = self._unclear or bool(node.get("columns") or node.get("rename_list"))
        if kind == "TABLE_FUNCTION":
            called = str(node["function"].get("function_name", "")).lower()
            self.foreign = self.foreign or called not in NUMBERED
        elif node.get("column_name_alias") or node.get("aliases"):
            self._renamed = True
        self._renamed = self._renamed or kind == "SET_OPERATION_NODE"
        unclear = kind in {"PIVOT", "POSITIONAL_REFERENCE", "SHOW_REF"}
        self._unclear = self._unclear or unclear


def _number(call: dict[str, Any], at: int) -> int:
    """Return the number that a call is given there, if it stands in the text."""
    given = _numbers(call)
    return given[at] if at < len(given) else 0


def _numbers(call: dict[str, Any]) -> list[int]:
    literals = [one["expression"].get("literal") or {} for one in call["arguments"]]
    whole = [one.get("text") if one.get("kind") == "INTEGER" else "0" for one in literals]
    return [int(text or 0) for text in whole]


def _rows(function: dict[str, Any]) -> float:
    """Return how many rows a function in the place of a table gives."""
    given = function.get("arguments") or []
    plain = all((one["expression"].get("literal") or {}).get("kind") == "INTEGER" for one in given)
    if str(function.get("function_name", "")).lower() not in NUMBERED or not plain:
        return math.inf
    return float(max(map(abs, _numbers(function)), default=0))


def _all(tree: Any) -> Iterator[dict[str, Any]]:
    todo = [tree]
    while todo:
        node = todo.pop()
        if isinstance(node, dict):
            yield node
            todo += node.values()
        elif isinstance(node, list):
            todo += node
