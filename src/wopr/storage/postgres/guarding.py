"""What SQL of people may not say on the server, though it only reads.

The transaction can't write, and runs under a role that may read the schema ``wopr`` and no more
(``reader.py``). A role is given back by whoever may set one, so no query may: by ``set_config``,
nor in a text that a function runs as SQL. What is refused besides reaches outside of the tables.
"""

from __future__ import annotations

import re

from wopr.domain.errors import QueryError

LONGEST = 64 * 1024
"""Characters of a query."""
_READS = frozenset({"select", "with", "values", "table", "explain", "show"})
_BEGINNINGS = (
    *("set_config", "query_to_xml", "cursor_to_xml", "table_to_xml", "schema_to_xml"),
    *("database_to_xml", "ts_stat", "ts_rewrite", "dblink", "crosstab", "connectby"),
    "xpath_table",
    *("lo_", "loread", "lowrite", "pg_read_", "pg_ls_", "pg_stat_file", "pg_file_", "pg_advisory"),
    *("pg_try_advisory", "pg_terminate_", "pg_cancel_", "pg_reload_", "pg_rotate_", "pg_notify"),
    *("pg_logical_", "pg_replication_", "pg_create_", "pg_drop_", "pg_switch_", "pg_export_"),
)
"""Of names of functions: what runs a text as SQL, keeps others waiting, or is of the server."""
_DENIED = re.compile(rf"(?<![a-z0-9_])(?:{'|'.join(_BEGINNINGS)})\w*", re.IGNORECASE)
_WRITTEN = re.compile(r"u&\s*\"", re.IGNORECASE)
"""An identifier that is written in numbers of characters, so that nobody can read it."""
_FIRST = re.compile(r"[a-z]+", re.IGNORECASE)
_LINE = re.compile(r"--[^\n\r]*")


def check(text: str) -> None:
    """Refuse a query that does something else than to read the tables.

    Words are looked for everywhere, in texts and comments too: there is no need to know where
    those end.

    Raises:
        QueryError: it does.
    """
    if len(text) > LONGEST:
        raise QueryError(
            f"The query has {len(text):,} characters, and {LONGEST:,} are the most. Give long "
            "values as parameters, ?."
        )
    first = _FIRST.match(text, _begin(text))
    word = first[0].lower() if first is not None else ""
    if word not in _READS:
        raise QueryError(
            f"A query begins with {', '.join(sorted(_READS))}, and this one with {word[:40]!r}. "
            "Whatever it is, it is not run."
        )
    if (denied := _DENIED.search(text)) is not None:
        raise QueryError(
            f"{denied[0]!r:.80} stands in the query, which reaches further than the tables of the "
            "queue, so it is not run. Give a text that has the word as a parameter, ?."
        )
    if _WRITTEN.search(text) is not None:
        raise QueryError('U&"…" stands in the query: write names as they are.')


def _begin(text: str) -> int:
    """Return where a query begins, behind comments, which nest, and brackets."""
    at, depth = 0, 0
    while at < len(text):
        pair = text[at : at + 2]
        if pair == "/*":
            depth, at = depth + 1, at + 2
        elif depth and pair == "*/":
            depth, at = depth - 1, at + 2
        elif depth or text[at].isspace() or text[at] == "(":
            at += 1
        elif (line := _LINE.match(text, at)) is not None:
            at = line.end()
        else:
            break
    return at
