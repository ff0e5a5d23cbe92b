"""Overview: why nothing runs first, each reason with its cure; then what flows."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from support.pages import pages_of
from wopr import Reason, Severity, TaskQueue
from wopr.domain import why
from wopr.web.guard.roles import Role
from wopr.web.pages.buckets import naive, now_of
from wopr.web.pages.cures import cure, mark, sentence, telling
from wopr.web.pages.flowing import Ended, points, series
from wopr.web.pages.overview import minutes_left

START = datetime(2030, 5, 17, 12, tzinfo=UTC)


def reason(kind: str, severity: Severity = Severity.HELD, **more: object) -> Reason:
    return Reason(kind=kind, severity=severity, text=str(more.pop("text", "x")), **more)  # type: ignore[arg-type]


@pytest_asyncio.fixture
async def queue(tmp_path: Path) -> AsyncIterator[TaskQueue]:
    found = TaskQueue(enabled=True, database=tmp_path / "q.duckdb")

    @found.task(name="send_mail", category="mail")
    async def send_mail(to: str) -> str:
        if to == "nobody":
            raise ValueError("no route")
        return to

    async with found:
        yield found


async def test_a_pause_is_told_first_with_the_button_that_ends_it(queue: TaskQueue) -> None:
    await queue.start_workers("mail", 1)
    await queue.pause("mail", reason="provider <b>down</b>")
    await queue.enqueue_ids("send_mail", [("a",), ("b",)], {})
    async with pages_of(queue, Role.OPERATE) as client:
        text = (await client.get("/")).text
        seen = (await pages_of(queue, Role.READ).get("/")).text
    assert text.index("is paused") < text.index("Finished")
    assert "provider &lt;b&gt;down" in text
    assert re.search(r'action="/categories/resume"[^>]*>\s*<input[^>]*csrf', text)
    assert 'name="category" value="mail"' in text
    assert "/categories/resume" not in seen


async def test_when_all_is_well_one_line_says_so(queue: TaskQueue) -> None:
    await queue.start_workers("mail", 1)
    await queue.wait(await queue.enqueue_id("send_mail", ("a",), {}, {}), timeout=20)
    async with pages_of(queue, Role.READ) as client:
        text = (await client.get("/")).text
    assert "Nothing holds anything back" in text
    assert 'class="card why' not in text
    assert "no failures" not in text


async def test_what_flows_and_fails_is_there_for_a_category_and_a_span(queue: TaskQueue) -> None:
    await queue.start_workers("mail", 1)
    for to in ("a", "nobody"):
        await queue.wait(await queue.enqueue_id("send_mail", (to,), {}, {}), timeout=20)
    async with pages_of(queue, Role.OPERATE) as client:
        text = (await client.get("/?span=6h&category=mail")).text
        assert (await client.get("/?span=1y")).status_code == 422
    assert "50<span" in text.replace("\n", "")  # percent succeed
    assert "ValueError: no route" in text
    assert "category mail" in text
    assert text.count('<figure class="card chart"') == 4


async def test_a_file_that_can_not_be_asked_is_the_first_reason(tmp_path: Path) -> None:
    queue = TaskQueue(enabled=True, database=tmp_path / "none" / "q.duckdb")
    async with pages_of(queue, Role.READ) as client:
        answer = await client.get("/")
    assert answer.status_code == 200
    assert 'class="card why stopped' in answer.text
    await queue.shutdown()


async def test_the_backlog_is_counted_back_from_now(queue: TaskQueue) -> None:
    await queue.enqueue_ids("send_mail", [("a",), ("b",), ("c",)], {})
    found = await series(queue, "1h", None, 3, naive(now_of(queue)))
    assert len(found) == 60
    assert {one.waiting for one in found[:59]} == {0}
    assert found[-1].waiting == 0  # they came after the last whole minute


def test_stretches_without_anything_are_there_too() -> None:
    ended = [{"stretch": 1, "succeeded": 6, "failed": 2, "wait_p50": 0.1, "wait_p95": 1.0,
              "run_p50": 2.0, "run_p95": 3.0}]  # fmt: skip
    before = [{"stretch": 0, "succeeded": 4, "failed": 0}]
    found = points(START, 3, 120.0, ended, before, [(0, 5), (2, -2), (3, 1)], 10)
    assert [one.at for one in found] == [START + timedelta(minutes=2 * n) for n in range(3)]
    assert [(one.succeeded, one.failed) for one in found] == [(0, 0), (3, 1), (0, 0)]
    assert [one.usual for one in found] == [2, 0, 0]
    assert [one.waiting for one in found] == [11, 11, 9]
    assert [one.share for one in found] == [None, 0.75, None]


def test_how_long_there_is_work_is_known_where_something_ends() -> None:
    assert minutes_left(120, Ended(60.0, 540, 60)) == 12
    assert minutes_left(120, Ended(60.0)) is None
    assert minutes_left(0, Ended(60.0, 60)) is None


@pytest.mark.parametrize("kind", sorted(set(why._ORDER)))
def test_every_kind_of_reason_has_a_mark_and_a_path_or_a_command(kind: str) -> None:
    about = {"category": "a/b", "name": "n", "schedule": "s", "task": "t", "fingerprint": "f"}
    found = cure(reason(kind, about=about))
    assert mark(reason(kind))[1] in {"failed", "retry", "pending"}
    assert found is None or found.path.startswith("/")


def test_a_reason_is_one_sentence_whose_time_stands_beside_it() -> None:
    text = "No workers, and 3 wait, since 2030-05-17 12:00:00+00:00 (3 h 1 min)."
    assert sentence(reason("no workers", text=text, since=START)) == "No workers, and 3 wait."
    assert sentence(reason("no workers", text=text)) == text


def test_what_another_reason_explains_is_not_told_twice() -> None:
    found = [
        reason("no workers", about={"category": "mail"}),
        reason("backlog", about={"category": "mail"}),
        reason("backlog", about={"category": "other"}),
    ]
    assert telling(found) == [found[0], found[2]]
