"""Log lines of tasks: kept with the task, in bulk, within bounds, and never at its expense."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pytest

from storage.conftest import IDS, add, claim, end, later, lines, numbers
from support.databases import killed
from support.queues import PATIENCE
from support.records import NOW
from wopr.domain.logline import LogLine
from wopr.ports.storage import QueryLimits
from wopr.storage.duckdb import folding as folding_module
from wopr.storage.duckdb import lines as lines_module
from wopr.storage.duckdb.compact import compact
from wopr.storage.duckdb.lines import Lines
from wopr.storage.duckdb.storage import DuckDBStorage

FULL = duckdb.TransactionException("could not write all bytes: No space left on device")
FATAL = duckdb.FatalException("FATAL Error: the disk went away")
ONE, TWO = IDS.new(NOW), IDS.new(NOW)


# --- keeping and reading ---


async def test_a_text_that_no_file_can_hold_is_kept_with_escapes(storage: DuckDBStorage) -> None:
    storage.save_logs([LogLine(ONE, 1, 1, NOW, "INFO", "a\ud800", "b\0c\udfffd")])

    [found] = await storage.logs(ONE, 100)

    assert ("a\\ud800", "b\\x00c\\udfffd") == (found.logger, found.message)


async def test_a_long_message_is_cut_in_its_middle(storage: DuckDBStorage) -> None:
    storage.save_logs([LogLine(ONE, 1, 1, NOW, "INFO", "app", "begin" + "x" * 1_000_000 + "end")])

    [found] = await storage.logs(ONE, 100)

    assert lines_module.MAX_MESSAGE_BYTES >= len(found.message) > 60_000
    assert found.message.startswith("begin")
    assert found.message.endswith("end")
    assert "bytes cut" in found.message


async def test_a_query_sees_the_lines_that_were_handed_over_before(storage: DuckDBStorage) -> None:
    storage.save_logs(lines(ONE, 5))

    found = await storage.query(
        "select max(number) from task_logs where task_id = ?", [ONE], QueryLimits()
    )

    assert [(5,)] == found.rows


# --- when they are written ---


async def count(storage: DuckDBStorage) -> int:
    """Return how many lines are in the file now; does not write those that wait."""
    job = storage.in_writer(lambda db: db.execute("select count(*) from task_logs").fetchall())
    [(number,)] = await asyncio.wrap_future(job)
    return int(number)


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Return an event that is set once lines have been written."""
    event = threading.Event()
    original = Lines._append

    def append(self: Lines) -> None:
        original(self)
        event.set()

    monkeypatch.setattr(Lines, "_append", append)
    return event


