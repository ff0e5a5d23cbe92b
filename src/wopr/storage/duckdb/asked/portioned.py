"""``tasks`` with all its results, put together so that no step of a query needs all of them.

To join two tables DuckDB keeps what it reads of one in memory until that has been read to its end,
and for one value it reads that of the 2,048 rows around it: 200 results of 1 MiB are more than
200 MB. Read as many small tables, each is put on the disk before the next one.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import duckdb

PORTION_BYTES = 16 * 1024 * 1024
MOST_PORTIONS = 1_000
"""Of more, planning a query takes longer than a second; they are larger then."""
_BLOCK_BYTES = 256 * 1024
_IN_MEMORY_BYTES = 1024 * 1024
"""A result that is on no block yet may be so large."""
_SEGMENTS = """
select count, case when persistent then len(additional_block_ids) * $1 else count * $2 end
from pragma_storage_info('results')
where column_name = 'result' and segment_type <> 'VALIDITY'
order by row_group_id, segment_id
"""
_TASKS = """
select one.* replace (coalesce(one.result, apart.result) as result)
from {database}.main.tasks as one
left join ({portions}) as apart on apart.seq = one.version
"""


def in_portions(cursor: duckdb.DuckDBPyConnection, database: str) -> str:
    """Return the query for tasks with all their results; ``database`` is quoted."""
    segments = cursor.execute(_SEGMENTS, [_BLOCK_BYTES, _IN_MEMORY_BYTES]).fetchall()
    portions = " union all ".join(
        f"select seq, result from {database}.main.results where {part}"
        for part in _parts([0, *cuts(segments)])
    )
    return _TASKS.format(database=database, portions=portions)


def cuts(segments: list[tuple[int, int]]) -> list[int]:
    """Return at which row numbers to cut a table, given the rows and bytes of its parts.

    Nothing hangs on these numbers but how much is read at once.
    """
    most = max(PORTION_BYTES, sum(size for _, size in segments) // MOST_PORTIONS)
    found: list[int] = []
    first, held = 0, 0.0
    for rows, size in segments:
        each = size / rows if rows else 0.0
        step = max(1, int(most / each)) if each else rows
        for begin in range(first, first + rows, step) if rows else ():
            part = each * min(step, first + rows - begin)
            if held and held + part > most:
                found.append(begin)
                held = 0.0
            held += part
        first += rows
    return found


def _parts(numbers: list[int]) -> Iterator[str]:
    """Yield conditions of which every row fulfils one."""
    for low, high in pairwise(numbers):
        yield f"rowid < {high}" + (f" and rowid >= {low}" if low else "")
    yield f"rowid >= {numbers[-1]}" if numbers[-1] else "true"
