"""The error that policy, history and views see is the one that was raised."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from tenacity import retry_if_exception_type, wait_fixed

from support import process_tasks
from support.queues import DuckDBHome, Home, ended, running
from wopr import RetryPolicy, Settings, TaskStatus, current_task

FAILED, SUCCESS = TaskStatus.FAILED, TaskStatus.SUCCESS


def _raising(what: type[BaseException]) -> Callable[..., Any]:
    def raised(*_: object) -> Any:
        raise what

    return raised


def nameless() -> type[Exception]:
    class NoName(type):
        def __getattribute__(cls, name: str) -> Any:
            raise SystemExit(name)

    return NoName("NamelessError", (Exception,), {})


def classless() -> type[Exception]:
    hidden = property(_raising(SystemExit))
    names = ("__class__", "__cause__", "__context__", "__traceback__", "__dict__", "args")
    return type("ClasslessError", (Exception,), dict.fromkeys(names, hidden))


def silent(what: type[BaseException]) -> type[Exception]:
    methods = dict.fromkeys(("__str__", "__repr__", "__len__"), _raising(what))
    return type("SilentError", (Exception,), methods)


class OddText(str):
    __slots__ = ()
    __str__ = __len__ = __getitem__ = encode = casefold = lower = _raising(SystemExit)  # type: ignore[assignment]


ODD: dict[str, Callable[[], type[Exception]]] = {
    "no text, SystemExit": lambda: silent(SystemExit),
    "no text, KeyboardInterrupt": lambda: silent(KeyboardInterrupt),
    "no text, RecursionError": lambda: silent(RecursionError),
    "no text, CancelledError": lambda: silent(asyncio.CancelledError),
    "no name": nameless,
    "no class": classless,
}


@pytest.mark.parametrize("is_async", [True, False], ids=["coroutine", "thread"])
@pytest.mark.parametrize("made", ODD.values(), ids=ODD.keys())
async def test_an_error_whose_methods_raise_ends_its_task_only(
    home: Home, made: Callable[[], type[Exception]], is_async: bool
) -> None:
    queue, kind = home.queue(), made()
    policy = RetryPolicy(wait=wait_fixed(0), dont_retry=(kind,))

    def odd() -> None:
        raise kind(OddText("x"))

    async def odd_async() -> None:
        odd()

    queue.register_task("odd", "c", max_retries=2, retry=policy)(odd_async if is_async else odd)
    queue.register_task("plain", "c")(lambda: 1)
    async with running(queue, c=1):
        [info] = await ended(queue, await queue.add_task("odd"))
        [plain] = await ended(queue, await queue.add_task("plain"))
    assert (FAILED, 1, SUCCESS) == (info.status, info.attempt, plain.status)
    assert info.error_type is not None
    assert type(info.error) is str


async def test_the_end_of_an_iterator_in_a_thread_is_seen_as_that(durable_home: DuckDBHome) -> None:
    queue = durable_home.queue()
    never = RetryPolicy(wait=wait_fixed(0), dont_retry=(StopIteration,))
    only = [wait_fixed(0), retry_if_exception_type(StopIteration)]

    def stop() -> None:
        next(iter(()))

    queue.register_task("never", "c", max_retries=2, retry=never)(stop)
    queue.register_task("only", "c", max_retries=2, retry=only)(stop)
    async with running(queue, c=1):
        ids = [await queue.add_task("never"), await queue.add_task("only")]
        infos = await ended(queue, *ids)
    assert [1, 3] == [info.attempt for info in infos]
    assert {"StopIteration"} == {info.error_type for info in infos}


async def test_the_policy_sees_what_was_raised_in_a_worker_process(
    durable_home: DuckDBHome,
) -> None:
    """Three attempts instead of one: pickle could not rebuild it, so it was a WoprError."""
    queue = durable_home.queue(settings=Settings(processes=1))
    kind = process_tasks.KeywordError
    never = RetryPolicy(wait=wait_fixed(0), dont_retry=(kind,))
    only = [wait_fixed(0), retry_if_exception_type(kind)]
    function = process_tasks.fail_with_a_keyword
    queue.register_task("never", "c", max_retries=2, retry=never, executor="process")(function)
    queue.register_task("only", "c", max_retries=2, retry=only, executor="process")(function)
    async with running(queue, c=1):
        ids = [await queue.add_task("never"), await queue.add_task("only")]
        infos = await ended(queue, *ids)
    assert [1, 3] == [info.attempt for info in infos]
    assert {"KeywordError: 404 for /a"} == {info.error for info in infos}
    assert {"support.process_tasks.KeywordError"} == {info.error_type for info in infos}


async def test_failures_tells_the_members_of_groups_and_causes_apart(
    durable_home: DuckDBHome,
) -> None:
    queue = durable_home.queue()

    def failing(number: int) -> None:
        connection, value = ConnectionError(f"host {number} is away"), ValueError("bad")
        match number % 5:
            case 0:
                raise ExceptionGroup("many", [connection, value])
            case 1:
                raise ExceptionGroup("much", [value, ExceptionGroup("in", [connection] * number)])
            case 2:
                raise ExceptionGroup("many", [KeyError("a")])
            case 3:
                raise RuntimeError("it failed") from value
            case _:
                raise RuntimeError("it failed") from connection

    queue.register_task("failing", "c")(failing)
    async with running(queue, c=1):
        ids = [await queue.add_task("failing", number=number) for number in range(10)]
        infos = await ended(queue, *ids)
        rows = await queue.sql("select fingerprint, failures from failures order by fingerprint")
        assert [
            ("ConnectionError: host <n> is away; ValueError: bad", 4),
            ("KeyError: 'a'", 2),
            ("RuntimeError: it failed from ConnectionError: host <n> is away", 2),
            ("RuntimeError: it failed from ValueError: bad", 2),
        ] == [(row["fingerprint"], row["failures"]) for row in rows]
    assert (
        "ExceptionGroup: many (2 sub-exceptions): ConnectionError: host 5 is away; ValueError: bad"
        == infos[5].error
    )
    assert str(infos[6].error).endswith("host 6 is away; …")


@pytest.mark.timeout(60)
async def test_a_group_that_holds_itself_often_is_no_endless_work(
    durable_home: DuckDBHome,
) -> None:
    queue = durable_home.queue()

    @queue.task(name="failing", category="c")
    def failing() -> None:
        error: Exception = ValueError("bad")
        for _ in range(40):
            error = ExceptionGroup("twice", [error, error])
        raise RuntimeError("at last") from error

    async with running(queue, c=1):
        [info] = await ended(queue, (await failing.enqueue()).id)
        history = await queue.get_history(info.id)
    assert "RuntimeError: at last" == info.error
    assert "in failing" in str(history[-1].traceback)


@pytest.mark.parametrize("mask", [True, False])
async def test_secrets_are_masked_before_an_error_is_stored(
    durable_home: DuckDBHome, *, mask: bool
) -> None:
    queue = durable_home.queue(settings=Settings(mask_errors=mask))
    lines: list[str | None] = []
    queue.on("task.*", lambda event: lines.append(event.error))

    def failing() -> None:
        current_task().progress(50, "with token=hunter2xQ9")
        try:
            raise ValueError("https://ada:hunter2xQ9@host")
        except ValueError as error:
            raise ExceptionGroup("password=['hunter2xQ9']", [error]) from error

    queue.register_task("failing", "c", max_retries=1, retry=RetryPolicy(wait=wait_fixed(0)))(
        failing
    )
    async with running(queue, c=1):
        task_id = await queue.add_task("failing")
        [info] = await ended(queue, task_id)
        history = await queue.get_history(task_id)
        rows = [
            *await queue.sql("select * from history"),
            *await queue.sql("select * from failures"),
        ]
    said = repr([info, history, rows, lines])
    assert mask is ("hunter2xQ9" not in said)
    assert "with token=" in info.progress_message
    assert "in failing" in str(history[-1].traceback)
