"""Examine an open database: each row of ``tasks`` is the fold of its transitions.

Both tables are read in the order of the task ids, a range of ids at a time, and
merged like two sorted lists: memory holds a few megabytes, however many rows there are
and however large.
"""

from __future__ import annotations

import itertools
from typing import Any

from wopr.domain.examination import Examining, Progress, Report, silent
from wopr.domain.schedule import COLUMNS as SCHEDULE_COLUMNS
from wopr.domain.spoken import counted
from wopr.domain.status import LIVE
from wopr.domain.task import COLUMNS
from wopr.domain.written import TRANSITION_COLUMNS
from wopr.storage.duckdb.failures import lacks_memory
from wopr.storage.duckdb.file.opening import OpenedDatabase
from wopr.storage.duckdb.wide import Sorted

_RANGE = 20_000  # transitions read by one query
_SEQS = 1_000_000  # sequence numbers looked at together for duplicates


class Examination(Examining):
    """One examination of one open file."""

    def __init__(
        self, opened: OpenedDatabase, progress: Progress = silent, limit: int = 1_000
    ) -> None:
        self._connection = opened.connection
        self._tasks = Sorted(opened.cursor(), "tasks", COLUMNS)
        self._log = Sorted(opened.cursor(), "transitions", TRANSITION_COLUMNS.split(", "))
        super().__init__(limit)
        self._progress = progress
        self._total = 0

    def run(self) -> Report:
        """Look at everything.

        Raises:
            duckdb.Error: rows can't be read within DuckDB's memory limit.
        """
        for step in (
            self._check_journal,
            self._check_tasks,
            self._check_numbers,
            self._check_unique_keys,
            self._look_at_settings,
        ):
            try:
                step()
            except Exception as error:
                if lacks_memory(error):
                    raise
                self._found("unreadable", f"{type(error).__name__}: {error}")
        return self.report

    def _ask(self, sql: str, *params: Any) -> list[Any]:
        return self._connection.execute(sql, list(params)).fetchall()

    # -- the file ------------------------------------------------------------

    def _check_journal(self) -> None:
        [(newest, self._total)] = self._ask(
            "select coalesce(max(seq), 0), count(*) from transitions"
        )
        known = dict(self._ask("select key, value from meta"))
        seq = known.get("seq", "")
        if not seq.isdecimal() or int(seq) < newest:
            text = "meta.seq is the highest number that a transition ever had"
            self._found("seq", text, expected=newest, actual=seq)
        for position, error in self._ask(
            "select position, error from refused_records order by position"
        ):
            text = (
                f"DuckDB refused the journal's record {position}, so a change is missing: {error}"
            )
            self._found("refused record", text)

    def _check_numbers(self) -> None:
        """Find transitions with the same number, in ranges so that memory stays bounded."""
        [(first, last)] = self._ask("select min(seq), max(seq) from transitions")
        if first is None:
            return
        for low in range(first, last + 1, _SEQS):
            for seq, count in self._ask(
                "select seq, count(*) from transitions where seq >= ? and seq < ? "
                "group by seq having count(*) > 1 order by seq",
                low,
                low + _SEQS,
            ):
                text = f"the number {seq} belongs to {counted(count, 'transition')}"
                self._found("duplicate seq", text, expected=1, actual=count)

    def _check_unique_keys(self) -> None:
        live = ", ".join(f"'{status.value}'" for status in sorted(LIVE))
        self._check_keys(
            self._ask(
                "select unique_key, list(id order by seq) from tasks where unique_key is not null "
                f"and status in ({live}) group by unique_key having count(*) > 1 "
                "order by unique_key"
            )
        )

    def _look_at_settings(self) -> None:
        self._check_settings(
            self._ask("select kind, name, value, updated_at from rules"),
            self._ask(f"select {', '.join(SCHEDULE_COLUMNS)} from schedules"),
        )

    # -- the tasks -----------------------------------------------------------

    def _check_tasks(self) -> None:
        bounds = [
            bound
            for (bound,) in self._ask(
                "select distinct task_id from (select task_id, row_number() over "
                f"(order by task_id) as n from transitions) where n % {_RANGE} = 0 order by task_id"
            )
        ]
        self._progress(0, self._total)
        for low, high in itertools.pairwise([None, *bounds, None]):
            self._merge(self._tasks.between(low, high), self._log.between(low, high))
            self._progress(self.report.transitions, self._total)
