"""No query of people's delays anybody, and what can't be stopped runs where it can be killed."""

from __future__ import annotations

import asyncio
import logging
import resource
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import duckdb
import pytest

from support.queues import PATIENCE
from wopr import QueryError, QueryTimeoutError, StorageError, TaskQueue
from wopr.config.settings import Settings
from wopr.ports.cut import Cut
from wopr.ports.storage import QueryLimits, Snapshot
from wopr.storage.duckdb import asking
from wopr.storage.duckdb.asked import apart, people, snapshot

PADDED = "select max(length(lpad(name, 600000000, 'y'))) from tasks"
DOUBLED = "select " + "nullif(" * 30 + "seq" + ", 1)" * 30 + " from tasks"
MIB = 1024


def new_queue(path: Path, *, seconds: float = PATIENCE, snapshot_limit: str = "2GB") -> TaskQueue:
    queue = TaskQueue(
        enabled=True,
        database=path / "apart.duckdb",
        settings=Settings(query_seconds=seconds, snapshot_limit=snapshot_limit),
    )
    queue.register_task("noop")(lambda number: number)
    return queue


async def eventually(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not true():
            await asyncio.sleep(0)


async def add(queue: TaskQueue, count: int) -> None:
    await asyncio.gather(*[queue.enqueue("noop", (number,)) for number in range(count)])


@pytest.fixture
async def queue(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[TaskQueue]:
    queue = new_queue(tmp_path, **getattr(request, "param", {}))
    async with queue:
        await add(queue, 10)
        yield queue


def given(**settings: object) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("queue", [settings], indirect=True)


@pytest.fixture
def stuck(queue: TaskQueue) -> Iterator[threading.Event]:
    """Give what lets those queries end that nothing else stops."""
    let_go = threading.Event()
    yield let_go
    let_go.set()


async def endless(queue: TaskQueue, let_go: threading.Event, begun: asyncio.Event) -> None:
    """Run a query that no interrupt ends, like some functions of DuckDB."""
    loop = asyncio.get_running_loop()

    def read(cursor: duckdb.DuckDBPyConnection) -> None:
        loop.call_soon_threadsafe(begun.set)
        let_go.wait(PATIENCE)

    await queue.storage._people.ask(read, 0.2, 0.2)


# -- in this process ----------------------------------------------------------


async def test_a_query_that_can_not_be_stopped_delays_no_query_and_no_commit(
    queue: TaskQueue, stuck: threading.Event
) -> None:
    begun = asyncio.Event()
    bad = asyncio.create_task(endless(queue, stuck, begun))
    await begun.wait()

    await queue.enqueue("noop", (1,))
    assert 11 == (await queue.sql("select count(*) from tasks")).scalar()
    with pytest.raises(QueryTimeoutError, match="WOPR_TASKS_QUERY_SECONDS"):
        await bad
    assert 11 == (await queue.sql("select count(*) from tasks")).scalar()


async def test_the_end_of_the_queue_does_not_wait_for_it_and_nothing_is_lost(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    let_go, begun = threading.Event(), asyncio.Event()
    queue = new_queue(tmp_path)
    async with queue:
        await queue.enqueue("noop", (1,))
        bad = asyncio.create_task(endless(queue, let_go, begun))
        await begun.wait()
        with caplog.at_level(logging.WARNING):
            await asyncio.wait_for(queue.shutdown(), PATIENCE)
    assert "1 queries run on" in caplog.text
    with pytest.raises(QueryTimeoutError):
        await bad
    let_go.set()
    async with new_queue(tmp_path) as again:
        assert 1 == (await again.sql("select count(*) from tasks")).scalar()


async def test_a_caller_that_gives_up_stops_its_query(queue: TaskQueue) -> None:
    text = "select count(*) from range(100000000) a, range(1000000) b"
    given_up = asyncio.create_task(queue.sql(text))
    while not any(one._running for one in queue.storage._people._askers):
        await asyncio.sleep(0)
    given_up.cancel()
    await asyncio.wait({given_up})
    [asker] = queue.storage._people._askers
    assert await asyncio.to_thread(asker.idle.wait, PATIENCE)


async def test_a_query_that_finds_all_threads_taken_is_run_apart_and_wopr_has_its_own(
    queue: TaskQueue, stuck: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(people, "MOST", 1)
    monkeypatch.setattr(people, "BEGINS_SECONDS", 0.0)
    begun = asyncio.Event()
    bad = asyncio.create_task(endless(queue, stuck, begun))
    await begun.wait()
    assert 10 == (await queue.sql("select count(*) from tasks")).scalar()
    assert 1 == len(queue.storage._people._askers)
    found = await queue.storage.query("select 1", [], QueryLimits(own=True))
    assert ([(1,)], 2) == (found.rows, len(queue.storage._people._askers))
    await asyncio.wait({bad})


async def test_an_answer_ends_with_its_bytes(queue: TaskQueue) -> None:
    limits = QueryLimits(seconds=PATIENCE, bytes=100_000)
    text = "select repeat('x', 1000) from range(1000)"
    found = await queue.storage.query(text, [], limits)
    assert found.cut is Cut.BYTES
    assert 90 <= len(found.rows) <= 100

    one = await queue.storage.query("select repeat('x', 1000)", [], QueryLimits(bytes=10))
    assert (1, None) == (len(one.rows), one.cut)


# -- planned apart ------------------------------------------------------------


async def test_a_text_whose_plan_never_ends_is_refused_before_it_comes_here(
    queue: TaskQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apart, "PLAN_SECONDS", 0.2)
    with pytest.raises(QueryError, match=r"planned|memory|Memory"):
        await queue.sql(DOUBLED)
    assert not queue.storage._people._askers[0]._running


async def test_a_long_text_is_planned_apart_once(
    queue: TaskQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned: list[str] = []
    plan = apart.plan

    async def counted(sql: str, *rest: object) -> None:
        planned.append(sql)
        await plan(sql, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(apart, "plan", counted)
    monkeypatch.setattr(apart, "PLAN_SECONDS", PATIENCE)
    text = "select count(*) from tasks where " + " or ".join(["seq = ?"] * 40)
    for _ in range(2):
        assert 1 == (await queue.sql(text, *[1] * 40)).scalar()
    await queue.sql("select count(*) from tasks")
    assert [text] == planned


async def test_an_error_of_a_long_text_is_that_of_duckdb(queue: TaskQueue) -> None:
    with pytest.raises(QueryError, match="nothing_of_that_name"):
        await queue.sql("select nothing_of_that_name from tasks where " + "seq = 1 or " * 40 + "1")


# -- run apart ----------------------------------------------------------------


@given(seconds=1.0)
async def test_what_pads_to_600_megabytes_takes_neither_time_nor_memory_of_the_owner(
    queue: TaskQueue,
) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    bad = asyncio.create_task(queue.sql(PADDED))
    count = 10
    while not bad.done():
        await queue.enqueue("noop", (1,))
        count += 1
        assert count == (await queue.sql("select count(*) from tasks")).scalar()
    with pytest.raises(QueryError):
        await bad
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * MIB


async def test_what_can_not_be_stopped_answers_as_ever_and_sees_everything(
    queue: TaskQueue,
) -> None:
    for number in range(3):
        await queue.enqueue("noop", (number,))
        found = await queue.sql(
            "select count(*), max(lpad(name, (seq * 0 + ?)::int, '.')) from tasks", 6
        )
        assert [(11 + number, "..noop")] == found.rows
    assert [] == list(queue.storage.path.parent.glob("*.new-*"))


async def test_its_memory_has_an_end(queue: TaskQueue) -> None:
    with pytest.raises(QueryError, match=r"[Mm]emory"):
        await queue.typed_sql("select length(repeat(repeat('x', 50000), 50000))")


@given(seconds=0.2)
async def test_its_time_has_an_end(queue: TaskQueue) -> None:
    with pytest.raises(QueryTimeoutError, match="WOPR_TASKS_QUERY_SECONDS"):
        await queue.typed_sql("select count(*) from range(100000000) a, range(1000000) b")


@pytest.mark.parametrize(
    "text",
    [
        "delete from tasks",
        "select setseed(0.5)",
        "select * from read_blob('/etc/passwd')",
        "select * from checkpoint()",
        "set memory_limit = '10GB'",
    ],
)
async def test_what_is_typed_is_checked_as_well(queue: TaskQueue, text: str) -> None:
    with pytest.raises(QueryError):
        await queue.typed_sql(text)


async def test_a_folder_of_somebody_else_holds_nothing_that_runs_with_a_query(
    queue: TaskQueue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs, ran = tmp_path / "theirs", tmp_path / "ran"
    theirs.mkdir()
    for name in ("json", "importlib", "duckdb", "wopr"):
        (theirs / f"{name}.py").write_text(f"open({str(ran)!r}, 'w').close()", encoding="utf-8")
    monkeypatch.chdir(theirs)
    assert 10 == (await queue.typed_sql("select count(*) from tasks")).scalar()
    assert not ran.exists()


async def test_a_process_that_can_not_begin_is_told(
    queue: TaskQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apart, "_PROGRAM", "raise SystemExit(3)")
    with pytest.raises(StorageError, match="exit code 3"):
        await queue.typed_sql("select 1")


async def test_a_process_that_dies_is_told(
    queue: TaskQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = "import os; print('ready', flush=True); os.kill(os.getpid(), 9)"
    monkeypatch.setattr(apart, "_PROGRAM", program)
    with pytest.raises(QueryError, match="exit code -9"):
        await queue.typed_sql("select 1")


async def test_values_arrive_as_what_they_are(queue: TaskQueue) -> None:
    text = (
        "select id, created_at, seq, 1.5::double, null, [1], {'a': 'b'}, 'nan'::double from tasks"
    )
    [here] = (await queue.sql(f"{text} limit 1")).rows
    [there] = (await queue.typed_sql(f"{text} where seq = ?", 1)).rows
    assert (*here[:7], "nan") == (*there[:5], *there[5:7], there[7])


# -- snapshots ----------------------------------------------------------------


async def test_a_snapshot_is_of_one_moment_while_everything_goes_on(
    queue: TaskQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "KEPT_SECONDS", 0.0)
    done, stop = 10, False

    async def go_on() -> None:
        nonlocal done
        while not stop:
            await add(queue, 20)
            done += 20

    adding = asyncio.create_task(go_on())
    text = """
        select (select count(*) from tasks), (select count(distinct task_id) from transitions),
        (select max(seq) from tasks)
    """
    try:
        for _ in range(3):
            before = done
            [(tasks, transitions, newest)] = (await queue.typed_sql(text)).rows
            assert tasks == transitions == newest
            assert before <= tasks <= done + 20
    finally:
        stop = True
        await adding


async def test_a_snapshot_is_kept_for_some_seconds_and_tells_its_moment(queue: TaskQueue) -> None:
    first = await queue.typed_sql("select count(*) from tasks")
    await queue.enqueue("noop", (1,))
    second = await queue.typed_sql("select count(*) from tasks")
    assert (10, 10, first.moment) == (first.scalar(), second.scalar(), second.moment)
    assert first.moment is not None
    assert (await queue.sql("select count(*) from tasks")).moment is None


async def test_no_snapshot_is_left_when_the_queue_is_closed(tmp_path: Path) -> None:
    queue = new_queue(tmp_path)
    async with queue:
        await queue.enqueue("noop", (1,))
        await queue.typed_sql("select 1")
        assert 1 == len(list(tmp_path.glob("*.new-*")))
    assert {"apart.duckdb", "apart.duckdb.lock"} == {one.name for one in tmp_path.iterdir()}


async def test_a_checkpoint_waits_for_the_copy_and_comes_after_it(queue: TaskQueue) -> None:
    storage = queue.storage
    checkpoints = storage._folding._checkpoints
    checkpoints.grew(1_000_000_000)
    frozen = storage._snapshots.freeze(storage._snapshots.for_query())
    assert asking_again(checkpoints.when_due(0.0, 0))
    storage._snapshots.copy(frozen)
    storage._snapshots.thaw()
    await queue.enqueue("noop", (1,))
    await eventually(lambda: checkpoints._grown == 0)


def asking_again(seconds: float | None) -> bool:
    return seconds is not None and seconds > 0


async def test_a_copy_of_a_file_that_changed_meanwhile_is_given_up(queue: TaskQueue) -> None:
    snapshots = queue.storage._snapshots
    frozen = snapshots.freeze(snapshots.for_query())
    await queue.enqueue("noop", (1,))
    await asyncio.wrap_future(
        queue.storage.in_writer(lambda _: queue.storage._started.opened.checkpoint())
    )
    with pytest.raises(StorageError, match="checkpoint came in between"):
        snapshots.copy(frozen)
    assert [] == list(queue.storage.path.parent.glob("*.new-*"))


async def test_a_copy_that_takes_too_long_is_given_up(
    queue: TaskQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "COPY_SECONDS", -1.0)
    with pytest.raises(StorageError, match="longer than"):
        await queue.typed_sql("select 1")


@given(snapshot_limit="100KB")
async def test_a_database_that_is_too_large_is_not_copied(queue: TaskQueue) -> None:
    with pytest.raises(QueryError, match="WOPR_TASKS_SNAPSHOT_LIMIT"):
        await queue.typed_sql("select 1")
    assert 10 == (await queue.sql("select count(*) from tasks")).scalar()


async def test_a_disk_without_room_is_not_filled(
    queue: TaskQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "LEFT_BYTES", 1 << 62)
    with pytest.raises(QueryError, match="has no room"):
        await queue.typed_sql("select 1")
    assert [] == list(queue.storage.path.parent.glob("*.new-*"))


async def test_a_copy_ends_when_the_queue_does(queue: TaskQueue) -> None:
    snapshots = queue.storage._snapshots
    frozen = snapshots.freeze(snapshots.for_query())
    snapshots.stop()
    with pytest.raises(StorageError, match="closes"):
        snapshots.copy(frozen)


async def test_an_old_snapshot_is_deleted_although_nobody_asks(
    queue: TaskQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "REMOVED_SECONDS", 0.0)
    found: Snapshot = await queue.storage.snapshot()
    await eventually(lambda: not found.path.parent.exists())


async def test_a_copy_whose_caller_gives_up_is_deleted(
    queue: TaskQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshots = queue.storage._snapshots
    copy, begun, go_on, copied = snapshots.copy, *(threading.Event() for _ in range(3))

    def slow(frozen: snapshot.Frozen) -> Snapshot:
        begun.set()
        go_on.wait(PATIENCE)
        try:
            return copy(frozen)
        finally:
            copied.set()

    monkeypatch.setattr(snapshots, "copy", slow)
    given_up = asyncio.create_task(queue.storage.snapshot())
    assert await asyncio.to_thread(begun.wait, PATIENCE)
    given_up.cancel()
    await asyncio.wait({given_up})
    monkeypatch.undo()
    other = await queue.storage.snapshot()
    go_on.set()
    assert await asyncio.to_thread(copied.wait, PATIENCE)
    await eventually(lambda: [other.path.parent] == list(other.path.parent.parent.glob("*.new-*")))
