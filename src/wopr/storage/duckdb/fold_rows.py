"""Bring the tables up to a few journal records, which are read here and handed over as rows."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterable, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import duckdb

from wopr.domain.task import COLUMNS, MUTABLE_COLUMNS
from wopr.storage.duckdb import largeresults
from wopr.storage.duckdb.journal.records import END, Row, read_record

Connection = duckdb.DuckDBPyConnection


class _Appenders:
    """What makes rows of the tables; each costs as much as its first use."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.log = connection.appender("transitions")
        self.new = connection.appender("tasks", columns=list(COLUMNS))
        self.known = self._changes(MUTABLE_COLUMNS)

    @functools.cached_property
    def places(self) -> Any:
        """Changes where tasks wait, which is rare."""
        return self._changes(("id", "category", "priority"))

    def _changes(self, columns: Sequence[str]) -> Any:
        return self._connection.appender(
            "tasks", columns=list(columns), action="update", key=["id"]
        )


_appenders: WeakKeyDictionary[Connection, _Appenders] = WeakKeyDictionary()


def let_go(connection: Connection) -> None:
    """Drop what was kept for a connection: it may keep a broken database alive."""
    _appenders.pop(connection, None)


def fold_rows(connection: Connection, text: bytes) -> None:
    """Read whole records here, and hand them over as rows."""
    log: list[Row] = []
    states: dict[str, Row] = {}
    new: dict[str, Row] = {}
    places: dict[str, Row] = {}
    for line in text.decode().split(END):
        transition, state, rest, place = read_record(line)
        log.append(transition)
        states[state[0]] = state
        if place is not None:
            places[state[0]] = place
        if rest is not None:
            new[state[0]] = rest
    appenders = _appenders.get(connection)
    if appenders is None:
        appenders = _appenders[connection] = _Appenders(connection)
    _append(appenders.log, log)
    if len(text) > largeresults.LARGE:
        left, large = largeresults.taken(states.values())
        states = {state[largeresults.ID]: state for state in left}
        largeresults.add(connection, large)
    if new:
        _append(appenders.new, [states.pop(task_id) + rest for task_id, rest in new.items()])
    if states:
        _append(appenders.known, states.values())
    if places:
        _append(appenders.places, places.values())


def _append(appender: Any, rows: Iterable[Row]) -> None:
    try:
        appender.append_rows(rows)
        appender.flush()
    except BaseException:
        with contextlib.suppress(duckdb.Error):  # it would hide what went wrong before
            appender.clear()
        raise
