"""A client that all tasks share: opened when one needs it, closed at the end.

Two periodic tasks talk to an HTTP API. In a project of your own the transport goes, and
the base URL comes from your settings: `wopr init` writes such a project.
"""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import httpx
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter

from wopr import TaskQueue, current_task
from wopr.handlers import TaskHandler, schedule, task

queue = TaskQueue(enabled=True, database="resources.duckdb")


class BusinessApiClient:
    """Calls the API, again when the connection fails; a key keeps a repeated call harmless."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    @retry(
        retry=retry_if_exception_type(httpx.TransportError),
        stop=stop_after_attempt(3),
        wait=wait_exponential_jitter(max=5),
        reraise=True,
    )
    async def call(self, method: str, path: str, key: str) -> object:
        answer = await self._http.request(method, path, headers={"Idempotency-Key": key})
        return answer.raise_for_status().json()


def server(request: httpx.Request) -> httpx.Response:
    """Answer instead of the real API."""
    if request.url.path.endswith("/notifications"):
        return httpx.Response(200, json=["n1", "n2"])
    return httpx.Response(200, json={"done": request.url.path})


@queue.resource
async def business_api() -> AsyncIterator[BusinessApiClient]:
    transport = httpx.MockTransport(server)
    async with httpx.AsyncClient(
        base_url="http://localhost:8000", timeout=60, transport=transport
    ) as http:
        yield BusinessApiClient(http)


@TaskHandler(category="periodic")
class CleanupTask:
    @schedule(interval=timedelta(hours=1), run_on_start=True)
    @task(max_retries=3)
    async def execute(self, api: BusinessApiClient) -> object:
        return await api.call("POST", "/api/v1/admin/cleanup", current_task().id)


@TaskHandler(category="periodic")
class NotificationTask:
    @schedule(interval=timedelta(minutes=5), run_on_start=True)
    @task(max_retries=3)
    async def execute(self, api: BusinessApiClient) -> int:
        pending = await api.call("GET", "/api/v1/notifications?status=pending", current_task().id)
        assert isinstance(pending, list)
        for number in pending:
            await queue.enqueue("send", (number,), unique_key=f"send {number}")
        return len(pending)


@queue.task(name="send", category="periodic", max_retries=5)
async def send(number: str, api: BusinessApiClient) -> object:
    return await api.call("POST", f"/api/v1/notifications/{number}/send", f"send {number}")


queue.register_handler(CleanupTask)
queue.register_handler(NotificationTask)


async def main() -> None:
    ended = asyncio.Queue()
    queue.on("task.succeeded", lambda event: ended.put_nowait(event.task_id))
    async with queue:
        await queue.start_workers("periodic", 2)  # the scheduler starts with them
        async with asyncio.timeout(30):
            for _ in range(4):  # both, and two that were sent
                info = await queue.require_task_info(await ended.get())
                print(info.name.rpartition("__main__.")[2], info.result)


asyncio.run(main())
