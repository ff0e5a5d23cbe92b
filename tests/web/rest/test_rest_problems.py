"""What goes wrong over REST: what happened, with which values, and what mends it."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

NOBODYS = "01a22c25-b8c0-7000-b23e-c87c7ab1c973"
PLAN = {"name": "a", "task": "nobody", "at": "03:00"}
FUNCTIONS = "GET /api/v1/functions lists what can be enqueued here"
TASKS = "GET /api/v1/tasks lists those that there are, GET /api/v1/flows"
EVERYTHING = "What there is: /api/v1/openapi.json"


@pytest.mark.parametrize(
    ("status", "method", "path", "body", "said", "cure"),
    [
        (404, "GET", "/nothing", None, "There is no GET '/api/v1/nothing'", EVERYTHING),
        (405, "DELETE", "/tasks", None, "There is no DELETE '/api/v1/tasks'", EVERYTHING),
        (404, "GET", f"/tasks/{NOBODYS}", None, f"There is no task '{NOBODYS}'", TASKS),
        (404, "GET", f"/tasks?cursor={NOBODYS}", None, f"cursor='{NOBODYS}' is no task", TASKS),
        (404, "GET", f"/flows/{NOBODYS}", None, f"There is no flow '{NOBODYS}'", TASKS),
        (404, "GET", "/schedules/x", None, "There is no schedule 'x'", "GET /api/v1/schedules"),
        (404, "POST", "/acts/77/undo", None, "There is no act 77", "GET /api/v1/acts"),
        (422, "POST", "/tasks", {"name": "nobody"}, "Task 'nobody' not registered", FUNCTIONS),
        (404, "GET", "/functions/nobody/schema", None, "Task 'nobody' not", FUNCTIONS),
        (422, "POST", "/schedules", PLAN, "Task 'nobody' not registered", FUNCTIONS),
    ],
)
async def test_a_refusal_says_what_happened_and_what_would_be_right(
    client: httpx.AsyncClient,
    status: int,
    method: str,
    path: str,
    body: Any,
    said: str,
    cure: str,
) -> None:
    answer = await client.request(method, path, json=body)
    detail = answer.json()["detail"]
    assert (status, True) == (answer.status_code, detail.startswith(said)), detail
    assert cure in detail


@pytest.mark.parametrize("body", [[], 7, "status"])
async def test_a_verb_is_carried_out_of_an_object_only(
    client: httpx.AsyncClient, body: Any
) -> None:
    answer = await client.post("/carry", json=body)
    assert 400 == answer.status_code
    assert "a JSON object with a verb" in answer.json()["error"]["message"]
