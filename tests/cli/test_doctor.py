"""The check behind ``wopr doctor`` finds each kind of damage, and none where there is none."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import duckdb
import pytest

from support.commands import Database
from support.queues import PATIENCE
from wopr import TaskQueue, current_task
from wopr.domain.errors import StorageError, StorageFileError
from wopr.storage.duckdb import doctor, examination, wide
from wopr.storage.duckdb.examination import Examination

OTHER = "f0000000-0000-7000-8000-000000000000"  # sorts last, also where the sign bit decides


def damage(path: Path, *statements: str, **params: Any) -> list[doctor.Problem]:
    """Change the file behind wopr's back and return what the doctor finds."""
    with duckdb.connect(str(path)) as connection:
        for statement in statements:
            wanted = {name: value for name, value in params.items() if f"${name}" in statement}
            connection.execute(statement, wanted)
    return doctor.check(path).problems


def kinds(problems: list[doctor.Problem]) -> list[str]:
    return [problem.kind for problem in problems]


def test_a_file_that_was_only_used_is_clean(database: Database) -> None:
    report = doctor.check(database.path)
    assert ([], True, 3, 7) == (
        report.problems,
        report.clean,
        report.tasks,
        report.transitions,
    )


def test_a_missing_file_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(StorageFileError, match="does not exist"):
        doctor.check(tmp_path / "missing.duckdb")
    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("column", "value", "expected", "actual"),
    [
        ("status", "'pending'", "failed", "pending"),
        ("attempt", "2", 1, 2),
        ("retry_count", "1", 0, 1),
        ("crashes", "1", 0, 1),
        ("worker", "'someone'", None, "someone"),
        ("result", "'{}'", None, "{}"),
        ("error_type", "null", "ValueError", None),
        ("name", "'other'", "nasty", "other"),
        ("priority", "4", 2, 4),
        ("progress", "5", 0.0, 5.0),
        ("unique_key", "'key'", None, "key"),
        ("version", "999", None, 999),
        ("seq", "999", 2, 999),
    ],
)
def test_every_column_is_compared(
    database: Database, column: str, value: str, expected: object, actual: object
) -> None:
    problems = damage(
        database.path, f"update tasks set {column} = {value} where id = $id", id=database.failed
    )
    assert [("row differs", column, database.failed)] == [
        (problem.kind, problem.text, problem.task_id) for problem in problems
    ]
    [problem] = problems
    assert problem.actual == actual
    if column not in {"worker", "version", "seq"}:  # these differ from run to run
        assert problem.expected == expected


def test_json_is_compared_by_value(database: Database) -> None:
    problems = damage(
        database.path,
        "update tasks set result = '{ \"doubled\" : 42 }' where id = $id",
        "update tasks set result = 'null' where id = $other",
        id=database.succeeded,
        other=database.delayed,
    )
    assert [] == problems


def test_json_of_another_type_differs(database: Database) -> None:
    problems = damage(
        database.path,
        "update tasks set result = '{\"doubled\": 42.0}' where id = $id",
        id=database.succeeded,
    )
    assert ["result"] == [problem.text for problem in problems]


def test_a_lost_row_is_found_while_its_task_is_live(database: Database) -> None:
    problems = damage(database.path, "delete from tasks where id = $id", id=database.delayed)
    assert [("no row", database.delayed)] == [(p.kind, p.task_id) for p in problems]


def test_the_history_of_a_deleted_task_may_stay(database: Database) -> None:
    assert [] == damage(database.path, "delete from tasks where id = $id", id=database.failed)


def test_a_row_without_history_is_found(database: Database) -> None:
    statement = "delete from transitions where task_id = $id"
    problems = damage(database.path, statement, id=database.succeeded)
    assert [("no history", database.succeeded)] == [(p.kind, p.task_id) for p in problems]


def test_two_rows_of_one_task_are_found(database: Database) -> None:
    problems = damage(
        database.path,
        "insert into tasks select * from tasks where id = $id",
        id=database.succeeded,
    )
    assert [("duplicate id", database.succeeded)] == [(p.kind, p.task_id) for p in problems]


