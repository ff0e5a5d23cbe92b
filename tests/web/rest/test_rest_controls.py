"""Categories, limits, revocations, schedules, alerts, flows and SQL over REST."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from support.restapp import asking, enqueued
from wopr import TaskQueue
from wopr.web.guard.roles import Role

DAY = "2030-05-17"


async def test_a_category_is_paused_under_the_name_of_who_asked(client: httpx.AsyncClient) -> None:
    await enqueued(client, "on", DAY)
    [pause] = (await client.post("/categories/idle/pause", json={"reason": "audit"})).json()[
        "pauses"
    ]
    assert ("idle", "audit", "ada") == (pause["category"], pause["reason"], pause["by"])
    found = {one["name"]: one for one in (await client.get("/categories")).json()["categories"]}
    assert (1, 0, pause) == (
        found["idle"]["waiting"],
        found["idle"]["workers"],
        found["idle"]["paused"],
    )
    assert found["sums"]["workers"] == 1
    assert (await client.post("/categories/idle/resume")).json() == {"resumed": True}
    await client.post("/functions/on/pause")
    assert ["on"] == [one["task"] for one in (await client.get("/pauses")).json()["pauses"]]
    assert (await client.post("/functions/on/resume")).json() == {"resumed": True}


async def test_limits_are_set_field_by_field_and_taken_away(client: httpx.AsyncClient) -> None:
    place = {"category": "idle", "key": "day"}
    await client.patch("/limits", json={**place, "concurrency": 2})
    limit = (await client.patch("/limits", json={**place, "rate": "5/minute"})).json()
    assert (2, 5, 60.0) == (limit["concurrency"], limit["rate"], limit["per"])
    limit = (await client.patch("/limits", json={**place, "concurrency": None})).json()
    assert (await client.get("/limits")).json() == {"limits": [limit]}
    assert limit["concurrency"] is None
    assert (await client.delete("/limits", params=place)).json() == {"removed": True}
    assert (await client.patch("/limits", json={**place, "rate": "often"})).status_code == 422


async def test_calls_are_revoked_by_their_arguments(client: httpx.AsyncClient) -> None:
    await enqueued(client, "on", DAY)
    await enqueued(client, "on", "2030-05-18")
    body = {"task": "on", "where": {"day": DAY}, "standing": True}
    assert (await client.post("/revocations", json=body)).json() == {"cancelled": 1}
    [standing] = (await client.get("/revocations")).json()["revocations"]
    assert standing["where"] == {"day": DAY}
    end = {"task": "on", "where": {"day": DAY}}
    assert (await client.post("/revocations/end", json=end)).json() == {"removed": True}


async def test_a_schedule_that_is_not_stored_says_when_it_would_fire(
    client: httpx.AsyncClient,
) -> None:
    new = {
        "name": "s",
        "task": "nobody",
        "at": "03:00",
        "tz": "Europe/Berlin",
        "args": [DAY],
        "start_at": "2030-03-30T12:00:00Z",
        "end_at": "2030-04-02T00:00:00Z",
    }
    found = (await client.post("/schedules/preview", params={"n": 9}, json=new)).json()
    assert found["times"] == [
        "2030-03-31T03:00:00+02:00",
        "2030-04-01T03:00:00+02:00",
    ]
    every = {"every": {"minutes": 5}}
    found = (await client.post("/schedules/preview", params={"n": 3}, json=every)).json()
    first, second, third = map(datetime.fromisoformat, found["times"])
    assert third - second == second - first == timedelta(minutes=5)
    assert (await client.get("/schedules")).json() == {"schedules": []}
    for start, tz in (("0001-01-01T00:00:00Z", "UTC"), ("9999-12-31T23:30:00Z", "Asia/Tokyo")):
        odd = {"at": "23:59", "tz": tz, "start_at": start}
        assert (await client.post("/schedules/preview", json=odd)).status_code == 200
    for wrong in ({}, {"cron": "often"}, {"at": "03:00", "cron": "* * * * *"}, {"at": 5}):
        assert (await client.post("/schedules/preview", json=wrong)).status_code == 422
    naive = {**every, "start_at": "2030-03-30T12:00:00"}
    assert "must be aware" in (await client.post("/schedules/preview", json=naive)).text


async def test_workers_are_added_where_workers_run(
    client: httpx.AsyncClient, queue: TaskQueue
) -> None:
    assert (await client.post("/categories/sums/workers", json={"count": 3})).json() == {
        "workers": 4
    }
    assert (await client.post("/categories/idle/workers")).json() == {"workers": 1}
    assert {"sums": 4, "idle": 1} == {name: len(found) for name, found in queue.workers.items()}
    await enqueued(client, "on", DAY)
    act = (await queue.acts(1))[0]
    assert ("add-workers", 1, "ada") == (act.verb, act.changed, act.who)
    for count in (0, 101, "many"):
        answer = await client.post("/categories/sums/workers", json={"count": count})
        assert answer.status_code == 422
    for category in ("a%00b", "x" * 201, "%20"):
        answer = await client.post(f"/categories/{category}/workers")
        assert (422, True) == (answer.status_code, "1 to 200 characters" in answer.text)
    assert {"sums", "idle"} == set(queue.workers)


async def test_workers_are_not_added_where_none_run(tmp_path: Path) -> None:
    async with (
        TaskQueue(enabled=True, database=tmp_path / "q.duckdb") as bare,
        asking(bare) as client,
    ):
        answer = await client.post("/categories/mail/workers", json={"count": 2})
        assert (422, {}) == (answer.status_code, bare.workers)
        assert "wopr worker MODULE:QUEUE -c mail=2" in answer.json()["detail"]


async def test_a_schedule_that_is_sent_back_as_it_was_shown_keeps_its_secret(
    client: httpx.AsyncClient, queue: TaskQueue
) -> None:
    kwargs = {"day": DAY, "password": "hunter2-x"}
    new = {"name": "s", "task": "on", "at": "03:00", "kwargs": kwargs}
    shown = (await client.post("/schedules", json=new)).json()
    assert shown["kwargs"] == {"day": DAY, "password": "***"}
    changed = await client.patch("/schedules/s", json={"kwargs": {**shown["kwargs"], "day": DAY}})
    assert changed.status_code == 200
    assert (await queue.schedules.get("s")).kwargs["password"] == "hunter2-x"
    moved = await client.patch("/schedules/s", json={"args": ["***"], "kwargs": {}})
    assert (422, True) == (moved.status_code, "stands for a secret" in moved.text)
    new_one = {"kwargs": {"day": DAY, "password": "another"}}
    assert (await client.patch("/schedules/s", json=new_one)).status_code == 200
    assert (await queue.schedules.get("s")).kwargs["password"] == "another"


async def test_a_schedule_is_added_changed_run_and_removed(client: httpx.AsyncClient) -> None:
    new = {"name": "a/b", "task": "on", "every": {"minutes": 5}, "args": [DAY]}
    added = await client.post("/schedules", json=new)
    assert (201, "every 5 min") == (added.status_code, added.json()["description"])
    assert (await client.post("/schedules", json=new)).status_code == 409
    when: dict[str, Any] = {
        "any_of": [{"at": "14:30"}, {"monthly": {"day": "last", "at": "09:00"}}]
    }
    changed = (await client.patch("/schedules/a%2Fb", json=when)).json()
    assert changed["trigger"]["type"] == "any"
    times = (await client.get("/schedules/a%2Fb/preview", params={"n": 3})).json()["times"]
    assert len(times) == 3
    assert (await client.post("/schedules/a%2Fb/pause", json={"reason": "x"})).json()["paused_at"]
    assert (await client.post("/schedules/a%2Fb/resume")).json()["paused_at"] is None
    task_id = (await client.post("/schedules/a%2Fb/run")).json()["id"]
    assert (await client.get(f"/tasks/{task_id}")).json()["schedule"] == "a/b"
    [listed] = (await client.get("/schedules")).json()["schedules"]
    assert listed["args"] == [DAY]
    assert (await client.delete("/schedules/a%2Fb")).status_code == 204
    assert (await client.get("/schedules/a%2Fb")).status_code == 404
    wrong = await client.post("/schedules", json={**new, "args": ["soon"]})
    assert "has to be the JSON of date" in wrong.json()["detail"]


async def test_alerts_are_set_and_removed(client: httpx.AsyncClient) -> None:
    alert = (await client.put("/alerts/slow", json={"when": "slow", "threshold": 3})).json()
    assert ("slow", 3.0, "warning") == (alert["name"], alert["threshold"], alert["level"])
    assert (await client.get("/alerts")).json() == {"alerts": [alert]}
    assert (await client.put("/alerts/slow", json={"when": "slow"})).status_code == 422
    assert (await client.delete("/alerts/slow")).json() == {"removed": True}


async def test_a_flow_hands_results_on(client: httpx.AsyncClient) -> None:
    steps = [
        {"key": "one", "name": "add", "args": [1]},
        {"key": "two", "name": "add", "results": {"a": "one"}, "kwargs": {"b": 10}},
        {"key": "end", "name": "on", "args": [DAY], "after": ["two"]},
    ]
    flow = (await client.post("/flows", json={"tasks": steps})).json()
    came = await client.get(f"/tasks/{flow['ids']['two']}/result", params={"wait": 30})
    assert came.json()["result"] == 13
    found = (await client.get(f"/flows/{flow['id']}")).json()
    assert ["one", "two", "end"] == [one["key"] for one in found["tasks"]]
    assert (await client.post(f"/flows/{flow['id']}/cancel")).json() == {"cancelled": 1}
    assert "cancel" == (await client.get("/acts")).json()["acts"][0]["verb"]
    [row] = (await client.get("/flows")).json()["flows"]
    assert (3, 2, 1) == (row["total"], row["succeeded"], row["cancelled"])
    circle = [{**steps[1], "key": "one"}]
    assert (await client.post("/flows", json={"tasks": circle})).status_code == 422
    assert (await client.get("/flows/x")).status_code == 404


async def test_sql_is_asked_on_a_snapshot_by_who_may(
    client: httpx.AsyncClient, queue: TaskQueue
) -> None:
    await enqueued(client, "on", DAY)
    body = {"query": "select name, '=1+1' as x from tasks where name = ?", "params": ["on"]}
    found = (await client.post("/sql", json=body)).json()
    assert (["name", "x"], [["on", "=1+1"]], False) == (
        found["columns"],
        found["rows"],
        found["truncated"],
    )
    table = await client.post("/sql", json={**body, "format": "csv"})
    assert ("name,x\r\non,'=1+1\r\n", "false") == (table.text, table.headers["wopr-truncated"])
    assert table.headers["wopr-moment"].startswith("20")
    numbers = await client.post(
        "/sql", json={"query": "select -1.5 as x, -2 as y", "format": "csv"}
    )
    assert "x,y\r\n-1.5,-2\r\n" == numbers.text
    refused = await client.post("/sql", json={"query": "delete from tasks"})
    assert refused.status_code == 422
    async with asking(queue, Role.OPERATE) as operator:
        assert (await operator.post("/sql", json=body)).status_code == 403


async def test_of_very_many_misfits_only_the_number_is_told(client: httpx.AsyncClient) -> None:
    body = {str(number): 1 for number in range(2_000)}
    refused = await client.post("/acts/preview", json=body)
    assert (422, True) == (refused.status_code, "2,002 values don't fit" in refused.text)


async def test_functions_say_what_they_take(client: httpx.AsyncClient) -> None:
    found = {one["name"]: one for one in (await client.get("/functions")).json()["functions"]}
    assert ("idle", "Say a day.") == (found["on"]["category"], found["on"]["about"])
    schema = (await client.get("/functions/add/schema")).json()
    assert schema["properties"]["b"] == {"type": "integer", "default": 2}
    assert (["a"], False) == (schema["required"], schema["additionalProperties"])
    assert (await client.get("/functions/nobody/schema")).status_code == 404