@pytest.fixture
def no_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no moment count as a quiet one, and no line as old."""
    monkeypatch.setattr(folding_module, "QUIET_SECONDS", 1e6)
    monkeypatch.setattr(lines_module, "WRITE_AFTER_SECONDS", 1e6)


async def test_lines_are_written_in_the_next_quiet_moment(
    storage: DuckDBStorage, written: threading.Event
) -> None:
    storage.save_logs(lines(ONE, 3))

    assert await asyncio.to_thread(written.wait, PATIENCE)
    assert 3 == await count(storage)


@pytest.mark.usefixtures("no_quiet")
async def test_many_lines_do_not_wait_for_a_quiet_moment(
    storage: DuckDBStorage, written: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines_module, "WRITE_AT", 10)
    monkeypatch.setattr(lines_module, "CHUNK", 4)

    storage.save_logs(lines(ONE, 9))
    await add(storage)
    assert 0 == await count(storage)

    storage.save_logs(lines(ONE, 1, first=10))
    await add(storage)
    assert await asyncio.to_thread(written.wait, PATIENCE)
    assert 4 == await count(storage)


@pytest.mark.usefixtures("no_quiet")
async def test_old_lines_do_not_wait_for_a_quiet_moment(
    storage: DuckDBStorage, written: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage.save_logs(lines(ONE, 2))
    await add(storage)
    assert 0 == await count(storage)

    monkeypatch.setattr(lines_module, "WRITE_AFTER_SECONDS", 0.0)
    await add(storage)

    assert await asyncio.to_thread(written.wait, PATIENCE)
    assert 2 == await count(storage)


@pytest.mark.usefixtures("no_quiet")
async def test_flush_writes_all_lines(
    storage: DuckDBStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines_module, "CHUNK", 10)
    storage.save_logs(lines(ONE, 25))

    await storage.flush()

    assert 25 == await count(storage)


@pytest.mark.usefixtures("no_quiet")
async def test_lines_are_there_after_closing_and_opening(path: Path) -> None:
    first, second = DuckDBStorage(path), DuckDBStorage(path)
    await first.open()
    first.save_logs(lines(ONE, 3))
    await first.close()

    await second.open()

    assert lines(ONE, 3) == await second.logs(ONE, 100)
    await second.close()


async def test_what_is_logged_after_the_end_is_forgotten(path: Path) -> None:
    storage = DuckDBStorage(path)
    storage.save_logs(lines(ONE, 1))
    await storage.open()
    await storage.close()
    storage.save_logs(lines(ONE, 1))

    await storage.open()

    assert [] == await storage.logs(ONE, 100)
    await storage.close()


KILLED = """
import asyncio
from datetime import datetime
from pathlib import Path
from wopr.domain.logline import LogLine
from wopr.storage.duckdb.storage import DuckDBStorage

async def main():
    storage = DuckDBStorage(Path(path))
    await storage.open()
    storage.save_logs([
        LogLine(sys.argv[2], 1, n, datetime(2030, 1, 1), "INFO", "app", "x" * n) for n in range(50)
    ])
    await storage.flush()
    die()

asyncio.run(main())
"""


async def test_lines_that_were_flushed_outlive_a_kill_and_a_compaction(path: Path) -> None:
    killed(KILLED, path, ONE)
    storage = DuckDBStorage(path)
    await storage.open()
    assert 50 == len(await storage.logs(ONE, 100))
    await storage.close()

    compact(path)

    await storage.open()
    assert list(range(50)) == [line.number for line in await storage.logs(ONE, 100)]
    await storage.close()


# --- bounds and failures ---


@contextmanager
def held(storage: DuckDBStorage) -> Iterator[None]:
    """Keep the writer's thread busy."""
    busy, go_on = threading.Event(), threading.Event()
    storage.in_writer(lambda _: (busy.set(), go_on.wait(PATIENCE)))
    assert busy.wait(PATIENCE)
    try:
        yield
    finally:
        go_on.set()


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]


