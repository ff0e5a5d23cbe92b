"""Right uses of the public API, with the types that a user's editor must show.

Never run: mypy --strict and pyright read it (test_typing.py), and neither may object.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine, Iterator
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from typing import Any, assert_type

import wopr
from wopr import (
    CategoryBacklog,
    Past,
    PastStatus,
    Task,
    TaskHandle,
    TaskInfo,
    TaskPriority,
    TaskQueue,
    TaskStatus,
    TimeSeries,
    provided,
)
from wopr.client import AsyncClient, Done, Notice, TaskPage, Transition
from wopr.client import Client as RestClient
from wopr.flows import Composition, Flow, FlowHandle, FlowProgress, Signature, chain, chord, group
from wopr.handlers import (
    DirectTaskExecutor,
    DirectTaskInvocation,
    RegisteredHandler,
    TaskHandler,
    schedule,
    task,
)

queue = TaskQueue()
other = TaskQueue(enabled=True, database="tasks.duckdb")


@queue.task(name="send", category="mail", priority=TaskPriority.HIGH, max_retries=3)
async def send(to: str, n: int = 1) -> int:
    return len(to) * n


@queue.task
def add(a: int, b: int) -> int:
    return a + b


@queue.task()
async def nothing() -> None: ...


class Client: ...


@queue.resource
async def client() -> AsyncIterator[Client]:
    yield Client()


@queue.resource(provides=(Client,), timeout=3)
def plain() -> Iterator[Client]:
    yield Client()


@queue.task
async def clean(days: int, *, client: Client = provided) -> int:
    return days


async def resources() -> None:
    assert_type(await clean.enqueue(days=3), TaskHandle[int])
    assert_type(client(), AsyncIterator[Client])
    assert_type(plain(), Iterator[Client])
    with queue.override(client, Client()):
        assert_type(await clean(3, client=Client()), int)


@wopr.task
async def shipped(parcel: int) -> str:
    return str(parcel)


@wopr.schedule(every=5)
@wopr.task(category="mail", max_retries=3)
def posted(to: str, n: int = 1) -> int:
    return len(to) * n


async def declared_without_a_queue() -> None:
    included = TaskQueue(tasks=[shipped, wopr])
    included.include(posted, wopr)
    assert_type(await shipped(3), str)
    assert_type(posted("a", n=2), int)
    assert_type(await shipped.enqueue(3), TaskHandle[str])
    assert_type(await posted.options(delay=5).enqueue("a"), TaskHandle[int])
    assert_type(await (await included.enqueue(posted, ("a",))).result(), int)


any_int: Task[..., int] = send
any_int = add
any_none: Task[..., None] = nothing


async def a_task_is_still_the_function() -> None:
    coroutine: Coroutine[Any, Any, int] = send("a")
    assert_type(await coroutine, int)
    assert_type(await send("a", n=2), int)
    assert_type(add(1, b=2), int)


async def modern() -> None:
    handle = await send.enqueue("a", n=2)
    assert_type(handle, TaskHandle[int])
    assert_type(handle.id, str)
    assert_type(await handle.result(), int)
    assert_type(await handle.result(timeout=5), int)
    assert_type(await add.enqueue(1, 2), TaskHandle[int])
    assert_type(await nothing.enqueue(), TaskHandle[None])
    assert_type(await handle.status(), TaskStatus)
    assert_type(await handle.info(), TaskInfo)
    assert_type(await handle.cancel(), bool)
    assert_type(await send.enqueue_many([("a",), {"to": "b", "n": 2}]), list[TaskHandle[int]])
    later = await send.options(delay=5, priority=TaskPriority.LOW).enqueue("a")
    assert_type(later, TaskHandle[int])
    await send.options(delay=timedelta(minutes=1), unique_key="a").enqueue("a", 2)
    await add.options(run_at=datetime(2030, 1, 1, tzinfo=UTC)).enqueue(a=1, b=2)


async def seed_compatible() -> None:
    queue.register_task("plain", category="mail")(len)
    task_id = await queue.add_task("send", "mail", TaskPriority.HIGH, 3, "a", n=2)
    assert_type(task_id, str)
    assert_type(await queue.get_task_info(task_id), TaskInfo | None)
    assert_type(await queue.cancel_task(task_id), bool)
    assert_type(await queue.retry_task(task_id), bool)


async def reading(info: TaskInfo) -> None:
    assert_type(info.status, TaskStatus)
    assert_type(info.priority, TaskPriority)
    assert_type(info.created_at, datetime)
    typed = await queue.typed_sql("select 1 where ?", True)
    assert_type(typed.moment, datetime | None)
    result = await queue.sql("select status, count(*) from tasks where name = ?", "send")
    assert_type(len(result), int)
    for row in result:
        assert_type(row, dict[str, Any])


async def over_time() -> None:
    past = queue.as_of(timedelta(hours=2))
    assert_type(past, Past)
    assert_type(await past.status(), PastStatus)
    assert_type(await past.get_tasks(status="failed", since=60), list[TaskInfo])
    assert_type(await past.backlog(), list[CategoryBacklog])
    assert_type(await queue.series("hour", split="category"), TimeSeries)
    assert_type((await queue.eta(category=["mail", "sms"])).at, datetime | None)


async def open_and_close() -> None:
    async with TaskQueue(enabled=True) as opened:
        assert_type(opened, TaskQueue)


def without_a_loop() -> None:
    with queue.sync() as sync:
        handle = sync(send.enqueue, "a", n=2)
        assert_type(handle, TaskHandle[int])
        assert_type(sync(handle.result, timeout=5), int)


@TaskHandler(category="reports")
class Reports:
    def __init__(self, months: int = 12) -> None:
        self.months = months

    @task
    def build(self, month: int, *, draft: bool = False) -> str:
        return f"{month} of {self.months}, {draft}"

    @task(name="reports.send", max_retries=3)
    @schedule(every={"minutes": 5}, args=("ada",), name="mail")
    async def send(self, to: str) -> int:
        return len(to)


reports = queue.register_handler(Reports, factory=lambda: Reports(6))
assert_type(reports, RegisteredHandler[Reports])
assert_type(queue.register_handler(Reports), RegisteredHandler[Reports])


async def handlers() -> None:
    assert_type(Reports().build(3, draft=True), str)
    assert_type(await Reports().send("a"), int)
    assert_type(await reports.task(Reports.build).enqueue(3, draft=True), TaskHandle[str])
    assert_type(await reports.task(Reports.send).enqueue("a"), TaskHandle[int])
    assert_type(await reports.task(Reports.send).options(delay=5).enqueue("a"), TaskHandle[int])
    assert_type(reports.task(Reports.build)(3), str)
    assert_type(reports.task("build"), Task[..., Any])


async def direct() -> None:
    executor = DirectTaskExecutor(queue)
    executor.set_application_context(other)
    call = DirectTaskInvocation(handler_type=Reports, method_name="build", args=(3,))
    assert_type(executor.execute(call), Any)
    assert_type(await executor.execute_async(call), Any)


def propagated() -> None:
    tenant: ContextVar[str] = ContextVar("tenant")
    queue.propagate(tenant, name="tenant-id")
    queue.provider = lambda wanted: wanted()


@queue.task
def summed(numbers: list[int]) -> str:
    return str(numbers)


@queue.task(name="letters")
async def letters(to: str, n: int = 1) -> int:
    return len(to) * n


async def flows() -> None:
    assert_type(letters.s("a"), Signature[int])
    assert_type(letters.options(max_retries=1).si("a", n=2), Signature[int])
    assert_type(letters.map(["a"]), Composition[list[int]])
    assert_type(letters.starmap([("a",)]), Composition[list[int]])
    assert_type(letters.chunks(["a"], 2), Composition[list[int]])
    assert_type(letters.s("a") | summed.s(), Composition[str])
    assert_type(letters.map(["a"]) | summed.s(), Composition[str])
    assert_type(group(letters.s(word) for word in ("a", "b")), Composition[list[int]])
    assert_type(group(letters.s("a"), letters.s("b")), Composition[list[int]])
    assert_type(chord(letters.map(["a"]), summed.s()), Composition[str])
    assert_type(chord(letters.map(["a"]))(summed.s()), Composition[str])
    assert_type(letters.s("a").then(summed.s()), Composition[str])
    handle = await queue.enqueue_flow(chord(group(letters.s("a")), summed.s()))
    assert_type(handle, FlowHandle[str])
    assert_type(await handle.result(timeout=1), str)
    assert_type(await queue.enqueue_flow(letters.map(["a"])), FlowHandle[list[int]])
    assert_type(await queue.enqueue_flow(letters.s("a")), FlowHandle[int])
    assert_type(await handle.progress(), FlowProgress)
    assert_type(await handle.cancel(), int)
    await queue.enqueue_flow(chain(letters.s("a"), group(chain(letters.si("a")), letters.s("b"))))
    graph = await queue.enqueue_flow(Flow())
    assert_type(await graph.results(), dict[str, Any])


# -- a client of the REST API -------------------------------------------------------------


def with_a_client(client: RestClient) -> None:
    assert_type(client.enqueue("mail", ["ada"], {"copy": True}, priority="high", tags=["x"]), str)
    assert_type(client.list_tasks(status=["failed"], since=timedelta(hours=1)), TaskPage)
    assert_type(client.act("retry", {"status": TaskStatus.FAILED}), Done)
    assert_type(client.series("hour", compare=True), TimeSeries)
    assert_type(client.events(name="mail"), Iterator[Transition | Notice])


async def with_the_other_client(client: AsyncClient) -> None:
    assert_type(await client.enqueue_many("mail", [{"args": ["ada"]}]), list[str])
    assert_type((await client.get_task("7")).status, TaskStatus)
    assert_type(await client.remove_schedule("nightly"), None)
    async for one in client.each_task(name="mail"):
        assert_type(one.priority, TaskPriority)
