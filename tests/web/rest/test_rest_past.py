"""The past over REST: what was at a moment."""

from __future__ import annotations

from datetime import UTC, datetime

import httpx

from support.restapp import enqueued

DAY = "2030-05-17"


async def test_what_was_at_a_moment_is_answered_by_the_same_calls(
    client: httpx.AsyncClient,
) -> None:
    task_id = await enqueued(client, "on", DAY, tags=["x"])
    moment = datetime.now(UTC).isoformat()
    await client.post(f"/tasks/{task_id}/cancel")
    later = await enqueued(client, "on", DAY)
    at = {"at": moment}
    assert (await client.get(f"/tasks/{task_id}")).json()["status"] == "cancelled"
    was = (await client.get(f"/tasks/{task_id}", params=at)).json()
    assert ("pending", [DAY], 0) == (was["status"], was["args"], was["result_bytes"])
    assert (await client.get(f"/tasks/{later}", params=at)).status_code == 404
    page = (await client.get("/tasks", params={**at, "tag": "x", "status": "pending"})).json()
    assert ([task_id], None) == ([one["id"] for one in page["tasks"]], page["next"])
    assert (await client.get("/stats", params=at)).json()["by_status"] == {"pending": 1}
    assert (await client.get("/past", params=at)).json()["waiting"] == 1
    assert (await client.get("/workers", params=at)).json() == {"workers": []}
    assert (await client.get("/past", params={"at": "2999-01-01T00:00:00Z"})).status_code == 422


async def test_time_series_and_an_estimate_are_answered(client: httpx.AsyncClient) -> None:
    await enqueued(client, "on", DAY)
    asked = {"by": "minute", "since": 120, "split": "category", "compare": "true"}
    found = (await client.get("/series", params=asked)).json()
    [series] = [one for one in found["series"] if one["part"] == "idle"]
    assert 1 == sum(point["arrivals"] for point in series["points"])
    assert len(series["points"]) == len(series["week_before"])
    assert (await client.get("/series", params={"by": "second"})).status_code == 422
    eta = (await client.get("/eta", params={"name": "on"})).json()
    assert ("no workers", None) == (eta["reason"], eta["at"])
