"""What fails now is compared with the days before, which are not looked through every time."""

from __future__ import annotations

from datetime import datetime, timedelta

from support.queues import PATIENCE, DuckDBHome, SteppableClock
from wopr import TaskQueue
from wopr.insights import before, failurequeries
from wopr.insights.before import Before, Rows

NOON = datetime(2026, 11, 30, 12, 0)


async def test_an_answer_is_kept_for_minutes_of_the_same_hour() -> None:
    answers: list[Rows | None] = [None, [(1,)], [(2,)], [(3,)], [(4,)]]
    kept = Before()

    async def ask() -> Rows | None:
        return answers.pop(0)

    async def rows(minutes: float, question: str = "what?") -> Rows | None:
        return await kept.rows(question, NOON + timedelta(minutes=minutes), ask)

    assert await rows(0) is None
    assert [(1,)] == await rows(1)  # no answer was kept before
    assert [(1,)] == await rows(10.9)
    assert [(2,)] == await rows(11)
    assert [(3,)] == await rows(10)  # the clock was set back
    assert [(4,)] == await rows(10, "and what else?")
    answers += [[(5,)], [(6,)]]
    assert [(5,)] == await rows(59)
    assert [(6,)] == await rows(61)  # it is another hour of the day


async def test_what_fails_as_often_as_before_is_no_news(
    durable_home: DuckDBHome, clock: SteppableClock
) -> None:
    async with durable_home.queue(clock=clock) as queue:

        @queue.task(max_retries=0)
        async def fail(number: int) -> None:
            raise ValueError(f"no mailbox {number}")

        async def some(count: int) -> None:
            for handle in await fail.enqueue_many([(n,) for n in range(count)]):
                await queue.wait(handle.id, PATIENCE)

        await queue.start_workers("default", 2)
        await some(40)
        few = failurequeries.FAILED_BEFORE.replace("limit 10000", "limit 5")
        [row] = (await queue.sql(few, datetime(2000, 1, 1), datetime(2100, 1, 1), 10)).rows
        assert ("fail", "ValueError", "ValueError: no mailbox <n>", 5, 5) == row[:5]
        clock.advance(2 * 3_600, queue)
        await some(6)
        assert not await failing(queue)  # 40 an hour before
        await some(120)
        [text] = await failing(queue)
        assert "126 times within the last hour" in text
        assert "40 times an hour before" in text
        clock.advance(before.KEPT.total_seconds(), queue)
        assert await failing(queue)


async def failing(queue: TaskQueue) -> list[str]:
    """Return what is said of what fails more than usual."""
    return [one.text for one in (await queue.status()).reasons if one.kind == "failing"]
