"""The pages of tasks: found, paged, previewed, changed, edited; and what nobody may."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest_asyncio

from support.pages import pages_of
from wopr import TaskQueue
from wopr.web.guard.roles import Role
from wopr.web.pages import words

EVIL = '"><script>alert(1)</script>\u202e'


def client_of(queue: TaskQueue, role: Role = Role.OPERATE) -> httpx.AsyncClient:
    return pages_of(queue, role)


@pytest_asyncio.fixture
async def queue(tmp_path: Path) -> AsyncIterator[TaskQueue]:
    found = TaskQueue(enabled=True, database=tmp_path / "q.duckdb")

    @found.task(name="send_mail", category="mail", max_retries=0)
    async def send_mail(to: str, api_key: str = "", times: int = 1) -> str:
        if to == "nobody":
            raise ValueError(f"no mail server for {EVIL}")
        return f"sent to {to}"

    async with found:
        yield found


async def ran(queue: TaskQueue, *calls: Any) -> list[str]:
    ids = [await queue.enqueue_id("send_mail", (to,), {}, {}) for to in calls]
    await queue.start_workers("mail", 1)
    for one in ids:
        await queue.wait(one, timeout=20)
    return ids


async def test_a_selection_is_a_url_and_its_statuses_are_counted(queue: TaskQueue) -> None:
    await ran(queue, "ada", "nobody", "bob")
    async with client_of(queue) as client:
        page = (await client.get("/tasks")).text
        assert page.count("<tr id=") == 3
        assert 'title="usually at most' in page
        failed = (await client.get("/tasks?status=failed")).text
        assert failed.count("<tr id=") == 1
        assert "no mail server for" in failed
        found = await client.get("/tasks/search", params={"q": "failed send_mail"})
        assert found.status_code == 303
        assert found.headers["location"] == "/tasks?status=failed&name=send_mail"
        nothing = (await client.get("/tasks?name=other")).text
        assert "No task matches" in nothing


async def test_a_search_that_can_not_be_read_says_why_and_keeps_the_line(
    queue: TaskQueue,
) -> None:
    async with client_of(queue) as client:
        answer = await client.get("/tasks/search", params={"q": "colour=<script>alert(1)"})
        assert answer.status_code == 422
        assert "There is no word" in answer.text
        assert "<script>alert" not in answer.text
        assert 'value="colour=&lt;script&gt;alert(1)"' in answer.text
        late = await client.get("/tasks?since=yesterday")
        assert "since= takes 2h" in late.text


async def test_pages_go_on_by_the_last_task(queue: TaskQueue) -> None:
    await queue.enqueue_ids("send_mail", [(str(n),) for n in range(120)], {})
    seen: list[str] = []
    url: str | None = "/tasks"
    async with client_of(queue) as client:
        for _ in range(3):
            assert url is not None
            text = (await client.get(url)).text
            seen += re.findall(r'<tr id="t([0-9a-f-]+)"', text)
            older = re.search(r'href="([^"]*cursor=[^"]*)">Older', text)
            url = older and older[1].replace("&amp;", "&")
    assert url is None
    assert seen == sorted(seen, reverse=True)
    assert len(set(seen)) == 120


async def test_new_tasks_are_counted_above_the_rows_that_stay(queue: TaskQueue) -> None:
    first = await queue.enqueue_ids("send_mail", [("a",), ("b",)], {})
    async with client_of(queue) as client:
        page = (await client.get("/tasks")).text
        stream = re.search(r'hx-sse:connect="([^"]+)"', page)
        assert stream is not None
        await queue.enqueue_ids("send_mail", [("c",), ("d",), ("e",)], {})
        again = (await client.get(stream[1].removeprefix("/live").replace("&amp;", "&"))).text
    assert re.findall(r'<tr id="t([0-9a-f-]+)"', again) == first[::-1]
    assert "<b>3 new</b>" in again


async def test_a_verb_is_asked_first_then_done_with_its_reason(
    queue: TaskQueue,
) -> None:
    ids = await queue.enqueue_ids("send_mail", [("a",), ("b",)], {})
    async with client_of(queue) as client:
        asked = await client.get("/tasks/act?verb=cancel&name=send_mail")
        assert "Cancel 2 of 2 tasks" in asked.text
        assert (await queue.require_task_info(ids[0])).status == "pending"
        form = {"verb": "cancel", "name": "send_mail", "reason": "not today"}
        done = await client.post("/tasks/act", data=form, headers={"hx-request": "true"})
        assert "2 tasks cancelled" in done.text
        assert "<html" not in done.text
    [act] = await queue.acts()
    assert (act.reason, act.changed) == ("not today", 2)
    assert f"/acts/{act.number}/undo" in done.text


async def test_verbs_that_take_something_say_what_is_missing(queue: TaskQueue) -> None:
    await queue.enqueue_ids("send_mail", [("a",)], {})
    async with client_of(queue) as client:
        for verb, more, said in (
            ("set-priority", {"to": "HIGH"}, "1 task given another priority"),
            ("move", {"category_to": "later"}, "1 task moved"),
            ("delay", {"by": "2h"}, "1 task delayed"),
        ):
            form = {"verb": verb, "name": "send_mail"}
            assert (await client.get("/tasks/act", params=form)).status_code == 200
            assert (await client.post("/tasks/act", data=form)).status_code == 422
            done = await client.post("/tasks/act", data={**form, **more})
            assert said in done.text
        assert (await client.get("/tasks/act?verb=explode&name=x")).status_code == 422
        assert (await client.post("/tasks/act", data={"verb": "cancel"})).status_code == 422


async def test_who_may_only_read_sees_no_button_and_can_do_nothing(queue: TaskQueue) -> None:
    [one] = await ran(queue, "nobody")
    async with client_of(queue, Role.READ) as client:
        for path in ("/tasks?status=failed", f"/tasks/{one}"):
            text = (await client.get(path)).text
            assert "/tasks/act" not in text
            assert f"/tasks/{one}/edit" not in text
        refused = await client.post("/tasks/act", data={"verb": "retry", "ids": one})
        assert refused.status_code == 403
        assert "You may not see this" in refused.text
        assert (await client.get(f"/tasks/{one}/edit")).status_code == 403
        assert (await client.get("/tasks?where=true")).status_code == 403
    assert await queue.acts() == []


async def test_a_task_is_shown_with_its_life_and_without_its_secrets(queue: TaskQueue) -> None:
    [bad] = await ran(queue, "nobody")
    secret = await queue.enqueue_id("send_mail", ("ada",), {"api_key": "sk-12345"}, {})
    async with client_of(queue) as client:
        text = (await client.get(f"/tasks/{bad}")).text
        assert "Traceback of attempt 1" in text
        assert 'class="failed" x="' in text
        assert "<script>alert" not in text
        assert "\u202e" not in text
        shown = (await client.get(f"/tasks/{secret}")).text
        edit = (await client.get(f"/tasks/{secret}/edit")).text
        assert (await client.get("/tasks/no-such-task")).status_code == 404
    for page in (shown, edit):
        assert "sk-12345" not in page
    assert "hidden" in shown


async def test_edited_arguments_run_as_a_new_task_and_keep_hidden_secrets(
    queue: TaskQueue,
) -> None:
    old = await queue.enqueue_id("send_mail", ("ada",), {"api_key": "sk-12345"}, {})
    async with client_of(queue) as client:
        form = {"args": '["bob"]', "kwargs": '{"api_key": "***", "times": 2}', "priority": "HIGH"}
        answer = await client.post(f"/tasks/{old}/edit", data=form)
        assert answer.status_code == 200
        wrong = await client.post(f"/tasks/{old}/edit", data={**form, "args": "[1"})
        assert wrong.status_code == 422
        unfit = await client.post(f"/tasks/{old}/edit", data={**form, "kwargs": '{"times": "x"}'})
        assert unfit.status_code == 422
    new, kept = await queue.get_tasks()
    assert kept.id == old
    assert (new.args, new.kwargs) == (("bob",), {"api_key": "sk-12345", "times": 2})
    assert new.priority.name == "HIGH"


async def test_an_empty_queue_says_what_would_be_here(queue: TaskQueue) -> None:
    async with client_of(queue) as client:
        text = (await client.get("/tasks")).text
    assert "No tasks yet" in text
    assert "await send_mail.enqueue" in text


async def test_completions_know_the_names_that_there_are(queue: TaskQueue) -> None:
    await queue.enqueue_ids("send_mail", [("a",)], {})
    async with client_of(queue) as client:
        text = (await client.get("/tasks/complete", params={"q": "status=failed send"})).text
    assert 'data-line="status=failed name=send_mail "' in text


async def test_the_sql_of_a_search_finds_the_same_tasks(queue: TaskQueue) -> None:
    ids = await queue.enqueue_ids("send_mail", [("it's",), ("b",)], {"tags": ["a'b"], "delay": 60})
    await queue.enqueue_ids("send_mail", [("c",)], {"delay": 60})
    for given, wanted in (
        ({}, 3),
        ({"tag": ["a'b"]}, 2),
        ({"ids": [ids[0]], "status": ["pending", "failed"]}, 1),
        ({"name": ["send_mail", "it's"], "category": ["mail"], "since": ["1h"]}, 3),
        ({"until": ["1h"]}, 0),
        ({"since": ["2020-05-17T12:00Z"], "where": ["attempt = 0"]}, 3),
        ({"flow": [ids[0]], "schedule": ["nightly"], "error": ["x"]}, 0),
    ):
        held = " and ".join(["true", *words.conditions(given)])
        found = await queue.sql(f"select count(*) from tasks where {held}")
        assert found.scalar() == wanted, given
    async with client_of(queue, Role.ADMIN) as client:
        text = (await client.get("/tasks?name=it's&error=x")).text
    assert "where name in (&#39;it&#39;&#39;s&#39;)" in text
    assert "whose newest failure says the same" in text
