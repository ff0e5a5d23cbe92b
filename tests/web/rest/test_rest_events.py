"""Events over REST: heard as they happen, gone on with, bounded for who reads slowly."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from support.owners import client as owners_client
from support.owners import end, start_owner
from support.queues import until
from support.restapp import Stream, enqueued, rest_app
from wopr import TaskQueue
from wopr.domain.errors import StorageError
from wopr.service.appserver import AppServer, place_at
from wopr.web import create_app
from wopr.web.api import feed
from wopr.web.api.feed import Event, Feed, Listener, Wanted

DAY = "2030-05-17"


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "LOOK_SECONDS", 0.01)


async def test_what_happens_is_heard_and_gone_on_with(
    client: httpx.AsyncClient, queue: TaskQueue
) -> None:
    app = rest_app(queue)
    async with Stream(app, "/events?name=on") as stream:
        begin = await stream.event()
        assert begin is not None
        assert begin["event"] == "begin"
        await enqueued(client, "add", 1)
        task_id = await enqueued(client, "on", DAY)
        heard = await stream.event()
        assert heard is not None
        assert ("transition", "on", task_id, "pending") == (
            heard["event"],
            heard["name"],
            heard["task_id"],
            heard["to_status"],
        )
    missed = await enqueued(client, "on", DAY)
    async with Stream(app, "/events?name=on", {"last-event-id": heard["id"]}) as stream:
        assert (await stream.event() or {})["event"] == "begin"
        assert (await stream.event() or {})["task_id"] == missed
        await client.post(f"/tasks/{missed}/cancel")
        assert (await stream.event() or {})["to_status"] == "cancelled"


async def test_who_missed_too_much_is_told_of_the_gap(
    client: httpx.AsyncClient, queue: TaskQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [await enqueued(client, "on", DAY) for _ in range(4)]
    monkeypatch.setattr(feed, "MOST_BEHIND", 2)
    async with Stream(rest_app(queue), "/events?after=1") as stream:
        assert (await stream.event() or {})["event"] == "begin"
        gap = await stream.event()
        assert gap == {"id": None, "event": "gap", "from": 1, "to": 2}
        assert [(await stream.event() or {})["task_id"] for _ in range(2)] == ids[2:]
    async with Stream(rest_app(queue), "/events?after=999") as stream:
        await stream.event()
        assert (await stream.event() or {})["event"] == "gap"  # another file, say


async def test_a_page_of_what_was_missed_is_sent_in_one_piece(
    client: httpx.AsyncClient, queue: TaskQueue
) -> None:
    """Else a listener that has gone is written to, event by event, before the loop knows."""
    for _ in range(4):
        await enqueued(client, "on", DAY)
    heard = Feed(queue)
    told = heard.listen(Wanted(), await heard.newest(), 1)
    await anext(told)
    assert 3 == (await anext(told)).count(b"event: transition")
    await told.aclose()  # type: ignore[attr-defined]


async def test_what_waits_is_sent_some_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "TOGETHER", 2)
    listener = Listener(Wanted())
    for number in range(3):
        listener.tell(b"%d" % number)
    heard = feed._heard(listener)
    assert [b"01", b"2"] == [await anext(heard), await anext(heard)]
    await heard.aclose()  # type: ignore[attr-defined]


async def test_who_reads_too_slowly_is_cut_off_with_a_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(feed, "MOST_WAITING", 3)
    listener = Listener(Wanted())
    for number in range(5):
        listener.tell(b"%d" % number)
    heard = [text async for text in feed._heard(listener)]
    assert len(heard) == 1
    assert b"event: cut" in heard[0]


async def test_a_change_of_the_owner_is_told_and_survived(
    client: httpx.AsyncClient, queue: TaskQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = Feed._read
    gone = asyncio.Event()

    async def read(self: Feed, after: int, until: int) -> list[feed.Event]:
        if gone.is_set():
            raise StorageError("the owner is gone")
        return await own(self, after, until)

    monkeypatch.setattr(Feed, "_read", read)
    async with Stream(rest_app(queue), "/events") as stream:
        await stream.event()
        gone.set()
        stalled = await stream.event()
        assert stalled == {"id": None, "event": "stalled", "detail": "the owner is gone"}
        task_id = await enqueued(client, "on", DAY)
        gone.clear()
        assert (await stream.event() or {})["event"] == "live"
        assert (await stream.event() or {})["task_id"] == task_id


async def test_nothing_is_read_while_nobody_listens(queue: TaskQueue) -> None:
    heard = Feed(queue)
    told = heard.listen(Wanted(), 0, None)
    await anext(told)
    reading = heard._task
    assert reading is not None
    await told.aclose()  # type: ignore[attr-defined]
    await asyncio.wait_for(reading, 60)
    assert not heard.full


async def test_a_server_that_stops_ends_streams_and_waits_without_a_word(
    client: httpx.AsyncClient, queue: TaskQueue, caplog: pytest.LogCaptureFixture
) -> None:
    task_id = await enqueued(client, "on", DAY)
    server = AppServer(lambda: create_app(queue), place_at("0"))
    await server.start()

    async def under_way() -> int:
        assert server._server is not None
        return len(server._server.server_state.tasks)

    async with httpx.AsyncClient(base_url=f"{server.url}/api/v1") as other:
        waiting = asyncio.create_task(other.get(f"/tasks/{task_id}/result", params={"wait": 60}))
        async with other.stream("GET", "/events") as stream:
            lines = stream.aiter_lines()
            while not (await anext(lines)).startswith("data:"):
                pass
            await until(under_way, lambda count: count == 2)
            await server.stop()
            assert [one async for one in lines if one.startswith("data:")] == []
        assert (await waiting).status_code == 503
    assert caplog.records == []


async def test_events_go_on_when_the_owner_is_killed(tmp_path: Path) -> None:
    owner = start_owner(tmp_path / "owned.duckdb")
    async with (
        owners_client(tmp_path / "owned.duckdb") as queue,
        Stream(rest_app(queue), "/events?name=double&status=pending") as stream,
    ):
        await stream.event()
        first = await queue.enqueue("double", (1,), category="idle")
        assert (await stream.event() or {})["task_id"] == first.id
        owner.kill()
        owner.wait()
        second = await queue.enqueue("double", (2,), category="idle")
        heard = await stream.event() or {}
        while heard["event"] in ("stalled", "live"):
            heard = await stream.event() or {}
        assert heard["task_id"] == second.id
    end(owner)


async def test_who_comes_while_the_log_is_read_for_one_who_left_hears_nothing_older(
    queue: TaskQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    listened, looking, go_on = Feed(queue), asyncio.Event(), asyncio.Event()

    async def read(after: int, until: int) -> list[Event]:
        looking.set()
        await go_on.wait()
        return [Event(after + 1, "add", None, "pending", "id", b"%d" % (after + 1))]

    monkeypatch.setattr(listened, "_read", read)
    first: Any = listened.listen(Wanted(), 0, None)
    await anext(first)
    await looking.wait()
    await first.aclose()
    second: Any = listened.listen(Wanted(), 10, None)
    assert b'{"seq":10}' in await anext(second)
    go_on.set()
    assert await anext(second) == b"11"
    await second.aclose()
