"""What the world does to a host and to its server, one thing at a time."""

from __future__ import annotations

import asyncio
import contextlib
import random
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from faults.fleet.proxy import Fault, Line, Proxy, When
from faults.fleet.server import Server
from support.queues import PATIENCE, Gate, until, until_status
from wopr import StorageError, TaskPriority, TaskQueue, TaskStatus
from wopr.access import fleet as opened
from wopr.config.settings import Settings
from wopr.domain.clock import SystemClock
from wopr.queue.queue import inside


class Off(SystemClock):
    """The clock of a host that is wrong."""

    def __init__(self, hours: float) -> None:
        super().__init__()
        self._off = timedelta(hours=hours)

    def now(self) -> datetime:
        """Return what it says."""
        return super().now() + self._off


@pytest.fixture
async def database(server: Server) -> str:
    """Return the name of a new database."""
    name = f"wopr_{uuid4().hex}"
    await asyncio.to_thread(server.new_database, name)
    return name


@pytest.fixture
async def new_queue(proxy: Proxy, database: str) -> AsyncIterator[Callable[..., TaskQueue]]:
    """Make queues behind the line, with a task ``double``; they are shut down at last."""
    made: list[TaskQueue] = []

    def new(seconds: float = PATIENCE, **options: Any) -> TaskQueue:
        settings = Settings(call_seconds=seconds)
        address = proxy.address(database)
        queue = TaskQueue(enabled=True, database=address, settings=settings, **options)
        queue.task(name="double")(double)
        made.append(queue)
        return queue

    yield new
    proxy.refuses = False
    proxy.switch(Line.OPEN)
    await asyncio.gather(*(queue.shutdown(timeout=0) for queue in made))


async def double(number: int) -> int:
    """Be the function of all of them."""
    return 2 * number


async def refused(queue: TaskQueue) -> StorageError:
    """Return what an enqueue says that fails."""
    with pytest.raises(StorageError) as caught:
        await queue.enqueue("double", (1,))
    return caught.value


@pytest.mark.parametrize("when", When)
async def test_an_enqueue_whose_answer_never_comes_names_the_task_to_look_up(
    new_queue: Callable[..., TaskQueue], proxy: Proxy, when: When
) -> None:
    queue = new_queue(3.0)
    await queue.enqueue("double", (0,))

    def refuse() -> None:
        proxy.refuses = True
        proxy.cut()

    proxy.steps.clear()
    proxy.fault = Fault("add_one", 1, when, refuse)
    error = await refused(queue)
    said = str(error).partition("It is not known whether task ")[2]
    task_id = said.split()[0]
    assert error.in_doubt
    assert f"was enqueued: look it up before you repeat it: wopr tasks show {task_id}" in said
    again = await refused(queue)  # it can't even be sent now
    assert not again.in_doubt
    assert str(again).endswith("Nothing was enqueued by it.")
    proxy.refuses = False
    there = await queue.get_task_info(task_id)
    assert (when is When.AFTER) == (there is not None)


async def test_other_calls_whose_answer_never_comes_say_what_is_known(
    new_queue: Callable[..., TaskQueue], proxy: Proxy
) -> None:
    queue = new_queue(3.0)
    handle = await queue.enqueue("double", (1,), delay=3600)

    def refuse() -> None:
        proxy.refuses = True
        proxy.cut()

    async def said(call: Callable[[], Awaitable[object]]) -> str:
        proxy.steps.clear()
        proxy.refuses = False
        await queue.get_task_stats()
        proxy.fault = Fault("COMMIT", 1, When.AFTER, refuse)
        with pytest.raises(StorageError) as caught:
            await call()
        assert caught.value.in_doubt
        return str(caught.value)

    cancelled = await said(handle.cancel)
    assert f"It is not known whether task {handle.id} was cancelled" in cancelled
    limits = await said(lambda: queue.set_limit("default", concurrency=1))
    assert "It is not known whether the rules were changed; see: wopr status" in limits
    more = await _again(queue, proxy)
    act = await said(lambda: queue.tasks.where(ids=[more]).set_priority(TaskPriority.HIGH))
    assert "Before it, 0 tasks were changed; of the next ones it is not known" in act


async def _again(queue: TaskQueue, proxy: Proxy) -> str:
    proxy.refuses = False
    return (await queue.enqueue("double", (2,), delay=3600)).id


