"""Resources: opened once when a task needs them, filled in by annotation, closed at the end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Annotated, Any, Literal, NewType, Protocol, TypeVar

import pytest
from tenacity import wait_fixed

from support.queues import PATIENCE, DuckDBHome, Gate, ended, running, until_status
from wopr import (
    InvalidCallError,
    TaskAsyncInvocationRequiredError,
    TaskQueue,
    TaskStatus,
    chain,
    provided,
)
from wopr.handlers import DirectTaskExecutor, DirectTaskInvocation, TaskHandler, task

FAILED, SUCCESS = TaskStatus.FAILED, TaskStatus.SUCCESS


class Speaks(Protocol):
    """What some tasks ask for."""

    name: str


class Client:
    """What most tasks ask for."""

    def __init__(self, name: str = "client") -> None:
        self.name = name


class Database:
    """What a client may need."""


Token = NewType("Token", str)
T = TypeVar("T")


class Diary:
    """A queue with a resource that notes when it is opened and closed."""

    def __init__(self, home: DuckDBHome) -> None:
        self.lines: list[str] = []
        self.queue = home.queue()

    def declare(self) -> Callable[..., Any]:
        @self.queue.resource
        async def client() -> AsyncIterator[Client]:
            self.lines.append("open")
            yield Client(f"client {self.lines.count('open')}")
            self.lines.append("close")

        return client


@pytest.fixture
def diary(durable_home: DuckDBHome) -> Diary:
    return Diary(durable_home)


async def result(queue: TaskQueue, name: str, *args: Any, **kwargs: Any) -> Any:
    return await (await queue.enqueue(name, args, kwargs)).result(timeout=PATIENCE)


# -- where they go -------------------------------------------------------------


def first(client: Client, a: int, b: int = 2, *more: int) -> object:
    return client.name, a, b, more


def middle(a: int, client: Client, b: int = 2, *more: int) -> object:
    return client.name, a, b, more


def last(a: int, b: int = 2, *more: int, client: Client) -> object:
    return client.name, a, b, more


def with_default(a: int, b: int = 2, client: Client = provided, *more: int) -> object:
    return client.name, a, b, more


async def annotated(a: int, b: int = 2, *more: int, client: Annotated[Client, "shared"]) -> object:
    return client.name, a, b, more


@pytest.mark.parametrize("function", [first, middle, last, with_default, annotated])
@pytest.mark.parametrize(
    ("args", "kwargs", "rest"),
    [
        ((1,), {}, (1, 2, ())),
        ((1, 3), {}, (1, 3, ())),
        ((1, 3, 4, 5), {}, (1, 3, (4, 5))),
        ((1,), {"b": 3}, (1, 3, ())),
        ((), {"a": 1, "b": 3}, (1, 3, ())),
    ],
)
async def test_a_resource_fills_its_parameter_wherever_that_stands(
    diary: Diary,
    function: Callable[..., Any],
    args: tuple[int, ...],
    kwargs: dict[str, int],
    rest: tuple[Any, ...],
) -> None:
    diary.declare()
    diary.queue.register_task("run", "c")(function)
    async with running(diary.queue, c=1) as queue:
        handle = await queue.enqueue("run", args, kwargs)
        assert ("client 1", *rest) == await handle.result(timeout=PATIENCE)
        info = await handle.info()
        assert (args, kwargs) == (info.args, info.kwargs)


async def test_a_call_that_gives_it_is_refused(diary: Diary) -> None:
    diary.declare()
    clean = diary.queue.task(name="clean")(first)
    async with running(diary.queue) as queue:
        with pytest.raises(InvalidCallError, match="A resource fills 'client': leave that out"):
            await clean.enqueue(client=Client(), a=1)
        with pytest.raises(InvalidCallError, match=r"clean\(a: int, b: int = 2, \*more: int\)"):
            await clean.enqueue()
        assert [] == await queue.get_tasks()


@pytest.mark.parametrize("used_before", [False, True])
async def test_a_resource_may_be_declared_after_the_task(diary: Diary, used_before: bool) -> None:
    queue = diary.queue
    queue.register_task("run", "c")(first)
    async with running(queue):
        if used_before:
            with pytest.raises(InvalidCallError, match="client"):
                await queue.enqueue("run", (1,))
        diary.declare()
        await queue.start_workers("c")
        assert ("client 1", 1, 2, ()) == await result(queue, "run", 1)


async def test_what_it_provides_can_be_said(durable_home: DuckDBHome) -> None:
    queue = durable_home.queue()

    @queue.resource(provides=(Speaks, Token))
    def speaker() -> Iterator[Client]:
        yield Client("speaker")

    @queue.task(category="c")
    async def speak(it: Speaks, also: Token) -> bool:
        return it.name == "speaker" and it is also

    @queue.task(category="c")
    async def other(client: str) -> str:
        return client

    async with running(queue, c=1):
        assert await result(queue, "speak")
        assert "text" == await result(queue, "other", "text")


async def test_any_context_manager_will_do(durable_home: DuckDBHome) -> None:
    queue = durable_home.queue()

    @queue.resource
    @contextlib.asynccontextmanager
    async def client() -> AsyncIterator[Client]:
        yield Client("managed")

    @queue.resource(provides=Database)
    def database() -> contextlib.AbstractContextManager[Database]:
        return contextlib.nullcontext(Database())

    @queue.task(category="c")
    async def names(client: Client, database: Database) -> list[str]:
        return [client.name, type(database).__name__]

    async with running(queue, c=1):
        assert ["managed", "Database"] == await result(queue, "names")
        async with client() as own:
            assert "managed" == own.name


@TaskHandler(category="c")
class Cleaning:
    """A handler whose method needs a resource."""

    @task(name="clean")
    async def clean(self, days: int, client: Client = provided) -> str:
        return f"{client.name}: {days}"

    @task(name="clean plainly")
    def clean_plainly(self, client: Client, days: int) -> str:
        return f"{client.name}: {days}"


async def test_methods_of_handlers_get_them_too(diary: Diary) -> None:
    diary.declare()
    queue = diary.queue
    queue.register_handler(Cleaning)
    async with running(queue, c=1):
        assert "client 1: 3" == await result(queue, "clean", 3)
        assert "client 1: 4" == await result(queue, "clean plainly", days=4)


async def test_a_direct_run_gets_them_and_the_shutdown_closes_them(diary: Diary) -> None:
    diary.declare()
    diary.queue.register_handler(Cleaning)
    executor = DirectTaskExecutor(diary.queue)
    call = DirectTaskInvocation(handler_type=Cleaning, method_name="clean_plainly", args=(3,))
    assert "client 1: 3" == await executor.execute_async(call)
    with pytest.raises(TaskAsyncInvocationRequiredError, match="needs resources"):
        executor.execute(call)
    assert ["open"] == diary.lines
    await diary.queue.shutdown()
    assert ["open", "close"] == diary.lines


async def test_tasks_of_schedules_and_flows_get_them(diary: Diary) -> None:
    diary.declare()
    queue = diary.queue

    @queue.task(category="c")
    async def start(client: Client) -> str:
        return client.name

    @queue.task(category="c")
    async def go_on(client: Client, before: str) -> str:
        return f"{before}, {client.name}"

    async with running(queue, c=1):
        flow = await queue.enqueue_flow(chain(start.s(), go_on.s()))
        assert "client 1, client 1" == await flow.result(timeout=PATIENCE)
        await queue.schedules.add("now", go_on, every=3_600, args=("schedule",))
        handle = await queue.schedules.run_now("now")
        assert "schedule, client 1" == await handle.result(timeout=PATIENCE)


# -- their life ----------------------------------------------------------------


async def test_it_is_opened_once_when_the_first_task_needs_it(diary: Diary) -> None:
    diary.declare()
    queue, gate = diary.queue, Gate()

    @queue.task(category="c")
    async def together(client: Client) -> str:
        await gate.wait()
        return client.name

    @queue.task(category="c")
    async def alone() -> None: ...

    async with running(queue, c=3):
        await result(queue, "alone")
        assert [] == diary.lines
        handles = await together.enqueue_many([()] * 3)
        await gate.arrivals(3)
        gate.open()
        names = {await handle.result(timeout=PATIENCE) for handle in handles}
        assert ({"client 1"}, ["open"]) == (names, diary.lines)
    assert ["open", "close"] == diary.lines


async def test_tasks_end_before_what_they_use_is_closed(diary: Diary) -> None:
    diary.declare()
    queue, gate = diary.queue, Gate()

    @queue.task(category="c")
    async def work(client: Client) -> None:
        await gate.wait()
        diary.lines.append("work")

    await queue.start_workers("c")
    await work.enqueue()
    await gate.arrivals()
    ending = asyncio.ensure_future(queue.shutdown(timeout=PATIENCE))
    gate.open()
    await ending
    assert ["open", "work", "close"] == diary.lines


async def test_a_queue_that_is_used_again_opens_it_again(diary: Diary) -> None:
    diary.declare()
    diary.queue.register_task("run", "c")(first)
    for number in (1, 2):
        async with running(diary.queue, c=1) as queue:
            assert f"client {number}" == (await result(queue, "run", 1))[0]
    assert ["open", "close"] * 2 == diary.lines


async def test_a_resource_may_need_others_and_is_closed_before_them(diary: Diary) -> None:
    queue, lines = diary.queue, diary.lines

    @queue.resource
    async def client(database: Database, name: str = "from the database") -> AsyncIterator[Client]:
        lines.append("open client")
        yield Client(name)
        lines.append("close client")

    @queue.resource
    def database() -> Iterator[Database]:
        lines.append("open database")
        yield Database()
        lines.append("close database")

    queue.register_task("run", "c")(first)
    async with running(queue, c=1):
        assert "from the database" == (await result(queue, "run", 1))[0]
    assert ["open database", "open client", "close client", "close database"] == lines


async def test_the_same_task_enters_and_leaves_it_and_nothing_of_the_caller_is_seen(
    diary: Diary,
) -> None:
    queue = diary.queue
    tasks: list[Any] = []

    @queue.resource
    async def client() -> AsyncIterator[Client]:
        tasks.append(asyncio.current_task())
        yield Client()
        tasks.append(asyncio.current_task())

    @queue.task(category="c")
    async def run(client: Client) -> None:
        tasks.append(asyncio.current_task())

    async with running(queue, c=1):
        await result(queue, "run")
    entered, ran, left = tasks
    assert (True, False) == (entered is left, entered is ran)


async def test_a_plain_generator_runs_in_threads(diary: Diary) -> None:
    queue = diary.queue
    threads: list[threading.Thread] = []

    @queue.resource
    def client() -> Iterator[Client]:
        threads.append(threading.current_thread())
        yield Client()
        threads.append(threading.current_thread())

    queue.register_task("run", "c")(first)
    async with running(queue, c=1):
        await result(queue, "run", 1)
    assert 2 == len(threads)
    assert threading.main_thread() not in threads


# -- what goes wrong -------------------------------------------------------------


async def test_one_that_fails_to_open_fails_the_attempt_and_the_next_tries_again(
    diary: Diary,
) -> None:
    queue = diary.queue

    @queue.resource
    async def client() -> AsyncIterator[Client]:
        diary.lines.append("try")
        if diary.lines == ["try"]:
            raise ConnectionError("nobody answers")
        yield Client("second")

    queue.register_task("once", "c")(first)
    queue.register_task("twice", "c", max_retries=1)(first)
    async with running(queue, c=1):
        [info] = await ended(queue, await queue.add_task("once", None, None, None, 1))
        assert (FAILED, "ConnectionError: nobody answers") == (info.status, info.error)
        told = (await queue.get_history(info.id))[-1].traceback
        assert "This was raised while resource" in str(told)
        assert "second" == (await result(queue, "twice", 1))[0]
    assert ["try", "try"] == diary.lines


async def test_all_who_wait_for_an_opening_that_fails_fail_and_retry(diary: Diary) -> None:
    queue, gate = diary.queue, Gate()

    @queue.resource
    async def client() -> AsyncIterator[Client]:
        await gate.wait()
        if len(gate.arrived) == 1:
            raise ConnectionError
        yield Client()

    queue.register_task("run", "c", max_retries=1, retry=wait_fixed(0))(first)
    async with running(queue, c=2):
        handles = [await queue.enqueue("run", (n,)) for n in range(2)]
        for handle in handles:
            await until_status(queue, handle.id, TaskStatus.STARTED)
        await gate.arrivals(1)
        gate.open()
        infos = await ended(queue, *(handle.id for handle in handles))
    assert [(SUCCESS, 2), (SUCCESS, 2)] == [(info.status, info.attempt) for info in infos]
    assert 2 == len(gate.arrived)


async def test_a_cancelled_task_does_not_stop_the_opening_for_others(diary: Diary) -> None:
    queue, gate = diary.queue, Gate()

    @queue.resource
    async def client() -> AsyncIterator[Client]:
        await gate.wait()
        yield Client()

    queue.register_task("run", "c")(first)
    async with running(queue, c=2):
        one, two = [await queue.enqueue("run", (n,)) for n in range(2)]
        await gate.arrivals(1)
        assert await one.cancel()
        gate.open()
        assert ("client", 1, 2, ()) == await two.result(timeout=PATIENCE)
    assert 1 == len(gate.arrived)


@pytest.mark.parametrize("kind", ["async", "plain"])
async def test_one_that_never_opens_fails_after_its_time(diary: Diary, kind: str) -> None:
    queue, never = diary.queue, threading.Event()

    async def client() -> AsyncIterator[Client]:
        await asyncio.Event().wait()
        yield Client()

    def plain() -> Iterator[Client]:
        never.wait(PATIENCE)
        yield Client()

    queue.resource(timeout=0.01)(client if kind == "async" else plain)
    queue.register_task("run", "c")(first)
    async with running(queue, c=1):
        [info] = await ended(queue, await queue.add_task("run", a=1))
        never.set()
    assert FAILED == info.status
    assert "did not open within 0.01 s" in (info.error or "")


async def test_a_timeout_of_its_own_is_told_as_it_is(diary: Diary) -> None:
    queue = diary.queue

    @queue.resource
    async def client() -> AsyncIterator[Client]:
        raise TimeoutError("the server took too long")
        yield Client()

    queue.register_task("run", "c")(first)
    async with running(queue, c=1):
        [info] = await ended(queue, await queue.add_task("run", a=1))
    assert "TimeoutError: the server took too long" == info.error


async def test_a_shutdown_while_it_opens_leaves_nothing_behind(diary: Diary) -> None:
    queue, gate = diary.queue, Gate()

    @queue.resource
    async def client() -> AsyncIterator[Client]:
        try:
            await gate.wait()
            yield Client()
        finally:
            diary.lines.append("gone")

    queue.register_task("run", "c")(first)
    async with running(queue, c=1):
        handle = await queue.enqueue("run", (1,))
        await gate.arrivals(1)
    assert ["gone"] == diary.lines
    async with running(queue):
        assert TaskStatus.PENDING == await queue.handle(handle.id).status()


async def test_a_failure_of_one_to_close_is_logged_and_the_others_close(
    diary: Diary, caplog: pytest.LogCaptureFixture
) -> None:
    diary.declare()
    queue = diary.queue

    @queue.resource
    async def database(client: Client) -> AsyncIterator[Database]:
        yield Database()
        raise ConnectionError("lost")

    @queue.task(category="c")
    async def run(database: Database) -> None: ...

    async with running(queue, c=1):
        await result(queue, "run")
    [record] = [one for one in caplog.records if one.name == "wopr.resources"]
    assert "database' failed while it was closed" in record.getMessage()
    assert "lost" in str(record.exc_info and record.exc_info[1])
    assert ["open", "close"] == diary.lines


@pytest.mark.parametrize("stubborn", [False, True])
async def test_one_that_does_not_close_is_given_up(
    diary: Diary, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, stubborn: bool
) -> None:
    monkeypatch.setattr("wopr.calls.resources.LAST_WORD", 0.01)
    queue, gate = diary.queue, Gate()

    @queue.resource(timeout=0.01)
    async def client() -> AsyncIterator[Client]:
        yield Client()
        with contextlib.suppress(asyncio.CancelledError if stubborn else ()):
            await gate.wait()
        await gate.wait()

    queue.register_task("run", "c")(first)
    async with running(queue, c=1):
        await result(queue, "run", 1)
    [record] = [one for one in caplog.records if one.name == "wopr.resources"]
    assert (logging.ERROR, True) == (
        record.levelno,
        "did not close within 0.01 s" in record.getMessage(),
    )
    gate.open()


async def test_resources_that_need_each_other_are_refused(diary: Diary) -> None:
    queue = diary.queue

    @queue.resource
    async def client(database: Database) -> AsyncIterator[Client]:
        yield Client()

    async def database(client: Client) -> AsyncIterator[Database]:
        yield Database()

    with pytest.raises(InvalidCallError, match=r"database needs .*client needs .*database"):
        queue.resource(database)
    queue.register_task("run", "c")(first)
    async with running(queue, c=1):
        [info] = await ended(queue, await queue.add_task("run", a=1))
    assert "takes 'database: Database', which no resource provides" in str(info.error)


async def test_a_type_has_one_resource(diary: Diary) -> None:
    diary.declare()
    diary.declare()  # the same again: a module that was loaded twice

    async def another() -> AsyncIterator[Client]:
        yield Client()

    with pytest.raises(InvalidCallError, match="both provide Client"):
        diary.queue.resource(another)


async def awaited() -> Client:
    return Client()


def unsaid() -> Any:
    yield Client()


@pytest.mark.parametrize(
    ("function", "provides", "why"),
    [
        (3, Client, "generator function with one yield"),
        (awaited, Client, "generator function with one yield"),
        (unsaid, None, "Annotate what it yields"),
        (unsaid, "Client", "can't provide"),
    ],
)
def test_what_can_be_no_resource_is_refused(
    durable_home: DuckDBHome, function: Any, provides: Any, why: str
) -> None:
    with pytest.raises(InvalidCallError, match=why):
        durable_home.queue().resource(provides=provides)(function)


@pytest.mark.parametrize(
    "hint",
    [str, Any, list[int], T, int | str, Literal["a"], Annotated[str, []], None],
    ids=str,
)
def test_what_any_parameter_may_be_is_not_provided(durable_home: DuckDBHome, hint: Any) -> None:
    def made() -> Any:
        yield None

    made.__annotations__["return"] = Iterator[hint]
    with pytest.raises(InvalidCallError, match="can't provide"):
        durable_home.queue().resource(provides=(hint,))(made)
    with pytest.raises(InvalidCallError, match=r"can't provide|is not known"):
        durable_home.queue().resource(made)


async def test_a_function_that_returns_no_context_manager_says_so(diary: Diary) -> None:
    diary.queue.resource(provides=Client)(Client)
    diary.queue.register_task("run", "c")(first)
    async with running(diary.queue, c=1) as queue:
        [info] = await ended(queue, await queue.add_task("run", a=1))
    assert "or return a context manager, not Client" in str(info.error)


async def test_a_parameter_by_position_only_can_not_be_filled(diary: Diary) -> None:
    diary.declare()

    @diary.queue.task
    async def run(client: Client, /) -> None: ...

    with pytest.raises(InvalidCallError, match="can't be positional-only"):
        await run.enqueue()


async def test_it_goes_to_no_other_process(diary: Diary) -> None:
    diary.declare()
    queue = diary.queue
    queue.register_task("away", "c", executor="process")(first)
    queue.register_task("here", "c", executor="thread")(first)
    async with running(queue, c=1):
        [info] = await ended(queue, await queue.add_task("away", a=1))
        assert "Task 'away' runs in another process and needs a resource" in str(info.error)
        assert "client 1" == (await result(queue, "here", 1))[0]


# -- provided ----------------------------------------------------------------------


async def test_a_program_without_the_resource_can_enqueue_what_is_provided(diary: Diary) -> None:
    clean = diary.queue.task(name="clean", category="c")(with_default)
    async with running(diary.queue) as queue:
        handle = await clean.enqueue(1)
        with pytest.raises(InvalidCallError, match="unexpected keyword argument 'client'"):
            await clean.enqueue(1, client=Client())
        await queue.start_workers("c")
        [info] = await ended(queue, handle.id)
        assert "'client' is to be filled by a resource, and none provides Client" in str(info.error)
        diary.declare()
        assert ("client 1", 1, 2, ()) == await result(queue, "clean", 1)


def test_who_calls_the_function_passes_the_value() -> None:
    assert ("mine", 1, 2, ()) == with_default(1, client=Client("mine"))
    with pytest.raises(InvalidCallError, match="Where you call the function yourself"):
        with_default(1)
    assert "provided" == repr(provided)
    assert not hasattr(provided, "__wrapped__")


# -- override ------------------------------------------------------------------------


async def test_an_override_stands_in_and_nothing_is_opened(diary: Diary) -> None:
    client = diary.declare()
    diary.queue.register_task("run", "c")(first)
    async with running(diary.queue, c=1) as queue:
        with queue.override(client, Client("outer")):
            with queue.override(Client, Client("inner")):
                assert "inner" == (await result(queue, "run", 1))[0]
            assert "outer" == (await result(queue, "run", 1))[0]
        assert [] == diary.lines
        assert "client 1" == (await result(queue, "run", 1))[0]


@pytest.mark.parametrize("target", [Database, first, [], "client"])
def test_an_override_of_what_is_no_resource_is_refused(diary: Diary, target: Any) -> None:
    diary.declare()
    override = diary.queue.override(target, None)
    with pytest.raises(InvalidCallError, match="is no resource of this queue"):
        override.__enter__()


async def test_one_that_dies_while_it_is_open_is_opened_again(
    diary: Diary, caplog: pytest.LogCaptureFixture
) -> None:
    queue, over = diary.queue, asyncio.Event()

    @queue.resource
    async def client() -> AsyncIterator[Client]:
        async def listen() -> None:
            await over.wait()
            over.clear()
            raise ConnectionError("lost")

        diary.lines.append("open")
        async with asyncio.TaskGroup() as group:
            listening = group.create_task(listen())
            yield Client(f"client {len(diary.lines)}")
            listening.cancel()
        diary.lines.append("close")

    @queue.task(category="c")
    async def run(client: Client) -> str:
        return client.name

    async with running(queue, c=1):
        assert "client 1" == await result(queue, "run")
        over.set()
        async with asyncio.timeout(PATIENCE):
            while not any("failed while it was open" in text for text in caplog.messages):
                await asyncio.sleep(0)
        assert "client 2" == await result(queue, "run")
    assert ["open", "open", "close"] == diary.lines
    assert 1 == len([one for one in caplog.records if one.name == "wopr.resources"])