@pytest.mark.parametrize(
    ("change", "where", "found"),
    [
        ("attempt = 3", "to_status = 'started'", "attempt"),
        ("from_status = 'retry'", "to_status = 'started'", "from"),
        ("from_status = 'pending'", "to_status = 'pending'", "from"),
        ("to_status = 'cancelled', from_status = null", "to_status = 'pending'", "to"),
    ],
)
def test_an_illegal_move_is_found(database: Database, change: str, where: str, found: str) -> None:
    problems = damage(
        database.path,
        f"update transitions set {change} where task_id = $id and {where}",
        id=database.failed,
    )
    assert "illegal move" == problems[0].kind
    assert problems[0].text.endswith(f": {found}")
    assert database.failed == problems[0].task_id


def test_a_gap_in_the_history_is_found(database: Database) -> None:
    statement = "delete from transitions where task_id = $id and to_status = 'started'"
    problems = damage(database.path, statement, id=database.failed)
    assert {"illegal move", "row differs"} == set(kinds(problems))
    assert ("pending", "started") == (problems[0].expected, problems[0].actual)


@pytest.mark.parametrize("data", ["{", "[]", "null", '{"name": "x"}'])
def test_a_history_that_can_not_be_read_is_found(database: Database, data: str) -> None:
    problems = damage(
        database.path,
        "update transitions set data = $data where task_id = $id and from_status is null",
        id=database.failed,
        data=data,
    )
    assert [("unreadable", database.failed)] == [(p.kind, p.task_id) for p in problems]


def test_an_unknown_status_is_found(database: Database) -> None:
    statement = "update transitions set to_status = 'asleep' where task_id = $id and attempt = 0"
    assert "unreadable" in kinds(damage(database.path, statement, id=database.failed))


