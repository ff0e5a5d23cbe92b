"""The REST API keeps to its own document, whatever it is asked.

Requests are made up from the document, right ones and wrong ones; no answer may be a failure of
the server, and each has to have a status, a type and a shape that the document tells of.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.strategies import booleans
from schemathesis.config import SchemathesisConfig
from schemathesis.generation import GenerationMode

from support.restapp import rest_app
from wopr import Signature, TaskQueue
from wopr.access.bridge import LoopThread
from wopr.web.api.endpoints import Endpoint
from wopr.web.api.routes import ENDPOINTS

EXAMPLES = 12
CONFIG = {
    "generation": {"mode": "all", "allow-x00": True},
    "checks": {
        # What fits the document may still be no task, no schedule, no query that there is.
        "positive_data_acceptance": {"enabled": False},
        "negative_data_rejection": {"expected-statuses": [403, 404, 413, 414, 415, 422, 431]},
    },
}


class Across:
    """Carries requests over to the event loop that the queue belongs to, whole."""

    def __init__(self, app: Any, loop: asyncio.AbstractEventLoop) -> None:
        """Hand requests to ``app`` in ``loop``."""
        self._app = app
        self._loop = loop

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        body = b""
        more = True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        asked = asyncio.run_coroutine_threadsafe(self._answer(dict(scope), body), self._loop)
        for message in await asyncio.wrap_future(asked):
            await send(message)

    async def _answer(self, scope: Any, body: bytes) -> list[Any]:
        sent: list[Any] = []
        parts = iter([{"type": "http.request", "body": body}])
        ended = asyncio.Event()

        async def receive() -> Any:
            for part in parts:
                return part
            await ended.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)

        scope["state"] = {}
        await self._app(scope, receive, send)
        return sent


@pytest.fixture(scope="module")
def loop() -> Iterator[LoopThread]:
    """Return an event loop in a thread of its own."""
    thread = LoopThread()
    yield thread
    thread.end(30)


@pytest.fixture(scope="module")
def queue(loop: LoopThread, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TaskQueue]:
    """Return a queue in which there is something of each kind."""
    path: Path = tmp_path_factory.mktemp("fuzz") / "tasks.duckdb"
    made = TaskQueue(enabled=True, database=path)

    @made.task(name="add")
    async def add(a: int, b: int = 2) -> int:
        return a + b

    @made.task(name="daily")
    async def daily(day: date, **more: str) -> str:
        return day.isoformat()

    async def fill() -> None:
        await made.start_workers("default")
        await made.pause("idle")  # act 1
        await (await made.enqueue_flow(Signature("add", (1,)))).result(30)
        await made.schedules.add("daily", "daily", at="14:30", args=(date(2030, 5, 17),))
        await made.set_limit("mail", rate="5/minute")

    asyncio.run_coroutine_threadsafe(fill(), loop.loop).result(30)
    yield made
    asyncio.run_coroutine_threadsafe(made.shutdown(), loop.loop).result(30)


@pytest.fixture(scope="module")
def rest(queue: TaskQueue, loop: LoopThread) -> Any:
    """Return the API as its document describes it."""
    app = Across(rest_app(queue), loop.loop)
    config = SchemathesisConfig.from_dict(CONFIG)
    found = schemathesis.openapi.from_asgi("/api/v1/openapi.json", app, config=config)
    [task] = asyncio.run_coroutine_threadsafe(queue.get_tasks(), loop.loop).result(30)
    found.places = {
        "tasks": {"id": task.id},
        "flows": {"id": task.flow_id},
        "acts": {"number": 1},
        **{key: {"name": "daily"} for key in ("functions", "categories", "schedules", "alerts")},
    }
    return found


FUZZED = [one for one in ENDPOINTS if one.name != "events"]  # which has no end
CALL = {"name": "add", "args": [3]}
ACT = {"verb": "delay", "until": 60, "tasks": {"name": ["daily"]}}
RIGHT: dict[str, Any] = {
    "enqueue": {"body": {**CALL, "options": {"priority": "high", "delay": 3}}},
    "enqueue_many": {"body": {"name": "add", "calls": [{"args": [1]}, {"kwargs": {"a": 1}}]}},
    "enqueue_flow": {"body": {"tasks": [{**CALL, "key": "a"}]}},
    "list_tasks": {"query": {"name": ["add"], "since": 3600}},
    "get_result": {"query": {"wait": 10}},
    "act": {"body": ACT},
    "act_progress": {"query": {"key": "x"}},
    "preview_act": {"body": ACT},
    "past": {"query": {"at": 0}},
    "explain_group": {"query": {"category": "default"}},
    "set_limit": {"body": {"category": "mail", "concurrency": 3}},
    "remove_limit": {"query": {"category": "mail"}},
    "revoke": {"body": {"task": "daily", "standing": True}},
    "unrevoke": {"body": {"task": "daily"}},
    "preview_plan": {"body": {"at": "03:00", "tz": "Europe/Berlin"}},
    "add_schedule": {"body": {"name": "often", "task": "add", "args": [1], "every": 3600}},
    "change_schedule": {"body": {"at": "15:30"}},
    "set_alert": {"body": {"when": "slow", "threshold": 3}},
    "sql": {"body": {"query": "select * from tasks where name = ?", "params": ["add"]}},
}
"""What makes a right request of a row: its body, its query."""
NOT_NOW = {"act_progress": 404, "retry_task": 409, "cancel_task": 409}
"""What right requests come to here: nothing goes on, has failed, or can be cancelled."""


@pytest.mark.parametrize("endpoint", FUZZED, ids=lambda one: one.name)
def test_every_answer_is_as_the_document_tells(endpoint: Endpoint, rest: Any) -> None:
    operation = rest[re.sub(r":\w+\}", "}", endpoint.path)][endpoint.method]
    places = rest.places[endpoint.path.split("/")[1]] if "{" in endpoint.path else {}
    right = operation.Case(path_parameters=places, **RIGHT.get(endpoint.name, {}))
    answer = right.call_and_validate()
    assert answer.status_code == NOT_NOW.get(endpoint.name, endpoint.statuses[0]), answer.text

    fitting = operation.as_strategy(generation_mode=GenerationMode.POSITIVE)
    wrong = operation.as_strategy(generation_mode=GenerationMode.NEGATIVE)

    @given(case=fitting | wrong, known=booleans())
    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def ask(case: Any, known: bool) -> None:
        if known and case.meta.generation.mode is GenerationMode.POSITIVE:
            case.path_parameters |= places
        case.call_and_validate()

    ask()
