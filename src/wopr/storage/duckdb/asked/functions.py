"""Which functions people may call: what DuckDB says acts, or could, is refused but for a list."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import duckdb

from wopr.domain.errors import QueryError
from wopr.storage.duckdb.asked.harmless import AGGREGATES, FLAT, HARMLESS, TYPES, ZONED
from wopr.storage.duckdb.asked.harmless import words as _words
from wopr.storage.duckdb.asked.weight import Scales
from wopr.storage.duckdb.file.catalogue import TABLES

ALLOWED_TABLES = _words(
    """
    duckdb_columns duckdb_constraints duckdb_databases duckdb_functions duckdb_indexes
    duckdb_keywords duckdb_memory duckdb_schemas duckdb_sequences duckdb_settings
    duckdb_tables duckdb_types duckdb_views generate_series icu_calendar_names json_each
    json_tree pg_timezone_names pragma_database_size pragma_platform pragma_show
    pragma_table_info pragma_version range repeat repeat_row summary unnest
    """
)
"""Functions that stand as tables and only tell something."""
ALLOWED_SCALARS = _words(
    """
    current_database current_date current_localtime current_localtimestamp current_query
    current_schema current_schemas current_setting error gen_random_uuid get_current_time
    get_current_timestamp in_search_path now random today transaction_timestamp
    txid_current uuid uuidv4 uuidv7
    """
)
"""Functions whose answer differs from call to call, and that change nothing by it."""
REFUSED = _words(
    """
    create_sort_key json_deserialize_sql json_execute_serialized_sql json_serialize_plan
    json_serialize_sql pg_sleep
    """
)
"""Functions that DuckDB calls pure: they parse texts of SQL, which may be of any size, or wait."""

SIZED = _words("generate_series lpad range repeat rpad")
"""Functions whose answer is as long as a number says that they are given."""
TREES = _words("json_each json_tree")
"""Functions that stand as tables, of rows that together are as large as what they are given times
its levels."""
JOINING = _words(
    """
    + || add array_append array_cat array_concat array_prepend array_push_back array_push_front
    array_value array_zip concat concat_ws json_array json_object list_append list_cat list_concat
    list_pack list_prepend list_value list_zip map map_concat row struct_concat struct_insert
    struct_pack struct_update
    """
)
"""Functions that put values together: from the same one, a value of so many times its size."""
EXPANDING = {
    **dict.fromkeys(_words("hex to_hex base64 to_base64 regexp_escape"), 1),
    **dict.fromkeys(_words("url_encode"), 2),
    **dict.fromkeys(_words("bin to_binary array_to_json json_quote row_to_json to_json"), 3),
    **dict.fromkeys(
        _words(
            """
            regexp_extract_all regexp_split_to_array split str_split str_split_regex string_split
            string_split_regex string_to_array
            """
        ),
        4,
    ),
}
"""Functions that make a value longer, and how often they double it at most."""
MOST_DOUBLINGS = 10
"""So often, at most, the calls of a text may double a value in this process."""
SMALL = 10_000
PATTERNS = _words(
    """
    regexp_extract regexp_extract_all regexp_full_match regexp_matches regexp_split_to_array
    str_split_regex string_split_regex
    """
)
"""Functions that take as many steps for each character as their pattern has parts."""
SHORT = 200
"""So long a pattern may be in this process, or a path."""
PATHS = _words(
    """
    ->> json_exists json_extract json_extract_path json_extract_path_text json_extract_string
    json_value
    """
)
"""Functions that take a path, which may lead to all parts of all parts of a value."""
ZONES = _words("timezone")
"""Functions that look for a name that is none among all that there are, letter by letter."""
CALLING = _words("aggregate array_aggr array_aggregate list_aggr list_aggregate")
"""Functions that call the one that their second argument names."""
SIGNS = {
    **dict.fromkeys(PATTERNS, "{"),
    **dict.fromkeys(PATHS, "*"),
    **dict.fromkeys(ZONES, ""),
    **dict.fromkeys(_words("strptime try_strptime"), "Z"),
}
"""Functions that may be called here if what they look for stands there, is short, and has no such
sign."""
KNOWN = HARMLESS.union(ALLOWED_SCALARS, SIZED, JOINING, EXPANDING) - set(SIGNS)

_CHANGES = ("DELETE", "INSERT", "UPDATE", "MERGE")
_FILE_SIGNS = frozenset("./\\:*")
"""Signs of file names: DuckDB reads a file that is named like a table."""
_ACTING = """
select function_name, bool_or(function_type in ('table', 'table_macro')),
    bool_or(stability = 'VOLATILE' or has_side_effects)