@pytest.mark.parametrize("most", [1, 2, 20_000])
def test_a_number_given_twice_is_found(
    database: Database, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(wide, "MOST", most)  # rows are read by their numbers, so many at a time
    problems = damage(
        database.path,
        "update transitions set task_id = $other, seq = "
        "(select min(seq) from transitions) where task_id = $id",
        "delete from tasks where id = $id",
        other=OTHER,
        id=database.delayed,
    )
    assert ["duplicate seq", "no row"] == sorted(kinds(problems))


@pytest.mark.parametrize(
    "statement",
    [
        "delete from meta where key = 'seq'",
        "update meta set value = '1' where key = 'seq'",
        "update meta set value = 'many' where key = 'seq'",
    ],
)
def test_a_highest_number_that_is_wrong_is_found(database: Database, statement: str) -> None:
    assert ["seq"] == kinds(damage(database.path, statement))


def test_a_record_that_was_set_aside_is_found(database: Database) -> None:
    problems = damage(
        database.path,
        "insert into refused_records values (7, 'text', 'no UUID', timestamp '2030-01-01')",
    )
    assert ["refused record"] == kinds(problems)


@pytest.mark.parametrize("key", ["applied", "journal"])
def test_a_file_that_forgot_its_journal_is_refused(database: Database, key: str) -> None:
    with pytest.raises(StorageFileError, match="does not say any more"):
        damage(database.path, f"delete from meta where key = '{key}'")


@pytest.mark.parametrize(
    "statement",
    [
        "update meta set value = '9223372036854775807' where key = 'seq'",
        "update meta set value = '99999999999999999999' where key = 'applied'",
    ],
)
def test_a_file_whose_numbers_have_come_to_their_end_is_refused(
    database: Database, statement: str
) -> None:
    with pytest.raises(StorageFileError, match="beyond all that were ever given"):
        damage(database.path, statement)


def test_two_live_tasks_with_one_key_are_found(database: Database) -> None:
    problems = damage(
        database.path,
        "update tasks set unique_key = 'only one', status = 'retry' where id = $id",
        id=database.failed,
    )
    [problem] = [problem for problem in problems if problem.kind == "unique key"]
    assert "'only one'" in problem.text
    assert database.failed in problem.text
    assert database.delayed in problem.text


def test_the_list_of_problems_is_bounded(database: Database) -> None:
    with duckdb.connect(str(database.path)) as connection:
        connection.execute("update tasks set crashes = 2")
    report = doctor.check(database.path, limit=2)
    assert (2, 1, False) == (len(report.problems), report.unlisted, report.clean)


def test_ranges_of_ids_together_cover_every_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "many.duckdb"
    queue = TaskQueue(enabled=True, database=path)

    @queue.task(name="one")
    async def one(number: int) -> int:
        return number

    async def fill() -> None:
        async with queue:
            handles = await one.enqueue_many([(n,) for n in range(50)])
            await queue.start_workers("default", 3)
            for handle in handles:
                await handle.result(timeout=PATIENCE)

    asyncio.run(fill())
    monkeypatch.setattr(examination, "_RANGE", 7)
    monkeypatch.setattr(wide, "MOST", 2)
    monkeypatch.setattr(examination, "_SEQS", 10)
    seen: list[tuple[int, int]] = []
    report = doctor.check(path, progress=lambda done, total: seen.append((done, total)))
    assert ([], 50, 150) == (report.problems, report.tasks, report.transitions)
    assert (0, 150) == seen[0]
    assert (150, 150) == seen[-1]
    assert len(seen) > 15


def test_progress_of_ended_and_interrupted_attempts_is_in_the_log(tmp_path: Path) -> None:
    """A row that kept the progress of an attempt its history does not know was a defect."""
    path = tmp_path / "progress.duckdb"
    queue = TaskQueue(enabled=True, database=path)

    @queue.task(name="half", category="a")
    async def half(fails: bool) -> None:
        current_task().progress(50, "half")
        if fails:
            raise ValueError

    @queue.task(name="stuck", category="b")
    async def stuck() -> None:
        current_task().progress(33, "third")
        begun.release()
        await asyncio.Event().wait()

    async def fill() -> None:
        async with queue:
            await queue.start_workers("a", 2)
            await queue.start_workers("b", 2)
            ended = [await half.enqueue(fails) for fails in (True, False)]
            for handle in ended:
                await queue.wait(handle.id, timeout=PATIENCE)
            cancelled, _ = await stuck.enqueue(), await stuck.enqueue()
            await begun.acquire()
            await begun.acquire()
            assert await cancelled.cancel()
            await queue.shutdown(0)

    begun = asyncio.Semaphore(0)
    asyncio.run(fill())
    assert [] == doctor.check(path).problems
    with duckdb.connect(str(path)) as connection:
        rows = connection.execute(
            "select status, progress, progress_message from tasks order by seq"
        ).fetchall()
    assert [
        ("failed", 50.0, "half"),
        ("success", 100.0, "half"),
        ("cancelled", 33.0, "third"),
        ("pending", 0.0, ""),
    ] == rows


def test_with_all_memory_too_little_it_says_so_and_finds_no_damage(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []
    opening = doctor.open_settled

    def opened(path: Path, *, memory_limit: str) -> Any:
        tried.append(memory_limit)
        return opening(path, memory_limit=memory_limit)

    def greedy(self: object) -> None:
        raise duckdb.OutOfMemoryException("Out of Memory Error: no room")

    monkeypatch.setattr(doctor, "open_settled", opened)
    monkeypatch.setattr(doctor, "physical", lambda: 500_000_000)
    monkeypatch.setattr(Examination, "_check_tasks", greedy)
    with pytest.raises(StorageError, match="400MB of memory are too little") as caught:
        doctor.check(database.path)
    assert "Nothing is known to be wrong" in str(caught.value)
    assert ["200MB", "400MB"] == tried


def test_rows_that_need_more_memory_are_read_with_more(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[int] = []
    plain = Examination._check_tasks

    def greedy(self: Examination) -> None:
        tries.append(1)
        if len(tries) == 1:
            raise duckdb.OutOfMemoryException("Out of Memory Error: no room")
        plain(self)

    monkeypatch.setattr(Examination, "_check_tasks", greedy)
    report = doctor.check(database.path)
    assert (True, 3, 2) == (report.clean, report.tasks, len(tries))
