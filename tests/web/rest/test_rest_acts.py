"""Verbs over REST: seen before they are done, done, noted under who asked, taken back."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from support.restapp import asking, enqueued
from wopr import TaskQueue
from wopr.web.guard.roles import Role

DAY = "2030-05-17"


async def test_an_act_is_previewed_done_and_taken_back(
    client: httpx.AsyncClient, queue: TaskQueue
) -> None:
    ids = [await enqueued(client, "on", DAY) for _ in range(3)]
    body = {"verb": "cancel", "tasks": {"name": ["on"]}, "reason": "too many"}
    would = (await client.post("/acts/preview", json=body)).json()
    assert (3, 3, ids) == (
        would["selected"],
        would["changes"],
        [one["id"] for one in would["examples"]],
    )
    answer = await client.post("/acts", json=body)
    did = answer.json()["act"]
    assert (201, 3, "ada", "too many") == (
        answer.status_code,
        did["changed"],
        did["who"],
        did["reason"],
    )
    assert did["origin"].startswith("web, from 127.0.0.1")
    back = (await client.post(f"/acts/{did['number']}/undo")).json()["act"]
    assert (3, did["number"]) == (back["changed"], back["undoes"])
    listed = (await client.get("/acts", params={"limit": 1})).json()
    assert ([back], back["number"]) == (listed["acts"], listed["next"])
    assert {"pending": 3} == (await queue.get_task_stats())["by_status"]


@pytest.mark.parametrize(
    ("verb", "what", "field", "value"),
    [
        ("set-priority", {"priority": "HIGH"}, "priority", 3),
        ("move", {"category": "later"}, "category", "later"),
        ("delay", {"until": "2040-01-01T00:00:00Z"}, "run_at", "2040-01-01T00:00:00Z"),
    ],
)
async def test_a_verb_sets_what_it_is_told(
    client: httpx.AsyncClient, verb: str, what: Any, field: str, value: Any
) -> None:
    task_id = await enqueued(client, "on", DAY)
    body = {"verb": verb, "tasks": {"ids": [task_id]}, **what}
    assert 1 == (await client.post("/acts", json=body)).json()["act"]["changed"]
    assert value == (await client.get(f"/tasks/{task_id}")).json()[field]
    lacking = {"verb": verb, "tasks": {"ids": [task_id]}}
    assert (await client.post("/acts", json=lacking)).status_code == 422
    misplaced = {"verb": "cancel", "tasks": {"ids": [task_id]}, **what}
    assert (await client.post("/acts", json=misplaced)).status_code == 422


async def test_one_task_is_cancelled_run_again_and_retried(client: httpx.AsyncClient) -> None:
    task_id = await enqueued(client, "on", DAY)
    assert (await client.post(f"/tasks/{task_id}/cancel", json={"reason": "no"})).is_success
    twice = await client.post(f"/tasks/{task_id}/cancel")
    assert (409, True) == (twice.status_code, "it is cancelled" in twice.json()["detail"])
    assert (await client.post(f"/tasks/{task_id}/run-again")).json()["act"]["changed"] == 1
    failed = await enqueued(client, "break")
    await client.get(f"/tasks/{failed}/result", params={"wait": 30})
    assert (await client.post(f"/tasks/{failed}/retry")).json()["act"]["changed"] == 1
    nobody = "00000000-0000-7000-8000-000000000000"
    assert (await client.post(f"/tasks/{nobody}/retry")).status_code == 404


async def test_what_is_no_act_is_told_apart_from_what_can_not_be_taken_back(
    client: httpx.AsyncClient,
) -> None:
    task_id = await enqueued(client, "on", DAY)
    await client.post(f"/tasks/{task_id}/cancel")
    again = (await client.post(f"/tasks/{task_id}/run-again")).json()["act"]["number"]
    assert (await client.post(f"/acts/{again}/undo")).status_code == 409
    assert (await client.post("/acts/999/undo")).status_code == 404
    assert (await client.get("/acts/progress", params={"key": "x"})).status_code == 404


async def test_acts_need_a_role_and_say_which_tasks(queue: TaskQueue) -> None:
    body = {"verb": "cancel", "tasks": {"name": ["on"]}}
    async with asking(queue, Role.READ) as reader:
        assert (await reader.post("/acts", json=body)).status_code == 403
        assert (await reader.post("/acts/preview", json=body)).status_code == 200
    async with asking(queue, Role.OPERATE) as operator:
        asked = {"verb": "cancel", "tasks": {"where": "true"}}
        assert (await operator.post("/acts", json=asked)).status_code == 403
        assert (await operator.post("/acts", json={**body, "tasks": {}})).status_code == 422


async def test_a_number_of_too_many_digits_is_no_act(client: httpx.AsyncClient) -> None:
    assert 404 == (await client.post(f"/acts/{'9' * 5_000}/undo")).status_code
