"""An answer of any size comes in batches, at bounded memory, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from support.owners import client, end, start_owner
from support.queues import PATIENCE, until
from wopr import InvalidCallError, QueryError, QueryStream, QueryTimeoutError, TaskQueue
from wopr.config.settings import Settings
from wopr.storage.duckdb.asked.stream import Stream

MANY = "select seq, repeat('x', 500) as text from tasks cross join range(100000)"
"""A million rows and 500 MB, of ten tasks."""
SLOW = "select count(*) from range(100000000) a, range(1000000) b"
KIB = 1024


@pytest.fixture
async def queue(tmp_path: Path) -> AsyncIterator[TaskQueue]:
    queue = TaskQueue(enabled=True, database=tmp_path / "streams.duckdb")
    queue.register_task("noop")(lambda number: number)
    async with queue:
        await asyncio.gather(*[queue.enqueue("noop", (number,)) for number in range(10)])
        yield queue


def source(stream: QueryStream) -> Stream:
    found = stream._source
    assert isinstance(found, Stream)
    return found


def assert_gone(of: Stream) -> None:
    assert of._child.returncode is not None
    assert not of._folder.exists()


def most_memory(process: int) -> int:
    """Return the most KiB that a process has had."""
    lines = Path(f"/proc/{process}/status").read_text(encoding="ascii").splitlines()
    [line] = [line for line in lines if line.startswith("VmHWM")]
    return int(line.split()[1])


# -- all of it -----------------------------------------------------------------


async def test_an_answer_larger_than_every_limit_comes_whole_in_batches_of_their_size(
    queue: TaskQueue,
) -> None:
    rows, most, memory = 0, 0, 0
    async with await queue.sql(MANY, limit=None, batch_bytes=1024 * KIB) as stream:
        of = source(stream)
        async for batch in stream:
            if not rows:
                memory = most_memory(of._child.pid)
            rows += batch.num_rows
            most = max(most, batch.nbytes)
    assert 1_000_000 == rows
    assert ("seq", "text") == stream.columns
    assert 512 * KIB < most <= 1100 * KIB
    assert 0 < memory < 400 * KIB  # it does not run ahead of its reader
    assert_gone(of)


async def test_it_is_read_without_a_loop_too(queue: TaskQueue) -> None:
    def read() -> list[Any]:
        sync = queue.sync()
        with sync(
            queue.sql, "select args from tasks where seq > ? order by seq", 8, limit=None
        ) as s:
            return [row for batch in s for row in batch.to_pylist()]

    assert [{"args": "[8]"}, {"args": "[9]"}] == await asyncio.to_thread(read)


async def test_an_answer_without_rows_has_its_columns(queue: TaskQueue) -> None:
    stream = await queue.sql("select id, seq from tasks where false", limit=None)
    assert (("id", "seq"), []) == (stream.columns, list(stream))
    assert stream.moment.tzinfo is not None


async def test_one_row_larger_than_a_batch_is_a_batch(queue: TaskQueue) -> None:
    text = "select repeat('x', 300000) as text from range(3)"
    stream = await queue.sql(text, limit=None, batch_bytes=KIB)
    assert [1, 1, 1] == [batch.num_rows for batch in stream]


async def test_another_process_reads_it_too(tmp_path: Path) -> None:
    database = tmp_path / "queue.duckdb"
    owner = start_owner(database)
    try:
        async with client(database) as queue:
            await queue.enqueue("double", (21,))
            async with await queue.sql(
                "select args from tasks cross join range(200000)", limit=None
            ) as stream:
                of = source(stream)
                assert 200_000 == sum([batch.num_rows async for batch in stream])
            assert_gone(of)
    finally:
        end(owner)


# -- ended early -----------------------------------------------------------------


async def test_a_reader_that_stops_early_frees_everything(queue: TaskQueue) -> None:
    async with await queue.sql(MANY, limit=None) as stream:
        of = source(stream)
        async for _ in stream:
            break
    assert_gone(of)
    with pytest.raises(QueryError, match="closed before its end"):
        next(stream)


async def test_a_stream_that_nobody_has_any_more_is_freed(queue: TaskQueue) -> None:
    stream = await queue.sql(MANY, limit=None)
    of = source(stream)
    next(stream)
    del stream
    gc.collect()
    assert_gone(of)


async def test_who_gives_up_before_the_first_batch_leaves_nothing(
    queue: TaskQueue, tmp_path: Path
) -> None:
    async def copies() -> list[Path]:
        return list(tmp_path.glob("*.new-*"))

    asked = asyncio.create_task(queue.sql(SLOW, limit=None))
    await until(copies, bool)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(asked, PATIENCE)
    await until(copies, lambda found: not found)


async def test_a_reader_that_is_cancelled_while_it_waits_frees_everything(
    queue: TaskQueue,
) -> None:
    stream = await queue.sql(MANY, limit=None)
    of = source(stream)
    os.kill(of._child.pid, signal.SIGSTOP)  # as if its batches took long
    waiting = asyncio.create_task(anext(stream))
    while stream._thread is None:
        await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(waiting, PATIENCE)
    assert_gone(of)


# -- time --------------------------------------------------------------------------


async def test_a_stream_ends_when_its_time_is_over_whether_it_is_read_or_not(
    queue: TaskQueue,
) -> None:
    stream = await queue.sql(MANY, limit=None, timeout=3)
    of = source(stream)
    next(stream)
    of._until -= 3  # its reader is slow
    with pytest.raises(QueryTimeoutError, match=r"within 3 s.*timeout="):
        list(stream)
    assert_gone(of)


async def test_a_batch_that_takes_too_long_is_not_waited_for(tmp_path: Path) -> None:
    settings = Settings(query_seconds=0.5)
    queue = TaskQueue(enabled=True, database=tmp_path / "slow.duckdb", settings=settings)
    async with queue:
        with pytest.raises(QueryTimeoutError, match="WOPR_TASKS_QUERY_SECONDS"):
            await queue.sql(SLOW, limit=None)
        assert not list(tmp_path.glob("*.new-*"))


# -- refused, and failed -------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("selec 1", "can't be parsed"),
        ("select * from nowhere", "nowhere"),
        ("delete from tasks", "Only SELECT"),
        ("select * from read_csv('/etc/passwd')", "read_csv"),
    ],
)
async def test_what_may_not_be_asked_is_refused_before_anything_comes(
    queue: TaskQueue, text: str, why: str, tmp_path: Path
) -> None:
    with pytest.raises(QueryError, match=why):
        await queue.sql(text, limit=None)
    assert not list(tmp_path.glob("*.new-*"))


async def test_a_query_that_fails_half_way_says_so_and_never_ends_as_if_it_were_all(
    queue: TaskQueue,
) -> None:
    text = "select case when n = 300000 then error('too far') else n end from range(400000) r(n)"
    stream = await queue.sql(text, limit=None, batch_bytes=64 * KIB)
    of = source(stream)
    with pytest.raises(QueryError, match=r"The query failed: .*too far"):
        list(stream)
    assert_gone(of)


async def test_a_query_whose_process_dies_says_so(queue: TaskQueue) -> None:
    stream = await queue.sql(MANY, limit=None)
    of = source(stream)
    next(stream)
    of._child.kill()
    with pytest.raises(QueryError, match="ended without an answer"):
        list(stream)
    assert_gone(of)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"timeout": 0}, "more than 0"),
        ({"timeout": 7_200}, "at most 3,600 seconds"),
        ({"batch_bytes": 1}, "batch_bytes"),
        ({"batch_bytes": 2**40}, "batch_bytes"),
    ],
)
async def test_limits_that_can_not_be_are_refused(
    queue: TaskQueue, options: dict[str, Any], why: str
) -> None:
    with pytest.raises(InvalidCallError, match=why):
        await queue.sql("select 1", limit=None, **options)


async def test_a_stream_delays_no_commit_and_goes_on_when_the_queue_is_closed(
    tmp_path: Path,
) -> None:
    queue = TaskQueue(enabled=True, database=tmp_path / "closed.duckdb")
    queue.register_task("noop")(lambda number: number)
    async with queue:
        await queue.enqueue("noop", (1,))
        stream = await queue.sql(MANY, limit=None)
        next(stream)
        await queue.enqueue("noop", (2,))
    rows = sum(batch.num_rows for batch in stream)
    assert 0 < rows < 100_000
    assert ["closed.duckdb"] == [
        one for one in os.listdir(tmp_path) if ".new-" in one or one.endswith("duckdb")
    ]


async def test_without_pyarrow_it_says_what_to_install(
    queue: TaskQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wopr.ports.stream.find_spec", lambda name: None)
    with pytest.raises(QueryError, match=r"pip install 'wopr\[data\]'"):
        await queue.sql("select 1", limit=None)
