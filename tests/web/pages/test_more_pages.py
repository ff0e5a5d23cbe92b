"""Flows, failures, schedules, categories, workers, acts and alerts: what they show and do."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from html import unescape
from pathlib import Path
from urllib.parse import unquote

import duckdb
import httpx
import pytest
import pytest_asyncio
from starlette.routing import Match

from support.pages import opened, pages_of
from support.seed import seed
from wopr import TaskQueue, chain, group, task
from wopr.domain import selection
from wopr.domain.errors import ActError
from wopr.domain.selection import fingerprint
from wopr.domain.spoken import counted
from wopr.insights import pagequeries
from wopr.notifications import NotificationEvent, NotificationService
from wopr.notifications.event import CATEGORY
from wopr.web.api.routes import routes as api_routes
from wopr.web.guard.roles import Role
from wopr.web.pages.acts import CAN_BE_UNDONE
from wopr.web.pages.more import MORE

HOSTILE = "<script>alert('x')</script>\"'><img src=x onerror=alert(1)>\u202egpj"
LOOKS = ("/flows", "/failures", "/schedules", "/categories", "/workers", "/acts", "/alerts")
LISTS = (*LOOKS, "/sql")


@task(name="build_report", category="reports")
async def build_report(month: int, token: str = "") -> None:
    """Stand for the task of the small database."""


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pages") / "q.duckdb"
    asyncio.run(seed(path))
    return path


@pytest_asyncio.fixture
async def queue(seeded: Path, tmp_path: Path) -> AsyncIterator[TaskQueue]:
    shutil.copy(seeded, tmp_path / "q.duckdb")
    async with opened(tmp_path / "q.duckdb", build_report) as found:
        yield found


@pytest_asyncio.fixture
async def client(queue: TaskQueue) -> AsyncIterator[httpx.AsyncClient]:
    async with pages_of(queue, Role.ADMIN) as found:
        yield found


async def text_of(client: httpx.AsyncClient, path: str, code: int = 200) -> str:
    answer = await client.get(path)
    assert code == answer.status_code, answer.text
    return answer.text


def part(text: str) -> str:
    """Return what is between the head of a page and its dialogs."""
    return text.partition('id="live"')[2].partition('id="travel"')[0]


async def done(client: httpx.AsyncClient, path: str, code: int = 200, /, **form: str) -> str:
    answer = await client.post(path, data=form, headers={"hx-request": "true"})
    assert code == answer.status_code, answer.text
    return answer.text


# -- each page ----------------------------------------------------------------------


@pytest.mark.parametrize("path", LISTS)
async def test_a_page_of_an_empty_queue_says_what_would_be_there(tmp_path: Path, path: str) -> None:
    async with opened(tmp_path / "new.duckdb") as queue, pages_of(queue, Role.ADMIN) as client:
        text = await text_of(client, path)
    assert 'class="nothing"' in text or path == "/sql"
    assert "Ask this yourself" in text


async def test_who_may_only_look_sees_nothing_that_acts(queue: TaskQueue) -> None:
    async with pages_of(queue, Role.READ) as client:
        assert "admin" in await text_of(client, "/sql", 403)
        for path in LOOKS:
            live = part(await text_of(client, path))
            assert 'method="post"' not in live, path
            assert "hx-get" not in live, path


def posts() -> list[str]:
    return sorted(
        one.path.replace("{number}", "1")
        for module in MORE
        for one in module.routes()
        if "POST" in one.methods
    )


def test_there_is_something_to_do() -> None:
    assert {"/acts/1/undo", "/categories/pause", "/schedules/run", "/sql/ask"} <= set(posts())


async def test_who_may_only_look_can_do_nothing(queue: TaskQueue) -> None:
    form = {"name": "x", "category": "mail", "query": "select 1"}
    async with pages_of(queue, Role.READ) as client:
        codes = {path: (await client.post(path, data=form)).status_code for path in posts()}
    assert codes == dict.fromkeys(posts(), 403)
    assert 1 == sum(act.verb == "pause" for act in await queue.acts())


async def test_acts_are_off_on_a_page_of_the_past(client: httpx.AsyncClient) -> None:
    for path in LOOKS:
        live = part(await text_of(client, f"{path}?at=2026-11-30T10:00:00Z"))
        assert 'method="post"' not in live, path


async def test_what_a_page_says_to_ask_is_answered(
    queue: TaskQueue, client: httpx.AsyncClient
) -> None:
    await queue.schedules.add(
        "nightly", "build_report", every=timedelta(hours=1), kwargs={"month": 1}
    )
    flow = (await queue.sql("select flow_id::varchar as id from flows"))[0]["id"]
    named = ("/schedules/one?name=nightly", f"/flows/{flow}", "/failures/one?error=OSError: x")
    for path in (*LOOKS, *named):
        asked = (await text_of(client, path)).partition("Ask this yourself")[2]
        sql, rest = map(unescape, re.findall(r"<pre[^>]*>(.*?)</pre>", asked, re.DOTALL))
        await queue.sql(sql)
        verb, _, url = rest.partition("\n")[0].partition(" ")
        below = unquote(url.partition("?")[0]).removeprefix("/api/v1")
        scope = {"type": "http", "method": verb, "path": below}
        assert any(one.matches(scope)[0] is Match.FULL for one in api_routes()), (path, rest)


async def test_words_of_a_url_that_a_page_does_not_know_are_said(
    client: httpx.AsyncClient,
) -> None:
    for path in LISTS:
        text = await text_of(client, f"{path}?spam=<i>&at=")
        assert "does not know <code>spam</code> in its URL, so it changed nothing" in text, path
    text = await text_of(client, "/failures?span=1h&status=failed&%3Cb%3E=1")
    assert "does not know <code>&lt;b&gt;</code>, <code>status</code> in its URL" in text
    assert "It knows <code>span</code>, <code>at</code>." in text


async def test_no_link_of_a_page_has_a_word_that_the_other_does_not_know(
    queue: TaskQueue, client: httpx.AsyncClient
) -> None:
    await queue.set_limit("reports", concurrency=2)
    await queue.enqueue_flow(chain(build_report.si(1), build_report.si(2)))
    tried: set[tuple[str, frozenset[str]]] = set()
    for path in ("/", "/tasks", *LISTS, f"/failures/one?error={ERROR}"):
        for link in re.findall(r'<a [^>]*?href="(/[^"]*\?[^"]*)"', await text_of(client, path)):
            url = httpx.URL(unescape(link))
            of = url.path, frozenset(url.params)
            if of not in tried and not url.path.startswith("/static"):
                tried.add(of)
                assert "does not know <code>" not in (await client.get(str(url))).text, url
    assert len(tried) > 12


# -- flows --------------------------------------------------------------------------


async def test_a_flow_is_listed_and_drawn_with_what_each_task_waits_for(
    queue: TaskQueue, client: httpx.AsyncClient
) -> None:
    step = build_report.si
    flow = await queue.enqueue_flow(chain(group(step(1), step(2)), step(3), step(4)))
    listed = await text_of(client, "/flows")
    assert f"/flows/{flow.id}" in listed
    text = await text_of(client, f"/flows/{flow.id}")
    assert 4 == text.count('width="176" height="46"')
    assert 3 == text.count('<path class="arrow"')
    assert "waits for 2 of 2: build_report, build_report" in text
    each = text.partition('aria-label="Each task"')[2]
    assert "has no workers" in each  # why those that wait for no others do not start
    assert "Cancel the rest…" in text


async def test_a_flow_that_nobody_knows_is_not_found(client: httpx.AsyncClient) -> None:
    text = await text_of(client, "/flows/01a22c20-f28c-7000-82c3-79afccdca31f", 404)
    assert "There is no flow" in text


async def test_older_flows_are_on_the_next_page(
    queue: TaskQueue, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wopr.web.pages.flows.PER_PAGE", 1)
    old = (await queue.sql("select flow_id::varchar as id from flows"))[0]["id"]
    await queue.enqueue_flow(chain(build_report.si(1), build_report.si(2)))
    [more] = re.findall(r'href="(/flows\?before=[^"]+)"', await text_of(client, "/flows"))
    assert f"/flows/{old}" in await text_of(client, more)


# -- failures -----------------------------------------------------------------------

ERROR = fingerprint("ValueError: month 14 is not between 1 and 12")


async def test_failures_stand_together_by_cause_with_a_way_to_retry_them(
    client: httpx.AsyncClient,
) -> None:
    text = await text_of(client, "/failures")
    [row] = [part for part in text.split("<tr") if "is not between 1 and 12" in part]
    assert "build_report" in row
    assert ">2<" in row
    assert "Retry…" in row
    assert "/tasks/act?verb=retry" in row
    one = re.search(r'href="(/failures/one[^"]+)"', row)
    assert one is not None
    page = await text_of(client, one[1].replace("&amp;", "&"))
    assert "Traceback (most recent call last)" in page
    assert "Retry 2…" in page


async def test_a_retry_takes_what_was_enqueued_in_the_span_that_is_shown(
    seeded: Path, tmp_path: Path
) -> None:
    path = tmp_path / "old.duckdb"
    shutil.copy(seeded, path)
    with duckdb.connect(str(path)) as connection:
        connection.execute(
            "update tasks set created_at = created_at - interval 3 days "
            "where id = (select min(id) from tasks where status = 'failed')"
        )
    async with opened(path, build_report) as queue, pages_of(queue, Role.ADMIN) as client:
        for span, count in (("24h", 1), ("7d", 2)):
            text = await text_of(client, f"/failures/one?error={ERROR}&span={span}")
            assert f"Retry {count}…" in text
            [asks] = re.findall(r'hx-get="(/tasks/act[^"]+)"', text)
            assert f"since={span}" in asks
            dialog = await text_of(client, asks.replace("&amp;", "&"))
            assert counted(count, "task") in dialog
        row = await text_of(client, "/failures?span=7d")
        assert "since=7d" in row
        assert "since=24h" in await text_of(client, "/")


async def test_of_very_many_failures_the_newest_are_counted_and_that_is_said(
    client: httpx.AsyncClient, seeded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "Counted are the newest" not in await text_of(client, "/failures?span=7d")
    monkeypatch.setattr(selection, "MOST_FAILURES", 2)
    for path in ("/failures", f"/failures/one?error={ERROR}"):
        assert "Counted are the newest 2 failures" in await text_of(client, path)
    few = pagequeries.FAILURE_GROUPS.replace("limit 50000", "limit 1")
    begin, end = datetime(2020, 1, 1), datetime(2100, 1, 1)
    copy = tmp_path / "copy.duckdb"
    shutil.copy(seeded, copy)
    with duckdb.connect(str(copy), read_only=True) as connection:
        asked = connection.execute(few, [begin, 1e9, 100, end])
        columns = [one[0] for one in asked.description]
        [found] = [dict(zip(columns, row, strict=True)) for row in asked.fetchall()]
        [(newest,)] = connection.execute(
            "select max(occurred_at) from transitions where to_status in ('failed', 'retry') "
            "and from_status is distinct from 'retry'"
        ).fetchall()
    assert (1, 1, newest) == (found["failures"], found["looked_at"], found["looked_since"])


async def test_a_span_that_is_none_is_refused(client: httpx.AsyncClient) -> None:
    assert "must be one of 1h, 24h, 7d, 30d" in await text_of(client, "/failures?span=1y", 422)


async def test_a_failure_that_the_span_does_not_have_says_so(client: httpx.AsyncClient) -> None:
    text = await text_of(client, "/failures/one?error=Nothing%20of%20the%20kind&span=1h")
    assert "Nothing failed so in the last hour" in text
    assert "All 0 tasks" in text


# -- schedules -----------------------------------------------------------------------


async def test_a_schedule_is_added_previewed_edited_paused_run_and_removed(
    queue: TaskQueue, client: httpx.AsyncClient
) -> None:
    form = {"name": "nightly", "task": "build_report", "kind": "cron", "when": "0 3 * * *"}
    seen = await done(client, "/schedules/preview", **form, tz="Europe/Berlin")
    assert 10 == seen.count("<li>")
    assert [] == await queue.schedules.list()
    assert "is added" in await done(client, "/schedules/save", **form, kwargs='{"month": 3}')
    assert 'aria-label="nightly: what ran' in await text_of(client, "/schedules")
    edit = {"name": "nightly", "known": "yes", "kind": "every", "when": "60"}
    assert "is changed" in await done(client, "/schedules/save", **edit)
    info = await queue.schedules.get("nightly")
    assert ("every 1 min", {"month": 3}) == (info.description, info.kwargs)
    await done(client, "/schedules/pause", name="nightly", reason="new provider")
    assert "new provider" in await text_of(client, "/schedules/one?name=nightly")
    await done(client, "/schedules/resume", name="nightly")
    assert "enqueued task" in await done(client, "/schedules/run", name="nightly")
    assert 1 == len(await queue.get_tasks(schedule="nightly"))
    assert "this can't be undone" in await text_of(client, "/schedules/remove?name=nightly")
    await done(client, "/schedules/remove", name="nightly")
    assert [] == await queue.schedules.list()


async def test_arguments_by_place_stay_when_those_by_name_are_edited(
    queue: TaskQueue, client: httpx.AsyncClient
) -> None:
    @queue.task(name="both")
    async def both(first: int = 0, second: int = 0) -> None: ...

    await queue.schedules.add("s", "both", at="03:00", args=(7,))
    await done(client, "/schedules/save", name="s", known="yes", kwargs='{"second": 2}')
    info = await queue.schedules.get("s")
    assert ((7,), {"second": 2}) == (tuple(info.args), info.kwargs)


PLANS: list[tuple[dict[str, str], str]] = [
    ({"kind": "cron", "when": "every day"}, "cron"),
    ({"kind": "every", "when": "often"}, "must be a number"),
    ({"kind": "moon", "when": "full"}, "A plan is one of"),
    ({}, "Exactly one of"),
    ({"kind": "at", "when": "14:30", "kwargs": "[1]"}, "must be an object"),
    ({"kind": "at", "when": "14:30", "kwargs": "{"}, "must be JSON"),
    ({"kind": "at", "when": "14:30", "overlap": "maybe"}, "overlap must be one of"),
    ({"kind": "at", "when": "14:30", "kwargs": '{"year": 3}'}, "build_report(month"),
]


async def test_a_plan_that_is_none_is_refused_with_a_letter(
    queue: TaskQueue, client: httpx.AsyncClient
) -> None:
    for form, said in PLANS:
        text = await done(client, "/schedules/save", 422, name="x", task="build_report", **form)
        assert said in text
    assert [] == await queue.schedules.list()


async def test_arguments_of_a_schedule_show_no_secrets(
    queue: TaskQueue, client: httpx.AsyncClient
) -> None:
    call = {"month": 1, "token": "s3cr3t-value"}
    await queue.schedules.add("x", "build_report", every=timedelta(hours=1), kwargs=call)
    text = await text_of(client, "/schedules/one?name=x")
    assert "s3cr3t-value" not in text
    assert "s3cr3t-value" not in await text_of(client, "/schedules/edit?name=x")


# -- categories and workers -------------------------------------------------------------


async def test_a_category_is_paused_with_a_reason_and_resumed(
    queue: TaskQueue, client: httpx.AsyncClient
) -> None:
    await done(client, "/categories/pause", category="mail", reason="provider is down")
    assert "by ada: provider is down" in await text_of(client, "/categories")
    assert {"mail", "imports"} == {one.category for one in await queue.pauses()}
    await done(client, "/categories/resume", category="mail")
    assert "is paused" in await done(client, "/categories/pause", task="send_mail")
    assert "Paused names" in await text_of(client, "/categories")
    assert "Say what" in await done(client, "/categories/pause", 422)


async def test_workers_are_added_to_a_category_where_some_run(
    queue: TaskQueue, client: httpx.AsyncClient
) -> None:
    asked = {"category": "mail", "count": "2"}
    assert "runs no workers" in await done(client, "/categories/workers", 422, **asked)
    await queue.start_workers("slow")
    assert "Add workers to mail" in await text_of(client, "/categories/workers?category=mail")
    assert "has 2 workers" in await done(client, "/categories/workers", **asked)
    assert 2 == len(queue.workers["mail"])
    for count in ("0x", "-1", "101"):
        await done(client, "/categories/workers", 422, category="mail", count=count)
    assert "/categories/workers?category=mail" in await text_of(client, "/categories")


async def test_limits_are_shown_with_their_use_and_edited(
    queue: TaskQueue, client: httpx.AsyncClient
) -> None:
    text = await text_of(client, "/categories")
    assert "2 at once" in text
    assert 'value="2"' in await text_of(client, "/categories/limit?category=reports")
    form = {"category": "reports", "concurrency": "3", "rate": "100/minute", "backlog": "50"}
    assert "3 at the same time" in await done(client, "/categories/limit", **form)
    await done(client, "/categories/limit", category="mail", key="to", concurrency="1")
    text = await text_of(client, "/categories")
    assert ["1 at once per to", "3 at once", "50 wait at most", "100 per 1 min"] == [
        said
        for said in ("1 at once per to", "3 at once", "50 wait at most", "100 per 1 min")
        if said in text
    ]
    assert "must be a whole number" in await done(
        client, "/categories/limit", 422, category="mail", concurrency="many"
    )
    await done(client, "/categories/limit/remove", category="mail", key="to")
    assert ["reports"] == [one.name for one in await queue.limits()]


async def test_workers_are_cells_that_lead_to_what_they_run(
    queue: TaskQueue, client: httpx.AsyncClient
) -> None:
    begun, end = asyncio.Event(), asyncio.Event()

    @queue.task(name="hold", category="slow")
    async def hold() -> None:
        begun.set()
        await end.wait()

    held = await hold.enqueue()
    await queue.start_workers("slow", 3)
    await begun.wait()
    text = await text_of(client, "/workers")
    end.set()
    assert 1 == text.count('<rect class="busy"')
    assert 2 == text.count('<rect class="free"')
    assert f"/tasks/{held.id}" in text
    assert "1 of 3 busy" in text


# -- acts --------------------------------------------------------------------------------


async def test_acts_say_who_did_what_and_are_taken_back(
    queue: TaskQueue, client: httpx.AsyncClient
) -> None:
    answer = await queue.tasks.where(name="build_report", status="pending").cancel(
        reason="too many"
    )
    text = await text_of(client, "/acts")
    assert "too many" in text
    assert f"/acts/{answer.act.number}/undo" in text
    assert "taken back" in await done(client, f"/acts/{answer.act.number}/undo")
    assert f"taken back by {answer.act.number + 1}" in await text_of(client, "/acts")


async def test_an_act_that_nobody_did_is_not_taken_back(client: httpx.AsyncClient) -> None:
    assert "999" in await done(client, "/acts/999/undo", 503)
    assert "whole number" in await done(client, "/acts/last/undo", 422)


async def test_the_page_knows_which_acts_can_be_taken_back(queue: TaskQueue) -> None:
    await queue.tasks.where(name="build_report", status="failed").retry()
    number = (await queue.acts(1))[0].number
    with pytest.raises(ActError) as refused:
        await queue.undo(number)
    listed = re.search(r"What can be: ([a-z, -]+);", str(refused.value))
    assert listed is not None
    assert set(listed[1].split(", ")) == CAN_BE_UNDONE


# -- alerts ------------------------------------------------------------------------------


async def test_alerts_are_added_edited_and_removed(client: httpx.AsyncClient) -> None:
    form = {"name": "old", "when": "backlog_age", "threshold": "300", "category": "mail"}
    assert "is stored" in await done(client, "/alerts/save", **form)
    assert "backlog_age over 5 min" in await text_of(client, "/alerts")
    assert 'value="300"' in await text_of(client, "/alerts/edit?name=old")
    text = await done(client, "/alerts/save", 422, name="slow", when="slow")
    assert "needs a threshold" in text
    await done(client, "/alerts/remove", name="old")
    assert "No alerts" in await text_of(client, "/alerts")


async def test_a_test_is_delivered_as_any_notification_is(
    queue: TaskQueue, client: httpx.AsyncClient
) -> None:
    got: asyncio.Queue[NotificationEvent] = asyncio.Queue()
    service = NotificationService(queue)

    async def ops(event: NotificationEvent) -> None:
        got.put_nowait(event)

    service.route(ops, name="ops")
    await queue.start_workers(CATEGORY, 1)
    await done(client, "/alerts/save", name="fails", when="final_failure", emits="shop")
    assert "on its way" in await done(client, "/alerts/test", handler="ops", name="fails")
    event = await got.get()
    assert ("shop", "error") == (event.category, event.level.value)
    text = await text_of(client, "/alerts")
    assert "This is a test of the alert" in text


async def test_a_process_without_a_service_says_that_it_can_send_no_test(
    client: httpx.AsyncClient,
) -> None:
    assert "has no NotificationService" in await text_of(client, "/alerts")
    text = await done(client, "/alerts/test", 422, handler="ops")
    assert "wopr web module:queue" in text


# -- what comes from tasks -----------------------------------------------------------------


async def test_what_comes_from_tasks_is_text_on_every_page(
    queue: TaskQueue, client: httpx.AsyncClient
) -> None:
    @queue.task(name=HOSTILE, category=HOSTILE, max_retries=0)
    async def hostile(what: str) -> None:
        raise ValueError(HOSTILE)

    flow = await queue.enqueue_flow(chain(hostile.s(HOSTILE), hostile.si("x")))
    await queue.start_workers(HOSTILE, 1)
    await flow.wait()
    await queue.schedules.add(HOSTILE, HOSTILE, every=60, kwargs={"what": HOSTILE})
    await queue.pause(HOSTILE, reason=HOSTILE)
    await queue.set_limit(HOSTILE, concurrency=1)
    await done(client, "/alerts/save", name=HOSTILE, when="failure", task=HOSTILE)
    paths = [*LISTS, f"/flows/{flow.id}"]
    error = httpx.QueryParams({"error": fingerprint(f"ValueError: {HOSTILE}")})
    named = httpx.QueryParams({"name": HOSTILE})
    placed = httpx.QueryParams({"category": HOSTILE})
    paths += [f"/failures/one?{error}", f"/schedules/one?{named}", f"/schedules/edit?{named}"]
    paths += [f"/alerts/edit?{named}", f"/categories/limit?{placed}"]
    paths += [f"/categories/workers?{placed}"]
    paths += [f"/categories/pause?{placed}", f"/schedules/remove?{named}", f"/sql?q={HOSTILE}"]
    for path in paths:
        text = await text_of(client, path)
        assert "<script>alert" not in text, path
        assert "<img src=x" not in text, path
        shown = re.sub(r'(href|value|action|hx-get|hx-post)="[^"]*"', "", text)
        if path.startswith("/sql"):
            shown = re.sub(r"<textarea.*?</textarea>", "", shown, flags=re.DOTALL)
        assert "\u202e" not in shown, path
