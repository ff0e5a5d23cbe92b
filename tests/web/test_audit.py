"""What is done over HTTP stands among the acts, and whose it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx

from support.webapp import FAR, bearer, browser, token_of
from wopr import TaskQueue
from wopr.domain.role import Role
from wopr.web import create_app

SCHEDULE = {"task": "work", "every": {"minutes": 5}}


async def test_every_act_and_every_question_in_sql_is_noted_with_who_and_from_where(
    tmp_path: Path,
) -> None:
    queue = TaskQueue(enabled=True, database=tmp_path / "queue.duckdb")

    @queue.task(name="work", category="idle")
    async def work() -> None: ...

    async with queue:
        token = await token_of(queue, role=Role.ADMIN)
        url = "http://127.0.0.1:8800/api/v1"
        app = create_app(queue)
        async with browser(app, peer=FAR, url=url, headers=bearer(token)) as client:
            await everything(client)
            acts = (await client.get("/acts", params={"limit": 100})).json()["acts"]
    told = [act for act in reversed(acts) if act["verb"] != "create-token"]
    assert {("ada", "web, from 10.0.0.7")} == {(act["who"], act["origin"]) for act in told}
    assert DONE == [act["verb"] for act in told]


async def everything(client: httpx.AsyncClient) -> None:
    """Do one of each."""
    call = {"name": "work"}
    made = [(await right(client, "POST", "/tasks", call))["id"] for _ in range(2)]
    await right(client, "POST", f"/tasks/{made[0]}/cancel", {})
    await right(client, "POST", f"/tasks/{made[0]}/run-again", {})
    selected = {"verb": "cancel", "tasks": {"name": ["work"]}}
    await right(client, "POST", "/acts", selected)
    number = (await right(client, "GET", "/acts"))["acts"][0]["number"]
    await right(client, "POST", f"/acts/{number}/undo", {})
    await right(client, "POST", "/categories/idle/pause", {"reason": "moving"})
    await right(client, "POST", "/categories/idle/resume", {})
    await right(client, "PATCH", "/limits", {"category": "idle", "concurrency": 1})
    await right(client, "DELETE", "/limits?category=idle")
    await right(client, "POST", "/schedules", {"name": "hourly", **SCHEDULE})
    await right(client, "POST", "/schedules/hourly/pause", {"reason": "moving"})
    await right(client, "POST", "/schedules/hourly/resume", {})
    await right(client, "POST", "/schedules/hourly/run", {})
    await right(client, "DELETE", "/schedules/hourly")
    await right(client, "PUT", "/alerts/slow", {"when": "slow", "threshold": 60})
    await right(client, "DELETE", "/alerts/slow")
    await right(client, "POST", "/sql", {"query": "select 1 as one"})


DONE = [
    *("cancel", "run-again", "cancel", "undo", "pause", "resume", "limit", "remove-limit"),
    *("add-schedule", "pause-schedule", "resume-schedule", "run-schedule", "remove-schedule"),
    *("alert", "remove-alert", "sql"),
]


async def right(
    client: httpx.AsyncClient, method: str, path: str, body: dict[str, Any] | None = None
) -> Any:
    """Return what is answered to a call that is right."""
    answer = await client.request(method, path, json=body)
    assert answer.is_success, f"{method} {path}: {answer.text}"
    return answer.json() if answer.content else None
