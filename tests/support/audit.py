"""What must be true of a database file whatever happened to its process.

Reads the file itself, without the package's storage: a judge that shares the
code of the judged would share its errors. Only the fold is the package's own.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb

from wopr.domain.fold import apply
from wopr.domain.status import TRANSITIONS, TaskStatus
from wopr.domain.task import COLUMNS, TaskRecord
from wopr.domain.transition import Transition
from wopr.storage.duckdb.journal.scan import segments
from wopr.storage.duckdb.replay import TRANSITION_COLUMNS, record_from_add, transition_from_row
from wopr.storage.duckdb.start import open_settled

EDGES = {
    (None if before is None else before.value, after.value)
    for (before, _), after in TRANSITIONS.items()
}
_JSON = ("args", "kwargs", "options", "result")
_BESIDE_THE_LOG = ("progress", "progress_message", "progress_data")  # no transitions store them


@dataclass
class Audit:
    """The content of a file and what is wrong with it."""

    problems: list[str] = field(default_factory=list)
    rows: dict[str, TaskRecord] = field(default_factory=dict)
    """``tasks`` as it stands; it may be behind the log."""
    logs: dict[str, list[Transition]] = field(default_factory=dict)
    folded: dict[str, TaskRecord] = field(default_factory=dict)
    """What each task's transitions add up to: the truth."""

    def say(self, problem: str) -> None:
        """Note something that is wrong."""
        self.problems.append(problem)


def audit(path: Path, *, whole: bool = False, deleted: Collection[str] = ()) -> Audit:
    """Check the file at ``path``, which nobody may have open.

    Args:
        path: of the database. Nothing changes there: what its journal holds is brought into
            a copy.
        whole: whether all of it has to be in the tables, as after a clean end.
        deleted: the ids of tasks that have no row any more, but perhaps a history.
    """
    with _connected(path) as connection:
        found = audit_of(connection, whole=whole, deleted=deleted)
    if whole and segments(path):
        found.say("it was not closed: its journal lies beside it")
    return found


def audit_of(
    connection: duckdb.DuckDBPyConnection, *, whole: bool = False, deleted: Collection[str] = ()
) -> Audit:
    """Check an open database: ``audit`` says what."""
    found = Audit()
    rows, logs, refused = _content(connection)
    for position in refused:
        found.say(f"DuckDB refused record {position} of the journal")
    for row in rows:
        record = TaskRecord.from_row(row)
        if record.id in found.rows:
            found.say(f"task {record.id} has two rows")
        found.rows[record.id] = record
    seqs = [row[0] for row in logs]
    if len(set(seqs)) != len(seqs):
        found.say("a seq was used twice")
    for row in logs:
        transition = transition_from_row(row)
        found.logs.setdefault(transition.task_id, []).append(transition)
    for task_id, transitions in found.logs.items():
        _check_chain(found, task_id, transitions)
        _check_row(found, task_id, transitions, whole=whole and task_id not in deleted)
    for task_id in found.rows.keys() - found.logs.keys():
        found.say(f"task {task_id} has a row but no history")
    return found


@contextlib.contextmanager
def _connected(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Give the file, or a copy into which its journal was brought."""
    with contextlib.ExitStack() as stack:
        if segments(path):
            folder = Path(stack.enter_context(TemporaryDirectory(dir=path.parent)))
            for one in path.parent.glob(f"{path.name}*"):
                if one.is_file():
                    shutil.copyfile(one, folder / one.name)
            opened = open_settled(folder / path.name)
            stack.callback(opened.close, checkpoint=False)
            yield opened.connection
            return
        yield stack.enter_context(duckdb.connect(str(path), read_only=True, config={"threads": 1}))


def _content(connection: duckdb.DuckDBPyConnection) -> tuple[list[Any], list[Any], list[int]]:
    """Return tasks, transitions and the positions of refused records."""
    rows = connection.execute(f"select {', '.join(COLUMNS)} from tasks").fetchall()
    logs = connection.execute(
        f"select {TRANSITION_COLUMNS} from transitions order by seq"
    ).fetchall()
    refused = connection.execute("select position from refused_records").fetchall()
    return rows, logs, [position for (position,) in refused]


def _check_chain(found: Audit, task_id: str, transitions: list[Transition]) -> None:
    before: str | None = None
    attempt = 0
    for transition in transitions:
        after = transition.to_status.value
        stored = transition.from_status.value if transition.from_status else None
        if stored != before:
            found.say(f"task {task_id} was {before}, but seq {transition.seq} says {stored}")
        if (before, after) not in EDGES:
            found.say(f"task {task_id} went from {before} to {after}, which is no legal move")
        attempt += after == TaskStatus.STARTED.value
        if transition.attempt != attempt:
            found.say(f"task {task_id}: attempt {transition.attempt} at start number {attempt}")
        before = after
    ends = Counter(t.attempt for t in transitions if t.to_status is TaskStatus.SUCCESS)
    if sum(ends.values()) > 1:
        found.say(f"task {task_id} succeeded {sum(ends.values())} times")


def _check_row(found: Audit, task_id: str, transitions: list[Transition], *, whole: bool) -> None:
    row = found.rows.get(task_id)
    record = record_from_add(transitions[0])
    same = row is not None and row.version == record.version
    if row is not None and same:
        _compare(found, row, record)
    for transition in transitions[1:]:
        apply(record, transition)
        if row is not None and row.version == record.version:
            same = True
            _compare(found, row, record)
    found.folded[task_id] = record
    if row is not None and not same:
        found.say(f"task {task_id}: its row has version {row.version}, its log no such seq")
    if whole and (row is None or row.version != record.version):
        version = None if row is None else row.version
        found.say(f"task {task_id}: folded up to {version}, logged up to {record.version}")


def _compare(found: Audit, row: TaskRecord, record: TaskRecord) -> None:
    for column in COLUMNS:
        if column in _BESIDE_THE_LOG:
            continue
        expected, got = getattr(record, column), getattr(row, column)
        if column in _JSON and None not in {expected, got}:
            expected, got = json.loads(expected), json.loads(got)
        if expected != got:
            found.say(f"task {row.id}.{column}: the log says {expected!r}, the row {got!r}")


def clean(path: Path, *, whole: bool = False, deleted: Collection[str] = ()) -> Audit:
    """Audit the file; fail with all that is wrong."""
    found = audit(path, whole=whole, deleted=deleted)
    assert not found.problems, "\n".join(found.problems[:20])
    return found


def doctor(path: Path) -> None:
    """Run the package's own doctor; fail with all that it finds."""
    from wopr.storage.duckdb.doctor import check

    report: Any = check(path)
    problems: Iterable[Any] = report.problems
    assert not list(problems), "\n".join(map(str, problems))
