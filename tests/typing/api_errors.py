"""Wrong uses of the public API: both checkers must object to each line marked `# error`."""

from __future__ import annotations

import wopr
from wopr import TaskPriority, TaskQueue
from wopr.client import Client
from wopr.handlers import TaskHandler, schedule, task

queue = TaskQueue()


@queue.task(name="send", category="mail")
async def send(to: str, n: int = 1) -> int:
    return len(to) * n


@queue.task
def add(a: int, b: int) -> int:
    return a + b


@queue.task(priority="high")  # error
async def bad_priority() -> None: ...


@queue.task(priority=None)  # error
async def no_priority() -> None: ...


@queue.task(colour="red")  # error
async def bad_option() -> None: ...


@wopr.task(priority="high")  # error
async def bad_declaration() -> None: ...


@wopr.task
async def shipped(parcel: int) -> str:
    return str(parcel)


@wopr.schedule(evry=5)  # error
@wopr.task
async def misspelt() -> None: ...


async def wrong_declared() -> None:
    await shipped.enqueue("3")  # error
    number: int = await (await shipped.enqueue(3)).result()  # error
    queue.include("shop.tasks")  # error
    queue.include(wrong_declared)  # error
    print(number)


async def wrong_arguments() -> None:
    await send.enqueue(1)  # error
    await send.enqueue()  # error
    await send.enqueue("a", m=2)  # error
    await send.enqueue("a", n="2")  # error
    await send.enqueue("a", 2, 3)  # error
    await add.enqueue(1)  # error
    await add.enqueue(1, "2")  # error
    await send.options(delay=5).enqueue(1)  # error
    await send.options(priority="low").enqueue("a")  # error
    await send.options(dely=5).enqueue("a")  # error


async def wrong_results() -> None:
    handle = await send.enqueue("a")
    text: str = await handle.result()  # error
    await handle.result(timeout="5")  # error
    print(text)


def wrong_calls() -> None:
    add("1", 2)  # error
    number: int = send("a")  # error
    print(number)


def wrong_sync_calls() -> None:
    with queue.sync() as sync:
        sync(send.enqueue, 1)  # error
        sync(send.enqueue, "a", m=2)  # error
        handle = sync(send.enqueue, "a")
        text: str = sync(handle.result)  # error
        print(text)


async def wrong_queue_calls() -> None:
    await queue.cancel_task(1)  # error
    await queue.add_task("send", "mail", "high", 3, "a")  # error
    await queue.add_task("send", "mail", TaskPriority.HIGH, "3", "a")  # error
    TaskQueue(enable=True)  # error


@TaskHandler(category="reports")
class Reports:
    @task(max_retries="3")  # error
    def retried(self) -> None: ...

    @schedule(evry=5)  # error
    def misspelt(self) -> None: ...

    @task
    async def send(self, to: str) -> int:
        return len(to)


@TaskHandler(colour="red")  # error
class Wrong: ...


class Other:
    def send(self, to: str) -> int:
        return len(to)


reports = queue.register_handler(Reports)


async def wrong_handler_calls() -> None:
    await reports.task(Reports.send).enqueue(1)  # error
    await reports.task(Reports.send).enqueue()  # error
    await reports.task(Other.send).enqueue("a")  # error
    text: str = await (await reports.task(Reports.send).enqueue("a")).result()  # error
    print(text)


def wrong_requests(client: Client) -> None:
    client.enqueue("send", "a@b.c", priorty="high")  # error
    client.enqueue("send", priority="urgent")  # error
    client.get_task(7)  # error
    client.act("erase", {"status": "failed"})  # error
    client.act("retry", {"state": "failed"})  # error
    number: int = client.get_task("7").id  # error
    print(number)