async def test_lines_beyond_the_limit_are_dropped_with_one_warning_each_time(
    storage: DuckDBStorage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(lines_module, "MAX_LINES", 10)
    for attempt in (1, 2):
        with held(storage):
            for first in (1, 9, 17):
                storage.save_logs(lines(ONE, 8, attempt=attempt, first=first))
        found = numbers(await storage.logs(ONE, 100))
        assert [(attempt, number) for number in range(1, 11)] == found[-10:]
        assert attempt == len(warnings(caplog))
        assert 10 * attempt == len(found)
    assert "10 of their lines wait" in warnings(caplog)[0]
    assert "WOPR_TASKS_LOG_LINES" in warnings(caplog)[0]


async def test_long_lines_are_dropped_before_they_fill_the_memory(
    storage: DuckDBStorage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(lines_module, "MAX_BYTES", 10_000)
    with held(storage):
        for number in range(10):
            storage.save_logs([LogLine(ONE, 1, number, NOW, "INFO", "app", "x" * 4_000)])
    assert [0, 1, 2] == [line.number for line in await storage.logs(ONE, 100)]
    assert 1 == len(warnings(caplog))

    storage.save_logs(lines(TWO, 1))  # the room is counted rightly
    assert lines(TWO, 1) == await storage.logs(TWO, 100)
    assert 1 == len(warnings(caplog))


async def test_too_many_lines_hold_no_task_up(
    storage: DuckDBStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines_module, "MAX_LINES", 10)
    with held(storage):
        storage.save_logs(lines(ONE, 100))
        assert not storage.full


class Fault:
    """Lets writing lines fail so many times, before or after it has happened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.error: Exception | None = None
        self.times = 0
        self.landed = False
        original = Lines._append

        def append(lines: Lines) -> None:
            if self.times == 0 or self.error is None:
                return original(lines)
            self.times -= 1
            if self.landed:
                original(lines)
            lines._suspect = True
            raise self.error

        monkeypatch.setattr(Lines, "_append", append)


@pytest.mark.parametrize("landed", [False, True], ids=["lost", "landed"])
@pytest.mark.parametrize("error", [FULL, FATAL], ids=lambda error: type(error).__name__)
async def test_lines_that_can_not_be_written_fail_nothing_and_are_written_once_later(
    storage: DuckDBStorage,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    landed: bool,
) -> None:
    fault = Fault(monkeypatch)
    fault.error, fault.times, fault.landed = error, 3, landed
    record = await add(storage)
    await claim(storage, record)
    storage.save_logs(lines(record.id, 2))
    await storage.flush()
    storage.save_logs(lines(record.id, 2, first=3))
    await end(storage, record)
    assert "could not be stored yet" in caplog.text

    fault.times = 0
    assert lines(record.id, 4) == await storage.logs(record.id, 100)
    found = await storage.get(record.id)
    assert found is not None
    assert "success" == found.status.value


class Broken(list[object]):
    """Rows at which the database breaks, once, when an appender has taken the first of them."""

    whole = False

    def __iter__(self) -> Iterator[object]:
        yield self[0]
        if not self.whole:
            self.whole = True
            raise FATAL
        yield from self[1:]


async def test_after_a_fatal_error_in_the_background_lines_are_written_on_a_new_connection(
    storage: DuckDBStorage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fill = Lines._fill
    reopened = threading.Event()

    def broken(self: Lines) -> None:
        fill(self)
        self._batch = Broken(self._batch)  # type: ignore[assignment]

    monkeypatch.setattr(Lines, "_fill", broken)
    opened = storage._opened_or_raise()
    before, let_go = opened.connection, opened.before_reopen
    assert let_go is not None
    opened.before_reopen = lambda: (let_go(), reopened.set())
    storage.save_logs(lines(ONE, 3))
    assert await asyncio.to_thread(reopened.wait, PATIENCE)

    assert lines(ONE, 3) == await storage.logs(ONE, 100)
    assert opened.connection is not before
    assert "opened again after a fatal error" in caplog.text
    assert "can't be opened again" not in caplog.text


async def test_a_line_that_fits_no_column_takes_only_its_batch_along(
    storage: DuckDBStorage, caplog: pytest.LogCaptureFixture
) -> None:
    storage.save_logs(lines("no uuid", 1))
    await storage.flush()
    storage.save_logs(lines(ONE, 2))

    assert lines(ONE, 2) == await storage.logs(ONE, 100)
    assert "1 lines that tasks logged are dropped" in caplog.text


# --- the end of a task ---


async def test_a_cleanup_of_many_tasks_takes_the_lines_of_each(
    storage: DuckDBStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    from wopr.storage.duckdb import cleanup

    monkeypatch.setattr(cleanup, "BATCH", 3)
    records = [await add(storage) for _ in range(8)]
    for record in reversed(records):
        await claim(storage, record)
        storage.save_logs(lines(record.id, 2))
        await end(storage, record)
    kept = await add(storage)
    storage.save_logs(lines(kept.id, 2))

    assert 8 == await storage.cleanup(later(50), keep_history=False)

    assert 2 == await count(storage)
    assert lines(kept.id, 2) == await storage.logs(kept.id, 100)
