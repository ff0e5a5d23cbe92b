"""Count the words of some pages: fetch them side by side, add up, and say so at the end."""

from __future__ import annotations

import asyncio

from wopr import OnParentFailure, TaskQueue
from wopr.flows import chain, chord, group

queue = TaskQueue(enabled=True)

PAGES = {"north": "one two three", "south": "four five", "west": ""}


@queue.task(category="pages")
async def fetch(page: str) -> str:
    return PAGES[page]


@queue.task(category="pages")
async def count(text: str) -> int:
    return len(text.split())


@queue.task(category="pages")
def total(counts: list[int]) -> int:
    return sum(counts)


@queue.task(category="pages")
def tell(what: str) -> str:
    return f"{what}: over"


async def main() -> None:
    async with queue:
        await queue.start_workers("pages", 4)

        each = [chain(fetch.s(page), count.s()) for page in PAGES]
        flow = await queue.enqueue_flow(chord(group(*each), total.s()))
        print(f"{await flow.result(timeout=10)} words on {len(each)} pages")
        print(await flow.mermaid())

        # The page is missing, so there is nothing to count; the last step runs all the same.
        always = tell.options(on_parent_failure=OnParentFailure.RUN)
        flow = await queue.enqueue_flow(chain(fetch.s("east"), count.s(), always.si("east")))
        print(await flow.result(timeout=10))
        print(await flow.progress())


asyncio.run(main())
