"""Ask the queue about itself: latency, failures, what ran when, with nothing but SQL."""

from __future__ import annotations

import asyncio
import random

from wopr import TaskQueue

queue = TaskQueue(enabled=True)
dice = random.Random(7)


@queue.task(category="checkout", max_retries=0)
async def charge(customer: int, amount: int) -> dict[str, int]:
    await asyncio.sleep(dice.random() / 100)
    if dice.random() < 0.1:
        raise ConnectionError(f"bank {dice.randrange(3)} does not answer")
    return {"customer": customer, "charged": amount}


QUESTIONS = {
    "How long does it take? (ms)": """
        select name, tasks, round(1000 * wait_p95, 1) as wait, round(1000 * run_p95, 1) as run
        from latency
    """,
    "What fails?": "select fingerprint, failures, sample_error from failures",
    "Who paid most?": """
        select
            cast(result ->> 'customer' as integer) as customer,
            sum(cast(result ->> 'charged' as integer)) as charged
        from tasks
        where status = 'success'
        group by customer
        order by charged desc
        limit 3
    """,
    "How many ran at once?": """
        with moves as (
            select occurred_at, if(to_status = 'started', 1, -1) as change
            from transitions
            where to_status = 'started' or from_status = 'started'
        )
        select max(running) as most
        from (select sum(change) over (order by occurred_at, change desc) as running from moves)
    """,
}


async def main() -> None:
    async with queue:
        await queue.start_workers("checkout", 20)
        calls = [(n % 10, dice.randrange(100)) for n in range(300)]
        for handle in await charge.enqueue_many(calls):
            await queue.wait(handle.id, timeout=10)
        for question, query in QUESTIONS.items():
            print(question)
            for row in await queue.sql(query):
                print("   ", row)


asyncio.run(main())