async def test_a_retry_by_hand_whose_commit_was_not_heard_of_is_told_to_be_done(
    new_queue: Callable[..., TaskQueue], proxy: Proxy
) -> None:
    queue = new_queue()

    @queue.task(name="fail")
    async def fail() -> None:
        raise ValueError

    await queue.start_workers("default", 1)
    handle = await queue.enqueue("fail")
    await until_status(queue, handle.id, TaskStatus.FAILED)
    proxy.steps.clear()
    proxy.fault = Fault("COMMIT", 1, When.AFTER)
    assert await queue.retry_task(handle.id)
    assert proxy.fault is None


async def test_a_server_that_says_nothing_costs_a_call_its_time_and_no_more(
    new_queue: Callable[..., TaskQueue], proxy: Proxy
) -> None:
    queue = new_queue(3.0)
    await queue.start_workers("default", 1)
    await queue.enqueue("double", (0,))
    proxy.switch(Line.DEAF)
    error = await refused(queue)
    assert ": for 3 s " in str(error)
    proxy.switch(Line.OPEN)
    handle = await queue.enqueue("double", (4,))
    assert 8 == await handle.result(timeout=PATIENCE)


async def test_a_host_whose_clock_is_an_hour_late_goes_by_that_of_the_server(
    new_queue: Callable[..., TaskQueue],
) -> None:
    late, right = new_queue(clock=Off(-1)), new_queue()
    await late.start_workers("default", 1)
    handle = await right.enqueue("double", (2,), delay=0.2)
    assert 4 == await handle.result(timeout=PATIENCE)
    info = await right.require_task_info(handle.id)
    now = datetime.now(UTC)
    assert info.started_at is not None
    assert timedelta(0) <= now - info.started_at < timedelta(minutes=10)
    own = await late.enqueue("double", (3,), delay=0.2)
    assert 6 == await own.result(timeout=PATIENCE)
    assert not [one for one in await right.get_history(own.id) if one.reason == "worker lost"]


@pytest.mark.parametrize("hours", [-1, 1])
async def test_moments_of_calls_are_by_the_clock_of_the_server_wherever_they_are_made(
    new_queue: Callable[..., TaskQueue], hours: float
) -> None:
    wrong = new_queue(clock=Off(hours))
    first = await wrong.enqueue("double", (1,), delay=600, expires=1200)  # nothing is open yet
    [many] = await wrong.enqueue_ids("double", [(2,)], {"delay": 600})
    at_once = await wrong.enqueue("double", (3,), delay=0.01, expires=600)
    await wrong.tasks.where(ids=[many]).delay(300)
    now = datetime.now(UTC)
    minute = timedelta(minutes=1)
    moments = [(await wrong.require_task_info(one)).run_at for one in (first.id, many)]
    for moment, seconds in zip(moments, (600, 300), strict=True):
        assert moment is not None
        assert abs(now + timedelta(seconds=seconds) - moment) < minute
    await wrong.start_workers("default", 1)
    assert 6 == await at_once.result(timeout=PATIENCE)


async def test_a_claim_that_was_under_way_when_the_foreground_was_taken_is_given_back(
    new_queue: Callable[..., TaskQueue], proxy: Proxy
) -> None:
    queue, over = new_queue(), asyncio.Event()
    queue.category("reindex", background=True)
    handle = await queue.enqueue("double", (4,), category="reindex")
    requests: list[asyncio.Task[None]] = []

    async def request() -> None:
        async with queue.foreground():
            await over.wait()

    def take() -> None:
        requests.append(asyncio.create_task(request()))

    proxy.steps.clear()
    proxy.fault = Fault("claim", 1, When.AFTER, take, cuts=False)
    await queue.start_workers("reindex", 1)
    await until(lambda: queue.get_history(handle.id), lambda log: log[-1].reason == "foreground")
    over.set()
    assert 8 == await handle.result(timeout=PATIENCE)
    await asyncio.gather(*requests)
    reasons = [one.reason for one in await queue.get_history(handle.id)]
    assert ["add", "claim", "foreground", "claim", "succeed"] == reasons


