"""``on_success`` and ``on_failure``: what is enqueued with a call and runs when that has ended."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from support.queues import DuckDBHome, Home, ended, running, until_status
from wopr import InvalidCallError, OnConflict, OnParentFailure, TaskQueue, TaskStatus, chain

ENDED = (TaskStatus.SUCCESS, TaskStatus.FAILED, TaskStatus.CANCELLED)


class Shop:
    """A queue with tasks that note what they did."""

    def __init__(self, queue: TaskQueue) -> None:
        self.queue = queue
        self.seen: list[Any] = []
        self.held = asyncio.Event()
        self.held.set()

        @queue.task(name="order")
        async def order(number: int) -> int:
            await self.held.wait()
            if number < 0:
                raise ValueError("no such order")
            return 10 * number

        @queue.task(name="thank")
        async def thank(price: int, how: str = "mail") -> None:
            self.seen.append(("thank", price, how))

        @queue.task(name="note")
        async def note(text: str) -> str:
            self.seen.append(("note", text))
            return text

        self.order, self.thank, self.note = order, thank, note

    async def all_ended(self) -> dict[str, str]:
        """Wait until every task has; return how, by what it was called with."""
        tasks = await self.queue.get_tasks(limit=1_000)
        infos = await ended(self.queue, *(info.id for info in tasks))
        return {f"{info.name}{info.args}": info.status.value for info in infos}


async def test_what_follows_on_a_success_gets_its_result_and_the_other_is_cancelled(
    home: Home,
) -> None:
    shop = Shop(home.queue())
    call = shop.order.options(on_success=shop.thank.s(how="letter"), on_failure=shop.note.s("sad"))
    async with running(shop.queue, default=2):
        await call.enqueue(7)
        ends = await shop.all_ended()
        [sad] = await shop.queue.get_tasks(name="note")
        why = str(await shop.queue.explain(sad.id))
    assert shop.seen == [("thank", 70, "letter")]
    assert sorted(ends.values()) == ["cancelled", "success", "success"]
    assert "did not fail" in why


async def test_what_follows_on_a_failure_runs_once_the_retries_are_used_up(home: Home) -> None:
    shop = Shop(home.queue())
    call = shop.order.options(
        on_success=shop.thank.s(), on_failure=[shop.note.s("sad"), shop.note.si("call")]
    )
    async with running(shop.queue, default=2):
        handle = await call.enqueue(-1)
        ends = await shop.all_ended()
        [failed] = await ended(shop.queue, handle.id)
    assert sorted(shop.seen) == [("note", "call"), ("note", "sad")]
    assert failed.status is TaskStatus.FAILED
    assert ends["thank(None,)"] == "cancelled"


async def test_nothing_follows_on_a_task_that_is_cancelled(home: Home) -> None:
    shop = Shop(home.queue())
    call = shop.order.options(on_success=shop.thank.s(), on_failure=shop.note.s("sad"))
    async with shop.queue:
        handle = await call.enqueue(7)
        await handle.cancel()
        ends = await shop.all_ended()
    assert set(ends.values()) == {"cancelled"}
    assert shop.seen == []


async def test_a_follow_up_can_have_follow_ups_and_si_takes_no_result(home: Home) -> None:
    shop = Shop(home.queue())
    second = shop.note.options(on_success=shop.note.s(), on_failure=shop.note.s("no")).si("first")
    async with running(shop.queue, default=2):
        await shop.order.options(on_success=second).enqueue(1)
        await shop.all_ended()
    assert shop.seen == [("note", "first"), ("note", "first")]


async def test_each_of_many_calls_has_its_own_follow_up(home: Home) -> None:
    shop = Shop(home.queue())
    many = shop.order.options(on_success=shop.thank.s(), on_failure=shop.note.s("sad"))
    async with running(shop.queue, default=4):
        handles = await many.enqueue_many([(1,), (-1,), (2,)])
        await shop.all_ended()
        assert [handle.id for handle in handles] == [
            info.id for info in reversed(await shop.queue.get_tasks(name="order"))
        ]
    assert sorted(shop.seen) == [("note", "sad"), ("thank", 10, "mail"), ("thank", 20, "mail")]


async def test_a_call_that_is_left_out_for_its_key_brings_no_follow_up(home: Home) -> None:
    shop = Shop(home.queue())
    once = shop.order.options(
        unique_key="order-7", on_conflict=OnConflict.SKIP, on_success=shop.thank.s()
    )
    async with shop.queue:
        first, again = await once.enqueue(7), await once.enqueue(7)
        waiting = await shop.queue.get_tasks()
    assert first.id == again.id
    assert [info.name for info in waiting] == ["thank", "order"]


async def test_follow_ups_outlive_a_crash_between_the_failure_and_their_start(
    durable_home: DuckDBHome,
) -> None:
    shop = Shop(durable_home.queue())
    async with running(shop.queue, default=1):
        await shop.queue.pause(task="note")
        handle = await shop.order.options(on_failure=shop.note.s("sad")).enqueue(-1)
        await until_status(shop.queue, handle.id, TaskStatus.FAILED)
        image = await durable_home.crash_image(shop.queue)
    again = Shop(image.queue())
    async with running(again.queue, default=1):
        await again.queue.resume(task="note")
        ends = await again.all_ended()
    assert again.seen == [("note", "sad")]
    assert ends == {"order(-1,)": "failed", "note('sad',)": "success"}


async def test_a_failure_that_nobody_saw_calls_after_the_restart(durable_home: DuckDBHome) -> None:
    shop = Shop(durable_home.queue())
    async with shop.queue:  # no workers: both wait
        await shop.order.options(
            on_failure=shop.note.s("sad"), on_success=shop.note.si("glad")
        ).enqueue(-1)
        sad, glad, _ = await shop.queue.get_tasks()
        assert "only if one of them fails" in str(await shop.queue.explain(sad.id))
        assert "only if" not in str(await shop.queue.explain(glad.id))
    again = Shop(durable_home.queue())
    async with running(again.queue, default=1):
        await again.all_ended()
    assert again.seen == [("note", "sad")]


async def test_only_waits_for_all_parents_and_runs_if_one_failed(home: Home) -> None:
    shop = Shop(home.queue())
    shop.held.clear()
    async with running(shop.queue, default=3):
        good, bad = await shop.order.enqueue(1), await shop.order.enqueue(-1)
        alarm = await shop.note.options(
            depends_on=[good, bad], on_parent_failure=OnParentFailure.ONLY
        ).enqueue("sad")
        spared = await shop.note.options(
            depends_on=[good], on_parent_failure=OnParentFailure.ONLY
        ).enqueue("never")
        shop.held.set()
        infos = await ended(shop.queue, alarm.id, spared.id)
    assert [info.status for info in infos] == [TaskStatus.SUCCESS, TaskStatus.CANCELLED]


@pytest.mark.parametrize("what", ["on_success", "on_failure"])
async def test_what_can_t_follow_is_refused_and_nothing_is_written(home: Home, what: str) -> None:
    shop = Shop(home.queue())
    other = shop.note.options(unique_key="k").s("x")
    async with shop.queue:
        for given, said in (
            (shop.note, "task.s"),
            (chain(shop.note.s("a"), shop.note.s()), "enqueue_flow"),
            (other, "can't have unique_key"),
            ([shop.note.si("x"), 7], "takes calls for later"),
            (shop.note.s("x", "y", "z"), "note"),
        ):
            options: Any = {what: given}
            with pytest.raises(InvalidCallError, match=said):
                await shop.order.options(**options).enqueue(1)
        step: Any = shop.order.options(**{what: shop.note.s("x")}).s(1)  # type: ignore[misc]
        with pytest.raises(InvalidCallError, match="is a step of a flow"):
            await shop.queue.enqueue_flow(chain(step, shop.thank.s()))
        assert await shop.queue.get_tasks() == []
