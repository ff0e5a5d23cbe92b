"""Lists, structs and maps in an answer: one of millions of members would hold the process up.

Python makes all of a value at once, and no other thread goes on meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import duckdb

from wopr.storage.duckdb.file.connecting import quoted

MOST_BYTES = 4 * 1024 * 1024
"""So long a nested value may be as text: 100,000 ids of tasks, which Python makes in 50 ms."""
_NESTED = frozenset({"list", "array", "struct", "map", "union"})
_BOUNDED = "case when strlen({name}::varchar) > {most} then error({text}) else {name} end"


def is_nested(description: Sequence[Any] | None) -> bool:
    """Whether some column of an answer has such values."""
    return any(column[1].id in _NESTED for column in description or ())


def bounded(cursor: duckdb.DuckDBPyConnection, sql: str) -> str:
    """Return the query that was just executed, with an error in the place of such a value.

    DuckDB measures the values, which holds nobody up.
    """
    columns = list(cursor.description or ())
    names = [f"c{number}" for number in range(len(columns))]
    values = ", ".join(
        _BOUNDED.format(name=name, most=MOST_BYTES, text=quoted(_text(column[0])))
        if column[1].id in _NESTED
        else name
        for name, column in zip(names, columns, strict=True)
    )
    return f"select {values} from ({_without_end(sql)}\n) as answer({', '.join(names)})"


def _without_end(sql: str) -> str:
    """Return a query without a semicolon, and what is behind it."""
    text = sql.encode()
    parts = [at for at, kind in duckdb.tokenize(sql) if kind != duckdb.token_type.comment]
    while parts and text.startswith(b";", parts[-1]):
        text = text[: parts.pop()]
    return text.decode()


def _text(name: str) -> str:
    return (
        f"a value of {name[:100]} has more than {MOST_BYTES:,} bytes as text, and all would wait "
        "while it is read. Take it apart with unnest(), ask for a part of it, "
        "list_slice(…, 1, 1000) say, or for its len()"
    )
