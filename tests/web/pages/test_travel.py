"""Time travel: the strip, and pages as of a moment."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from support.pages import pages_of
from wopr import TaskQueue, chain
from wopr.testing import FakeClock
from wopr.web.guard.roles import Role

BEGIN = datetime(2026, 11, 30, 9, 0, tzinfo=UTC)


@pytest_asyncio.fixture
async def queue(tmp_path: Path) -> AsyncIterator[TaskQueue]:
    """Give a queue in which something happened at nine, at ten and at eleven."""
    clock = FakeClock(BEGIN)
    async with TaskQueue(enabled=True, database=tmp_path / "q.duckdb", clock=clock) as found:

        @found.task(name="mail", category="mail")
        async def mail(to: str) -> None:
            if to == "bad":
                raise ValueError("no such address")

        await found.enqueue_flow(chain(mail.si("a"), mail.si("b")))
        await found.pause("imports", reason="early")
        clock.advance(timedelta(hours=1))
        await found.start_workers("mail", 2)
        bad = await mail.enqueue("bad")
        await found.wait(bad.id)
        clock.advance(timedelta(hours=1))
        await found.resume("imports")
        clock.advance(timedelta(hours=1))
        yield found


@pytest_asyncio.fixture
async def client(queue: TaskQueue) -> AsyncIterator[httpx.AsyncClient]:
    async with pages_of(queue, Role.ADMIN) as found:
        yield found


async def text_of(client: httpx.AsyncClient, path: str, code: int = 200) -> str:
    answer = await client.get(path)
    assert code == answer.status_code, answer.text
    return answer.text


def at(hours: float) -> str:
    return f"at={(BEGIN + timedelta(hours=hours)):%Y-%m-%dT%H:%M:%SZ}"


async def test_the_strip_has_the_week_and_stands_where_the_page_is(
    client: httpx.AsyncClient,
) -> None:
    now = await text_of(client, "/travel")
    assert 'value="1008"' in now
    assert "Now ▸" not in now
    then = await text_of(client, f"/travel?{at(1)}")
    assert 'value="996"' in then  # two hours are twelve steps of ten minutes
    assert "Now ▸" in then
    assert 'hx-get="/travel?at=' in await text_of(client, f"/flows?{at(1)}")


async def test_a_page_of_a_moment_is_framed_and_says_of_when_it_is(
    client: httpx.AsyncClient,
) -> None:
    text = await text_of(client, f"/workers?{at(1)}")
    assert '<body class="past"' in text
    assert "not now" in text
    assert "hx-sse:connect" not in text
    assert all("at=" in link for link in re.findall(r'<li><a href="([^"]+)"', text))


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("at=yesterday", "at must be a moment like"),
        ("at=2126-11-30T09:00Z", "has not come"),
        ("at=9999-99-99", "at must be a moment like"),
    ],
)
async def test_a_moment_that_is_none_is_refused(
    client: httpx.AsyncClient, query: str, said: str
) -> None:
    for path in ("/flows", "/categories", "/travel"):
        assert said in await text_of(client, f"{path}?{query}", 422)


async def test_flows_and_their_tasks_are_as_of_then(
    queue: TaskQueue, client: httpx.AsyncClient
) -> None:
    assert "No flows" in await text_of(client, f"/flows?{at(-1)}")
    text = await text_of(client, f"/flows?{at(0.5)}")
    assert "0 of 2" in text
    [path] = re.findall(r'href="(/flows/[^"?]+)', text)
    then = await text_of(client, f"{path}?{at(0.5)}")
    assert "waits for 1 of 1: mail" in then
    assert "Where it stood" in then
    assert "2 of 2" in await text_of(client, "/flows")
    assert "There was no flow" in await text_of(client, f"{path}?{at(-1)}", 404)


async def test_failures_are_those_until_then(client: httpx.AsyncClient) -> None:
    assert "Nothing failed" in await text_of(client, f"/failures?{at(0.5)}")
    assert "no such address" in await text_of(client, f"/failures?{at(1.5)}")
    text = await text_of(client, f"/failures/one?error=ValueError: no such address&{at(1.5)}")
    assert "Traceback" in text
    assert "Retry" not in text


async def test_categories_and_workers_are_as_of_then(client: httpx.AsyncClient) -> None:
    text = await text_of(client, f"/categories?{at(0.5)}")
    assert "early" in text
    assert "no workers" in text
    assert "early" not in await text_of(client, "/categories")
    assert "No workers" in await text_of(client, f"/workers?{at(0.5)}")
    assert "No workers" not in await text_of(client, "/workers")


async def test_acts_are_those_until_then(client: httpx.AsyncClient) -> None:
    then = await text_of(client, f"/acts?{at(1.5)}")
    assert ("<b>pause</b>" in then, "<b>resume</b>" in then) == (True, False)
    assert "<b>resume</b>" in await text_of(client, "/acts")


async def test_a_calendar_is_as_of_then(queue: TaskQueue, client: httpx.AsyncClient) -> None:
    await queue.schedules.add("hourly", "mail", every=timedelta(hours=1), kwargs={"to": "a"})
    text = await text_of(client, f"/schedules/one?name=hourly&{at(1)}")
    assert "2026-11-30 10:00:00+00:00" in text or "It has not run" in text
    assert "Run now" not in text


async def test_the_overview_is_as_of_then(client: httpx.AsyncClient) -> None:
    text = await text_of(client, f"/?{at(0.5)}")
    assert "2 tasks waited" in text
    assert "early" in text
    assert "mail fails" not in text
    assert "no such address" not in text
    assert "no such address" in await text_of(client, f"/?{at(1.5)}")


async def test_tasks_are_those_of_then_with_the_status_of_then(
    queue: TaskQueue, client: httpx.AsyncClient
) -> None:
    text = await text_of(client, f"/tasks?{at(0.5)}")
    assert 2 == text.count("<tr id=")
    assert "waits for others" in text
    assert "success" not in text.partition("<tbody>")[2]
    assert "No task matches" in await text_of(client, f"/tasks?status=failed&{at(0.5)}")
    assert 1 == (await text_of(client, f"/tasks?status=failed&{at(1.5)}")).count("<tr id=")
    flow = (await queue.get_tasks(status="success"))[0].flow_id
    assert 2 == (await text_of(client, f"/tasks?flow={flow}&{at(1.5)}")).count("<tr id=")
    assert "can&#39;t be searched" not in await text_of(client, f"/tasks?name=mail&{at(1.5)}")


async def test_older_tasks_of_then_are_on_the_next_page(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wopr.web.pages.tasks.PER_PAGE", 2)
    text = await text_of(client, f"/tasks?{at(1.5)}")
    [more] = re.findall(r'href="(/tasks\?cursor=[^"]+)"', text)
    assert 1 == (await text_of(client, unescape(more))).count("<tr id=")


async def test_a_task_is_as_it_was_then(queue: TaskQueue, client: httpx.AsyncClient) -> None:
    [bad] = await queue.get_tasks(status="failed")
    now = await text_of(client, f"/tasks/{bad.id}")
    assert "Why it stands where it stands" in now
    first = (await queue.get_tasks(status="success", limit=10))[-1]
    then = await text_of(client, f"/tasks/{first.id}?{at(0.5)}")
    assert "Where it stood" in then
    assert "No attempt yet" in then
    assert 'method="post"' not in then
    assert "There was no task" in await text_of(client, f"/tasks/{bad.id}?{at(0.5)}", 404)


async def test_questions_in_sql_are_asked_of_now_only(client: httpx.AsyncClient) -> None:
    then = await text_of(client, f"/sql?q=from+backlog&{at(1)}")
    assert ("<textarea" in then, "Questions are asked of now" in then) == (False, True)
    assert 'href="/sql?q=from+backlog"' in then
    assert "<textarea" in await text_of(client, "/sql?q=from+backlog")
