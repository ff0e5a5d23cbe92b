"""Tasks over REST: enqueued, found, waited for, explained."""

from __future__ import annotations

from datetime import date
from typing import Any

import httpx
import pytest

from support.restapp import asking, enqueued
from wopr import TaskQueue
from wopr.web.api import tasks
from wopr.web.guard.roles import Role


async def test_a_task_is_enqueued_waited_for_and_looked_at(client: httpx.AsyncClient) -> None:
    task_id = await enqueued(client, "add", 3, priority="high", tags=["x"])
    came = (await client.get(f"/tasks/{task_id}/result", params={"wait": 30})).json()
    assert (came["status"], came["result"]) == ("success", 5)
    task = (await client.get(f"/tasks/{task_id}")).json()
    assert (3, ["x"], [3], 5) == (task["priority"], task["tags"], task["args"], task["result"])
    moves = (await client.get(f"/tasks/{task_id}/history")).json()["history"]
    assert ["pending", "started", "success"] == [one["to_status"] for one in moves]
    why = (await client.get(f"/tasks/{task_id}/explain")).json()
    assert why["reason"] == "ended"
    assert (await client.get(f"/tasks/{task_id}/logs")).json() == {"logs": []}


async def test_arguments_are_read_by_the_annotations_of_the_function(
    client: httpx.AsyncClient, queue: TaskQueue
) -> None:
    task_id = await enqueued(client, "on", "2030-05-17")
    info = await queue.require_task_info(task_id)
    assert info.args == (date(2030, 5, 17),)


WRONG: list[tuple[Any, str]] = [
    ({"name": "add", "args": ["3"]}, "has to be the JSON of int, not '3'"),
    ({"name": "add", "args": [True]}, "has to be the JSON of int, not True"),
    ({"name": "add"}, "missing a required argument: 'a'"),
    ({"name": "on", "args": ["soon"]}, "the JSON of date, not 'soon'"),
    ({"name": "nobody"}, "Task 'nobody' not registered"),
    ({"name": "add", "args": [1], "options": {"dealy": 3}}, "options.dealy"),
    ({"name": "add", "args": [1], "options": {"delay": True}}, "options.delay"),
    ({"args": [1]}, "name: Field required"),
    ({"name": "add", "args": [1], "options": {"depends_on": ["x"]}}, "task unknown"),
    ({"name": "large", "args": ["x" * 300_000]}, "has to be the JSON of int"),
]


async def test_what_is_no_call_is_refused_before_anything_is_written(
    client: httpx.AsyncClient, queue: TaskQueue
) -> None:
    for body, said in WRONG:
        answer = await client.post("/tasks", json=body)
        assert (422, "application/problem+json") == (
            answer.status_code,
            answer.headers["content-type"],
        )
        assert said in answer.json()["detail"]
    text = await client.post("/tasks", content=b"{}", headers={"content-type": "application/xml"})
    assert text.status_code == 415
    assert (await queue.get_task_stats())["total"] == 0


async def test_a_name_that_only_workers_elsewhere_know_is_enqueued_if_that_is_said(
    client: httpx.AsyncClient, queue: TaskQueue
) -> None:
    call = {"name": "theirs", "args": [[1]], "options": {"category": "away"}, "unchecked": True}
    task_id = (await client.post("/tasks", json=call)).json()["id"]
    task = (await client.get(f"/tasks/{task_id}")).json()
    assert ("theirs", "away", [[1]]) == (task["name"], task["category"], task["args"])
    nowhere = await client.post("/tasks", json={"name": "theirs", "unchecked": True})
    assert 422 == nowhere.status_code
    assert "options.category has to say which workers run it" in nowhere.json()["detail"]
    known = {"name": "add", "args": ["one"], "unchecked": True}
    assert (await client.post("/tasks", json=known)).status_code == 422

    @queue.task(name="theirs", category="away")
    async def theirs(numbers: list[int]) -> int:
        return sum(numbers)

    await queue.start_workers("away")
    assert 1 == await queue.handle(task_id).result(30)


async def test_many_calls_are_enqueued_together_or_none_of_them(
    client: httpx.AsyncClient, queue: TaskQueue
) -> None:
    calls = [{"args": [1]}, {"kwargs": {"a": 2}}, {"args": ["two"]}]
    answer = await client.post("/tasks/batch", json={"name": "add", "calls": calls})
    assert (422, 0) == (answer.status_code, (await queue.get_task_stats())["total"])
    answer = await client.post("/tasks/batch", json={"name": "add", "calls": calls[:2]})
    assert [3, 4] == [await queue.handle(one).result(30) for one in answer.json()["ids"]]


