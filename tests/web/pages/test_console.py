"""The SQL console: answers, errors with their place, stopping, charts and downloads."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from support.pages import opened, pages_of
from wopr import TaskQueue
from wopr.domain.errors import QueryError
from wopr.ports.answers import QueryResult
from wopr.ports.storage import QueryRows
from wopr.web.guard.roles import Role
from wopr.web.pages.console import shown_answer
from wopr.web.pages.downloads import Once
from wopr.web.pages.questions import MOST_AT_ONCE, Questions, Where, where_wrong


@pytest_asyncio.fixture
async def queue(tmp_path: Path) -> AsyncIterator[TaskQueue]:
    async with opened(tmp_path / "q.duckdb") as found:

        @found.task(name="mail", category="mail")
        async def mail(to: str) -> None: ...

        await mail.enqueue_many([("=1+1@example.org",), ("b",)])
        yield found


@pytest_asyncio.fixture
async def client(queue: TaskQueue) -> AsyncIterator[httpx.AsyncClient]:
    async with pages_of(queue, Role.ADMIN) as found:
        yield found


async def test_a_question_is_answered_inside_of_the_page_and_as_a_page_of_its_own(
    client: httpx.AsyncClient,
) -> None:
    form = {"query": "select name, count(*) as tasks, null as no from tasks group by name"}
    inside = await client.post("/sql/ask", data=form, headers={"hx-request": "true"})
    assert "<!doctype" not in inside.text
    assert "1 row" in inside.text
    assert '<span class="null">null</span>' in inside.text
    assert "as of <time" in inside.text
    whole = await client.post("/sql/ask", data=form)
    assert "<!doctype" in whole.text
    assert "group by name</textarea>" in whole.text
    assert "1 row" in whole.text


async def test_who_asked_what_is_noted(queue: TaskQueue, client: httpx.AsyncClient) -> None:
    await client.post("/sql/ask", data={"query": "select 1 as one"})
    await client.post("/sql/download", data={"query": "select 2 as two"})
    asked = [(act.verb, act.who) for act in await queue.acts()]
    assert [("sql", "ada"), ("sql", "ada")] == asked
    text = (await client.get("/acts")).text
    assert "select 1 as one" in text
    assert "Undo" not in text


async def test_an_error_says_where_it_is(client: httpx.AsyncClient) -> None:
    form = {"query": "select name,\n  statsu\nfrom tasks"}
    text = (await client.post("/sql/ask", data=form, headers={"hx-request": "true"})).text
    assert 'data-wrong-line="2" data-wrong-column="3"' in text
    assert "<mark>statsu</mark>" in text
    assert "LINE 2" not in text


async def test_tables_and_columns_are_there_to_complete(client: httpx.AsyncClient) -> None:
    text = (await client.get("/sql?q=from%20backlog")).text
    assert ">from backlog</textarea>" in text
    assert "&#34;completed_at&#34;" in text
    assert ">backlog</summary>" in text
    assert "alembic_version" not in text


async def test_all_rows_are_downloaded_as_csv_in_which_nothing_is_a_formula(
    client: httpx.AsyncClient,
) -> None:
    form = {"query": "select kwargs, args ->> '$[0]' as \"to\" from tasks order by seq"}
    answer = await client.post("/sql/download", data={**form, "format": "csv"})
    assert answer.headers["content-type"].startswith("text/csv")
    assert 'attachment; filename="answer.csv"' == answer.headers["content-disposition"]
    assert ["kwargs,to", "{},'=1+1@example.org", "{},b"] == answer.text.splitlines()


async def test_all_rows_are_downloaded_as_parquet(client: httpx.AsyncClient) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    form = {"query": "select name, seq from tasks order by seq", "format": "parquet"}
    answer = await client.post("/sql/download", data=form)
    table = parquet.read_table(io.BytesIO(answer.content))
    assert (["name", "seq"], 2) == (table.column_names, table.num_rows)


async def test_a_download_that_nobody_takes_to_its_end_leaves_no_file(tmp_path: Path) -> None:
    path = tmp_path / "answer.csv"
    path.write_text("two\n2\n")

    async def send(message: Any) -> None:
        raise asyncio.CancelledError  # as a server that stops does

    async def receive() -> Any:
        raise NotImplementedError

    asked = {"type": "http", "method": "GET", "headers": [], "asgi": {"spec_version": "2.4"}}
    with pytest.raises(asyncio.CancelledError):
        await Once(path)(asked, receive, send)
    assert not path.exists()


async def test_a_download_that_fails_leaves_no_file(
    client: httpx.AsyncClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "made"))
    (tmp_path / "made").mkdir()
    answer = await client.post("/sql/download", data={"query": "select nothing from tasks"})
    assert answer.status_code == 422
    monkeypatch.setattr("wopr.web.pages.downloads.MOST_BYTES", 1)
    answer = await client.post("/sql/download", data={"query": "select name from tasks"})
    assert (422, True) == (answer.status_code, "wopr export" in answer.text)
    assert [] == [one.name for one in (tmp_path / "made").glob("wopr-answer-*")]
    answer = await client.post("/sql/download", data={"query": "select 1", "format": "xls"})
    assert (422, True) == (answer.status_code, "csv, parquet" in answer.text)


async def test_a_question_that_runs_is_stopped_by_its_key(
    client: httpx.AsyncClient, queue: TaskQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = asyncio.Event()

    async def endless(query: str) -> None:
        begun.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(queue, "typed_sql", endless)
    asking = asyncio.ensure_future(client.post("/sql/ask", data={"query": "x", "key": "k1"}))
    await begun.wait()
    assert "Nothing ran" in (await client.post("/sql/stop", data={"key": "k2"})).text
    assert "Stopping" in (await client.post("/sql/stop", data={"key": "k1"})).text
    assert "stopped on request" in (await asking).text


async def test_only_a_few_questions_run_at_once() -> None:
    questions, forever = Questions(), asyncio.Event()
    running = [
        asyncio.ensure_future(questions.ask(str(number), forever.wait()))
        for number in range(MOST_AT_ONCE)
    ]
    await asyncio.sleep(0)
    with pytest.raises(QueryError, match="run already"):
        await questions.ask("one more", forever.wait())
    forever.set()
    assert [True] * MOST_AT_ONCE == await asyncio.gather(*running)
    assert await questions.ask("one more", forever.wait())


async def test_a_question_ends_with_the_one_who_asked() -> None:
    questions, ended = Questions(), asyncio.Event()

    async def endless() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    asking = asyncio.ensure_future(questions.ask("k", endless()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await ended.wait()
    assert not questions.stop("k")


@pytest.mark.parametrize(
    ("query", "error", "where"),
    [
        ("select a", "It failed: LINE 1: select a", None),
        ("select a\nfrom", "x\n\nLINE 1: select a\n               ^", Where(1, 8, "select a")),
        ("select a", "x\n\nLINE 7: select a\n               ^", None),
        ("select frm x", 'syntax error at or near "frm"', Where(1, 8, "select frm x")),
        ("frm frm", 'syntax error at or near "frm"', None),
        ("select 1", "nothing that says where", None),
    ],
)
def test_where_an_error_is(query: str, error: str, where: Where | None) -> None:
    assert where == where_wrong(query, error)


@pytest.mark.parametrize(
    ("columns", "rows", "chart"),
    [
        (("hour", "a", "b"), [(datetime(2026, 1, 1, n), n, 1.5) for n in range(3)], "lines"),
        (("name", "tasks"), [("a", 1), ("b", None)], "bars"),
        (("name", "tasks"), [("a", 1)], None),
        (("name", "tasks", "c"), [("a", 1, 2), ("b", 2, 3)], None),
        (("name", "text"), [("a", "b"), ("c", "d")], None),
        (("hour", "a"), [(datetime(2026, 1, 1, n), "x") for n in range(3)], None),
    ],
)
def test_which_chart_an_answer_can_be(
    columns: tuple[str, ...], rows: list[tuple[Any, ...]], chart: str | None
) -> None:
    assert chart == shown_answer(QueryResult(QueryRows(columns, rows, None)))["chart"]


def test_only_so_many_rows_and_letters_are_shown() -> None:
    rows = [("x" * 500 + "\u202e",)] * 700
    shown = shown_answer(QueryResult(QueryRows(("text",), rows, None)))
    assert (500, 200, 700) == (len(shown["rows"]), shown["hidden"], shown["total"])
    assert shown["rows"][0][0]["text"] == "x" * 400 + "…"