async def test_a_call_that_finds_all_connections_in_use_says_so_and_was_not_made(
    new_queue: Callable[..., TaskQueue],
    server: Server,
    database: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(opened, "MOST_CONNECTIONS", 1)
    queue = new_queue(3.0)
    kept = await queue.enqueue("double", (0,))
    connections = inside(queue).access.storage.connections
    held, free = asyncio.Event(), asyncio.Event()

    async def hold(_: Any) -> None:
        held.set()
        await free.wait()

    holding = asyncio.create_task(connections.run(hold, seconds=PATIENCE))
    await held.wait()
    error = await refused(queue)
    assert "all 1 connections of this process were in use" in str(error)
    assert str(error).endswith("Nothing was enqueued by it.")
    free.set()
    await holding
    assert [kept.id] == [one.id for one in await queue.get_tasks()]


async def test_of_two_that_wait_for_each_other_the_one_that_gave_way_tries_again(
    new_queue: Callable[..., TaskQueue], server: Server, database: str
) -> None:
    queue = new_queue()
    first, second = [await queue.enqueue("double", (n,), delay=3600) for n in range(2)]
    lock = "select from wopr.tasks where id = %s for update"
    waits = "select from pg_locks where not granted"
    async with (
        await _patient(server, database) as other,
        await _patient(server, database) as looking,
    ):
        async with other.transaction():
            await other.execute(lock, [second.id])
            act = asyncio.create_task(queue.tasks.where(ids=[first.id, second.id]).cancel())
            while not (await looking.execute(waits)).rowcount:
                assert not act.done()
            await other.execute(lock, [first.id])  # the server ends the act's transaction
        assert 2 == (await act).act.changed
    assert TaskStatus.CANCELLED is (await first.info()).status


async def _patient(server: Server, database: str) -> psycopg.AsyncConnection[Any]:
    """Return a connection that never looks for deadlocks, so that another one finds them."""
    made = await psycopg.AsyncConnection.connect(
        host=str(server.folder), user="wopr", dbname=database, autocommit=True
    )
    await made.execute("set deadlock_timeout = '1h'")
    return made


async def test_all_is_done_where_each_transaction_is_serializable(
    new_queue: Callable[..., TaskQueue], server: Server, database: str
) -> None:
    with server.connect(database) as connection:
        connection.execute(
            f'alter database "{database}" set default_transaction_isolation = serializable'
        )
    queues = [new_queue() for _ in range(2)]
    await queues[0].set_limit("default", concurrency=2)
    for queue in queues:
        await queue.start_workers("default", 3)
    handles = await asyncio.gather(*(queues[n % 2].enqueue("double", (n,)) for n in range(20)))
    results = [await one.result(timeout=PATIENCE) for one in handles]
    assert [2 * n for n in range(20)] == results


async def test_a_standby_that_takes_over_has_all_that_was_acknowledged(
    new_queue: Callable[..., TaskQueue], proxy: Proxy, server: Server, tmp_path: Path
) -> None:
    gate = Gate()
    queue = new_queue()

    @queue.task(name="hold")
    async def hold() -> str:
        return str(await gate.wait("held"))

    standby = await asyncio.to_thread(server.standby, server.folder.with_name("second"))
    try:
        await queue.start_workers("default", 2)
        running = await queue.enqueue("hold")
        await gate.arrivals()
        handles = [await queue.enqueue("double", (n,), delay=0.5) for n in range(10)]
        await asyncio.to_thread(server.kill)
        waiting = asyncio.create_task(queue.enqueue("double", (10,)))
        await asyncio.to_thread(standby.promote)
        proxy.target = standby.socket
        handles.append(await waiting)
        gate.open()
        assert "held" == await running.result(timeout=PATIENCE)
        assert [2 * n for n in range(11)] == [await one.result(timeout=PATIENCE) for one in handles]
    finally:
        await queue.shutdown(timeout=0)
        await asyncio.to_thread(standby.close)
        await asyncio.to_thread(server.start)
        with server.connect() as connection:
            connection.execute("alter system reset synchronous_standby_names")
            connection.execute("select pg_reload_conf()")


async def test_a_connection_to_a_server_that_may_not_be_written_to_any_more_is_given_up(
    new_queue: Callable[..., TaskQueue], server: Server, database: str
) -> None:
    queue = new_queue()
    await queue.enqueue("double", (0,))
    connections = inside(queue).access.storage.connections

    async def spoil(connection: Any) -> None:
        await connection.execute("set default_transaction_read_only = on")

    await connections.run(spoil)  # as if it had been demoted: the next one is made anew
    handle = await queue.enqueue("double", (1,))
    assert await queue.get_task_info(handle.id) is not None


async def test_a_transaction_that_slept_too_long_is_begun_anew(
    new_queue: Callable[..., TaskQueue], server: Server, database: str
) -> None:
    queue = new_queue()
    await queue.enqueue("double", (0,))
    connections = inside(queue).access.storage.connections
    tries = 0

    async def work(connection: Any) -> int:
        nonlocal tries
        tries += 1
        async with connection.transaction():
            if tries == 1:
                await connection.execute("set local idle_in_transaction_session_timeout = 1")
                await _ended(server, connection.info.backend_pid)
            await connection.execute("select 1")
        return tries

    assert 2 == await connections.run(work)


async def _ended(server: Server, pid: int) -> None:
    """Return once the server has ended a connection."""
    with server.connect() as connection:
        known = "select from pg_stat_activity where pid = %s"
        while connection.execute(known, [pid]).rowcount:
            await asyncio.sleep(0.01)


async def test_an_idle_host_asks_once_a_second_and_once_a_lease_whatever_it_works_on(
    new_queue: Callable[..., TaskQueue], proxy: Proxy
) -> None:
    queue = new_queue()
    for number in range(50):
        await queue.start_workers(f"category {number}", 1)
    await queue.start_scheduler()

    async def looks() -> int:
        await asyncio.sleep(0.01)
        return proxy.steps["look"]

    before = await looks()
    await until(looks, lambda count: count > before + 2)  # what comes with a start is over
    proxy.steps.clear()
    await until(looks, lambda count: count >= 10)
    assert {"look", "look_around", "renew", "meta"} >= proxy.steps.keys()
    assert proxy.steps["look_around"] <= 3
    assert proxy.steps["renew"] <= 3
    assert proxy.steps["meta"] <= 3


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """Give a directory on a disk that has little room."""
    folder.mkdir(mode=0o755)
    mounted = ["mount", "-t", "tmpfs", "-o", "size=110m,mode=777", "tmpfs", str(folder)]
    if subprocess.run(mounted, check=False, capture_output=True).returncode:
        pytest.skip("no small disk for a server: mounting one is not allowed here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


async def test_a_full_disk_refuses_calls_and_outcomes_wait_for_room(server: Server) -> None:
    with small_disk(server.folder.with_name("small")) as disk:
        full = Server(server.folder.with_name("full"), data=disk / "data")
        await asyncio.to_thread(full.make)
        await asyncio.to_thread(full.start)
        try:
            await _fill(TaskQueue(enabled=True, database=full.new_database("small")), disk)
        finally:
            await asyncio.to_thread(full.close)


async def _enqueue_on(queue: TaskQueue, text: str) -> None:
    while True:
        await queue.enqueue("hold", (text,), delay=3600)


async def _fill(queue: TaskQueue, disk: Path) -> None:
    queue.task(name="double")(double)
    gate = Gate()

    @queue.task(name="hold")
    async def hold(text: str) -> str:
        await gate.wait(None)
        return text[:100_000]

    async with queue:
        await queue.start_workers("default", 20)
        text = random.Random(1).randbytes(100_000).hex()  # which can't be made smaller
        running = [await queue.enqueue("hold", (text,)) for _ in range(20)]
        await gate.arrivals(20)
        with (disk / "much").open("wb") as much, contextlib.suppress(OSError):
            while True:
                much.write(bytes(65_536))
                much.flush()
        with pytest.raises(StorageError, match=r"No space left.*Nothing was enqueued by it"):
            await _enqueue_on(queue, text)
        gate.open()
        (disk / "much").unlink()
        for one in running:
            assert text[:100_000] == await one.result(timeout=PATIENCE)


async def test_outcomes_that_the_server_refuses_hold_up_no_others(
    new_queue: Callable[..., TaskQueue], server: Server, database: str
) -> None:
    queue = new_queue()
    await queue.enqueue("double", (0,))
    with server.connect(database) as connection:
        connection.execute(
            "create function refuse() returns trigger language plpgsql as $$ begin "
            "if new.result = '26' then raise 'not this one'; end if; return new; end $$"
        )
        connection.execute(
            "create trigger refuse before update on wopr.tasks "
            "for each row execute function refuse()"
        )
    handles = await asyncio.gather(*(queue.enqueue("double", (n,)) for n in range(10, 20)))
    await queue.start_workers("default", 10)
    for number, handle in enumerate(handles, 10):
        if number != 13:
            assert 2 * number == await handle.result(timeout=PATIENCE)
    with server.connect(database) as connection:
        connection.execute("drop trigger refuse on wopr.tasks")
    assert 26 == await handles[3].result(timeout=PATIENCE)
