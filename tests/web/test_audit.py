"""What is done over HTTP stands among the acts, and whose it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx

from support.webapp import FAR, bearer, browser, token_of
from wopr import TaskQueue
from wopr.domain.role import Role
from wopr.domain.selection import Selection
from wopr.remote.acts import selection_to_plain
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


CONDITION = "name = 'work'"


async def test_what_an_admin_looks_at_by_a_condition_in_sql_is_noted_as_a_question(
    tmp_path: Path,
) -> None:
    async with TaskQueue(enabled=True, database=tmp_path / "queue.duckdb") as queue:
        token = await token_of(queue, role=Role.ADMIN)
        url = "http://127.0.0.1:8800"
        async with browser(create_app(queue), peer=FAR, url=url, headers=bearer(token)) as client:
            api, where = "/api/v1", {"where": CONDITION}
            carried = selection_to_plain(Selection(where=CONDITION))
            looks: list[tuple[str, str, Any, Any]] = [
                ("GET", f"{api}/tasks", where, None),
                ("GET", f"{api}/tasks", {**where, "at": "2026-01-01T00:00:00Z"}, None),
                ("GET", f"{api}/eta", where, None),
                ("POST", f"{api}/acts/preview", None, {"verb": "cancel", "tasks": where}),
                ("POST", f"{api}/carry", None, {"verb": "act_ids", "params": [carried, 5, 5.0]}),
                ("GET", "/tasks", where, None),
                ("GET", "/tasks/act", {**where, "verb": "cancel"}, None),
            ]
            for method, path, query, body in looks:
                before = len(await questions(queue))
                answer = await client.request(method, path, params=query, json=body)
                assert answer.is_success, f"{method} {path}: {answer.text}"
                once = path == "/tasks/act"  # a page that goes on asking is noted once in a while
                assert before + (not once) == len(await questions(queue)), path
            act = {"verb": "cancel", "tasks": where}
            assert (await client.post(f"{api}/acts", json=act)).is_success
        assert len(looks) - 1 == len(await questions(queue))
        assert {("ada", f"where {CONDITION}")} == set(await questions(queue))
        assert "cancel" == (await queue.acts(1))[0].verb


async def questions(queue: TaskQueue) -> list[tuple[str, str]]:
    """Return who asked what in SQL."""
    acts = await queue.acts(100)
    return [(act.who, json.loads(act.detail)["query"]) for act in acts if act.verb == "sql"]


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