from duckdb_functions() where internal group by all
"""
_FIXED = """
select function_name from duckdb_functions() where internal group by all
having bool_and(regexp_full_match(coalesce(return_type, ''), $1))
"""
_SHORT_TYPES = (
    r"U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?|BOOLEAN|FLOAT|DOUBLE|DATE|TIME[A-Z_ ]*|UUID|INTERVAL"
    r"|DECIMAL"
)
_HIDING = """
select 1 from duckdb_views() where not internal and lower(view_name) = any($1) limit 1
"""
VIEWS = _words(
    """
    backlog dependencies failures flows history latency missed_times schedule_runs task_times
    """
)
_OURS = VIEWS.union(TABLES)

_names: dict[str, tuple[frozenset[str], frozenset[str]]] = {}
"""What is refused as a table and as a value, by the version of DuckDB that was asked."""
_fixed: dict[str, frozenset[str]] = {}
"""Functions whose answers are numbers, times or truths."""


def refused(cursor: duckdb.DuckDBPyConnection) -> tuple[frozenset[str], frozenset[str]]:
    """Return the names of the functions that are refused as tables, and as values."""
    if duckdb.__version__ not in _names:
        rows = cursor.execute(_ACTING).fetchall()
        tables = frozenset(name for name, as_table, _ in rows if as_table)
        acting = REFUSED.union(name for name, _, acts in rows if acts)
        _names[duckdb.__version__] = tables - ALLOWED_TABLES, acting - ALLOWED_SCALARS
    return _names[duckdb.__version__]


def scales(cursor: duckdb.DuckDBPyConnection) -> Scales:
    """Return what weighs a text."""
    if duckdb.__version__ not in _fixed:
        rows = cursor.execute(_FIXED, [_SHORT_TYPES]).fetchall()
        _fixed[duckdb.__version__] = frozenset(name for (name,) in rows)
    return Scales(_fixed[duckdb.__version__], FLAT - {"bit", "blob"}, EXPANDING)


def check_functions(cursor: duckdb.DuckDBPyConnection, tree: Any) -> bool:
    """Check what a parsed text calls; return whether it has to run in a process of its own.

    Args:
        cursor: any of the database's.
        tree: what ``json_serialize_sql`` made of it.

    Raises:
        QueryError: it changes something, or calls a function that acts.
    """
    as_tables, as_values = refused(cursor)
    sized: list[dict[str, Any]] = []
    tables: set[str] = set()
    doublings = 0
    recursive = hard = False
    for node, is_table in _nodes(tree):
        kind, name = str(node.get("type", "")), str(node.get("function_name", "")).lower()
        _check_node(node, kind)
        if name in (as_tables if is_table else as_values):
            raise QueryError(
                f"The query failed: {name}() can't be used here, because it may do more than "
                "compute: read files, change settings, wait, run other texts. The tables and "
                "views of the queue are all there is to ask."
            )
        recursive = recursive or kind == "RECURSIVE_CTE_NODE"
        if kind == "BASE_TABLE":
            tables.add(str(node["table_name"]).lower())
        if is_table:
            hard = hard or name in TREES
            continue
        if name in SIZED:
            sized.append(node)
        doublings += _doublings(name, node)
        hard = hard or kind == "LAMBDA" or _is_hard(name, node)
    small = len(sized) < 2 and all(map(_is_small, sized))
    most = 0 if recursive else MOST_DOUBLINGS  # for what came of the one before, it doubles again
    return hard or doublings > most or not small or _hides(cursor, tables - _OURS)


def _hides(cursor: duckdb.DuckDBPyConnection, tables: set[str]) -> bool:
    """Whether one is a view that somebody made: what it calls does not stand in the text."""
    if not tables:
        return False
    return bool(cursor.execute(_HIDING, [sorted(tables)]).fetchall())


def _check_node(node: dict[str, Any], kind: str) -> None:
    """Raise if it changes something, or is a file."""
    if kind.endswith("_QUERY_NODE") and kind.startswith(_CHANGES):
        raise QueryError(
            f"Only SELECT can be run here; a part of this is {kind.split('_', maxsplit=1)[0]}."
        )
    if kind == "BASE_TABLE" and _FILE_SIGNS.intersection(node["table_name"]):
        raise QueryError(
            f"The query failed: {node['table_name']!r:.200} is no table. Files can't be read "
            "here. The tables and views of the queue are all there is to ask."
        )


def _nodes(tree: Any) -> Iterator[tuple[dict[str, Any], bool]]:
    """Yield what the tree is made of, and whether it is a function that stands as a table."""
    todo = [(tree, False)]
    while todo:
        node, is_table = todo.pop()
        if isinstance(node, dict):
            yield node, is_table
            from_it = node.get("type") == "TABLE_FUNCTION"
            todo += [(value, from_it and key == "function") for key, value in node.items()]
        elif isinstance(node, list):
            todo += [(value, False) for value in node]


def _doublings(name: str, node: dict[str, Any]) -> int:
    """Return how often a call, or a cast, doubles the size of what it is given, at most."""
    if name in JOINING:
        given = [one for one in node["arguments"] if "literal" not in one["expression"]]
        return (len(given) - 1).bit_length() if given else 0
    if node.get("class") == "CAST" and "literal" not in node["child"]:
        return int(str(node["type_expr"].get("type_name")).lower() not in FLAT)
    return EXPANDING.get(name, 0)


def _is_hard(name: str, node: dict[str, Any]) -> bool:
    """Whether something may take more than what it is given is large, so far as its text tells."""
    if node.get("class") == "TYPE":
        return str(node.get("type_name")).lower() not in TYPES
    if node.get("class") == "CAST" and "literal" not in node["child"]:
        types = (str(one.get("type_name")).lower() for one, _ in _nodes(node["type_expr"]))
        return any(one in ZONED for one in types)
    if not name or name in KNOWN:
        return False
    if name not in SIGNS and name not in CALLING:
        return True
    given = [one["expression"].get("literal") or {} for one in node["arguments"]]
    said = dict(enumerate(given)).get(0 if name in ZONES else 1, {})
    text = str(said.get("text", "")) if said.get("kind") in ("STRING", "INTEGER") else None
    if text is None:
        return True
    if name in CALLING:
        return text.lower() not in AGGREGATES
    return len(text) > SHORT or bool(SIGNS[name] and SIGNS[name] in text)


def _is_small(call: dict[str, Any]) -> bool:
    """Whether what a call makes is as long as its numbers say, and those are here and small."""
    name, given = call["function_name"].lower(), [one["expression"] for one in call["arguments"]]
    if name not in {"range", "generate_series"}:
        given = given[1:2]
    literals = [one.get("literal") or {} for one in given]
    numbers = [int(one["text"]) for one in literals if one.get("kind") == "INTEGER"]
    return len(numbers) == len(given) and all(number <= SMALL for number in numbers)
