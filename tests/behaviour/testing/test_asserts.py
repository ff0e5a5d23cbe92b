"""assert_enqueued() finds calls, and its failures help."""

from __future__ import annotations

from datetime import date

import pytest

from wopr import InvalidCallError, TaskQueue
from wopr.queue.queue import inside
from wopr.testing import assert_enqueued, assert_not_enqueued, drain


@pytest.fixture
def queue(queue: TaskQueue) -> TaskQueue:
    @queue.task
    async def send(to: str, n: int = 1, *, on: date | None = None) -> None: ...

    @queue.task(name="send.all")
    async def send_all() -> None: ...

    return queue


async def test_a_call_is_found_however_its_arguments_were_given(queue: TaskQueue) -> None:
    await queue.add_task("send", None, None, None, "ada", on=date(2030, 1, 1))
    await queue.add_task("send", n=2, to="bob")
    await assert_enqueued(queue, "send")
    await assert_enqueued(queue, "send", ("bob", 2))
    await assert_enqueued(queue, "send", kwargs={"to": "bob", "n": 2})
    [info] = await assert_enqueued(queue, "send", ["ada"], {"n": 1, "on": date(2030, 1, 1)})
    assert ("ada",) == info.args
    assert 2 == len(await assert_enqueued(queue, "send", count=2))
    await assert_enqueued(queue, "send", ("ada",), count=0)
    await assert_not_enqueued(queue, "send", ("ada",))
    await assert_not_enqueued(queue, "send.all")


async def test_tasks_that_ran_were_enqueued(queue: TaskQueue) -> None:
    send_all = queue.task(name="again")(lambda: None)
    await send_all.enqueue()
    await drain(queue)
    await assert_enqueued(queue, send_all)
    with pytest.raises(AssertionError, match=r"again\(…\) was enqueued: \n  again\(\)  success  "):
        await assert_not_enqueued(queue, send_all)


async def test_a_failure_shows_other_calls_of_the_task(queue: TaskQueue) -> None:
    for n in range(12):
        await queue.add_task("send", to="bob", n=n)
    with pytest.raises(AssertionError) as raised:
        await assert_enqueued(queue, "send", ("ada",), {"n": 3})
    text = str(raised.value)
    assert text.startswith(
        "send('ada', n=3) was not enqueued. Other calls of 'send' were: \n  send("
    )
    assert "\n  send(to='bob', n=0)  pending  " in text
    assert text.endswith("\n  and 2 more")


async def test_a_failure_says_how_often_it_was(queue: TaskQueue) -> None:
    await queue.add_task("send", to="ada")
    with pytest.raises(AssertionError, match=r"send\(…\) was not enqueued 2 times but 1 time\."):
        await assert_enqueued(queue, "send", count=2)


async def test_a_failure_shows_names_that_are_there_or_near(queue: TaskQueue) -> None:
    with pytest.raises(AssertionError, match=r"Nothing was enqueued at all in .*t\.duckdb"):
        await assert_enqueued(queue, "send")
    await queue.add_task("send.all")
    with pytest.raises(AssertionError) as raised:
        await assert_enqueued(queue, "sent.all")
    assert "Tasks of other names were: send.all. Did you mean 'send.all'?" in str(raised.value)


async def test_a_call_that_nobody_could_make_is_an_error_of_the_test(queue: TaskQueue) -> None:
    with pytest.raises(InvalidCallError, match="doesn't fit"):
        await assert_enqueued(queue, "send", ("ada", 1, 2))
    with pytest.raises(InvalidCallError, match="count"):
        await assert_enqueued(queue, "send", count=-1)


async def test_tasks_without_a_function_are_compared_as_they_are_stored(queue: TaskQueue) -> None:
    await queue.add_task("send", None, None, None, "ada", n=2)
    del inside(queue).registry.definitions["send"]
    await assert_enqueued(queue, "send", ("ada",), {"n": 2})
    await assert_not_enqueued(queue, "send", ("ada", 2))


async def test_calls_that_no_longer_fit_are_not_meant(queue: TaskQueue) -> None:
    await queue.add_task("send", to="ada")
    del inside(queue).registry.definitions["send"]
    queue.register_task("send")(lambda: None)
    await assert_not_enqueued(queue, "send", ())
    await assert_enqueued(queue, "send")