async def test_pages_are_those_of_the_selection_language(client: httpx.AsyncClient) -> None:
    ids = [await enqueued(client, "on", "2030-05-17", tags=[tag]) for tag in "aab"]
    await enqueued(client, "add", 1)
    page = (await client.get("/tasks", params={"name": "on", "limit": 2})).json()
    assert [ids[2], ids[1]] == [one["id"] for one in page["tasks"]]
    rest = await client.get("/tasks", params={"name": "on", "limit": 2, "cursor": page["next"]})
    assert ([ids[0]], None) == ([one["id"] for one in rest.json()["tasks"]], rest.json()["next"])
    tagged = await client.get("/tasks", params={"tag": "a", "since": 3600})
    assert ids[1::-1] == [one["id"] for one in tagged.json()["tasks"]]
    assert (await client.get("/tasks", params={"until": 3600})).json()["tasks"] == []
    asked = await client.get("/tasks", params={"where": "priority = 2 and name = 'on'"})
    assert ids[::-1] == [one["id"] for one in asked.json()["tasks"]]
    either = await client.get("/tasks", params=[("status", "pending"), ("status", "retry")])
    assert set(ids) <= {one["id"] for one in either.json()["tasks"]}


async def test_secrets_are_masked_and_a_result_is_given_as_it_is(
    client: httpx.AsyncClient, queue: TaskQueue
) -> None:
    call = {"name": "on", "args": ["2030-05-17"], "kwargs": {"password": "hunter22"}}
    task_id = (await client.post("/tasks", json=call)).json()["id"]
    assert "hunter22" not in (await client.get(f"/tasks/{task_id}")).text
    task_id = await enqueued(client, "large", 500_000)
    result = await client.get(f"/tasks/{task_id}/result", params={"wait": 30})
    assert (200, "x" * 500_000) == (result.status_code, result.json()["result"])
    shown = (await client.get(f"/tasks/{task_id}")).json()
    assert (None, 500_002) == (shown["result"], shown["result_bytes"])


async def test_an_answer_about_one_task_has_an_end(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "MOST_BYTES", 10)
    task_id = await enqueued(client, "break")
    for _ in range(2):
        await client.get(f"/tasks/{task_id}/result", params={"wait": 30})
        await client.post(f"/tasks/{task_id}/retry")
    await client.get(f"/tasks/{task_id}/result", params={"wait": 30})
    [last] = (await client.get(f"/tasks/{task_id}/history")).json()["history"]
    assert ("failed", 3) == (last["to_status"], last["attempt"])


async def test_who_waits_hears_that_it_has_not_ended(client: httpx.AsyncClient) -> None:
    task_id = await enqueued(client, "on", "2030-05-17")
    answer = await client.get(f"/tasks/{task_id}/result", params={"wait": 0.01})
    assert (202, "pending") == (answer.status_code, answer.json()["status"])


async def test_a_task_that_is_not_there_is_told_so(client: httpx.AsyncClient) -> None:
    for path in ("", "/result", "/result?wait=1", "/history", "/logs", "/explain"):
        answer = await client.get(f"/tasks/00000000-0000-7000-8000-000000000000{path}")
        assert (404, 404) == (answer.status_code, answer.json()["status"])


async def test_a_role_may_what_it_may(queue: TaskQueue) -> None:
    async with asking(queue, Role.READ) as reader:
        refused = await reader.post("/tasks", json={"name": "add", "args": [1]})
        assert (403, 200) == (refused.status_code, (await reader.get("/tasks")).status_code)
    async with asking(queue, Role.OPERATE) as operator:
        asked = await operator.get("/tasks", params={"where": "true"})
        assert "needs the role admin; ada has operate" in asked.json()["detail"]


async def test_what_there_is_no_route_for_is_a_problem_document(client: httpx.AsyncClient) -> None:
    for answer in (await client.get("/nothing"), await client.delete("/tasks")):
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.status_code == answer.json()["status"]


async def test_the_queue_as_a_whole_is_told_of(client: httpx.AsyncClient) -> None:
    assert (await client.get("/status")).json()["state"] == "flowing"
    assert (await client.get("/stats")).json()["total"] == 0
    [worker] = (await client.get("/workers")).json()["workers"]
    assert worker["category"] == "sums"
    assert (await client.get("/explain", params={"category": "sums"})).json()["target"] == "sums"
    assert (await client.get("/explain")).status_code == 422
