"""What every page has in common: files, errors, escaping, the live stream."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from starlette.exceptions import HTTPException

from wopr import TaskQueue
from wopr.domain.clock import SystemClock
from wopr.domain.errors import StorageError
from wopr.web import create_app
from wopr.web.pages import live
from wopr.web.pages.assets import NAMES, asset, asset_path
from wopr.web.pages.drawing import sparkline
from wopr.web.pages.filters import ago_at, first_line, percent, short, shown, span, when_at
from wopr.web.pages.live import Hub, message
from wopr.web.pages.recent import Recent


@pytest_asyncio.fixture
async def client(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    queue = TaskQueue(enabled=True, database=tmp_path / "q.duckdb")
    transport = httpx.ASGITransport(app=create_app(queue), raise_app_exceptions=False)
    async with (
        queue,
        httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8800") as found,
    ):
        yield found


async def test_the_first_page_with_all_its_files_is_at_most_100_kb(
    client: httpx.AsyncClient,
) -> None:
    answer = await client.get("/")
    total = len(answer.content)
    for part in answer.text.split('"'):
        if part.startswith("/static/"):
            sent = await client.get(part)
            assert sent.status_code == 200
            total += int(sent.headers["content-length"])
    assert 20_000 < total <= 100_000


async def test_a_file_is_kept_for_ever_under_a_name_that_changes_with_its_content(
    client: httpx.AsyncClient,
) -> None:
    answer = await client.get(asset_path("app.js"))
    assert "immutable" in answer.headers["cache-control"]
    assert answer.headers["content-encoding"] == "gzip"
    assert gzip.decompress(asset("app.js").packed) == answer.content
    plain = await client.get(asset_path("app.js"), headers={"accept-encoding": "identity"})
    assert plain.content == answer.content
    assert (await client.get("/static/0123/app.js")).status_code == 404


@pytest.mark.parametrize("name", ["../base.html", "vendor/vendored.json", "%2e%2e/routes.py"])
async def test_no_other_file_is_served(client: httpx.AsyncClient, name: str) -> None:
    assert (await client.get(f"/static/{asset('app.js').mark}/{name}")).status_code == 404


def test_vendored_files_are_those_of_the_list() -> None:
    folder = files("wopr.web.pages").joinpath("static", "vendor")
    listed = json.loads(folder.joinpath("vendored.json").read_text(encoding="utf-8"))
    sums = {name: sum_ for one in listed["packages"] for name, sum_ in one["files"].items()}
    found = {one.name: one.read_bytes() for one in folder.iterdir()}
    del found["vendored.json"]
    assert sums == {name: hashlib.sha256(data).hexdigest() for name, data in found.items()}
    served = {name.removeprefix("vendor/") for name in NAMES if name.startswith("vendor/")}
    assert served | {"htmx.LICENSE", "uPlot.LICENSE"} == set(sums)


async def test_a_path_that_leads_nowhere_has_a_page_that_leads_on(
    client: httpx.AsyncClient,
) -> None:
    answer = await client.get("/nowhere/<script>alert(1)</script>")
    assert answer.status_code == 404
    assert "There is nothing here" in answer.text
    assert "<script>alert" not in answer.text


async def test_pages_have_no_inline_script_or_style_and_a_policy_against_it(
    client: httpx.AsyncClient,
) -> None:
    answer = await client.get("/")
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert " style=" not in answer.text
    assert "<style" not in answer.text
    assert answer.text.count("<script ") == answer.text.count("></script>")
    nonces = {part.partition('"')[0] for part in answer.text.split('<script nonce="')[1:]}
    assert len(nonces) == 1
    assert nonces != {part.partition('"')[0] for part in (await client.get("/")).text.split(
        '<script nonce="')[1:]}  # fmt: skip


async def test_a_live_page_is_made_once_for_all_who_look_and_rests_when_nobody_does() -> None:
    hub, made = Hub(SystemClock()), 0

    async def make() -> str:
        nonlocal made
        made += 1
        return "<p>one</p>"

    streams = [hub.stream("key", make) for _ in range(50)]
    first = await asyncio.gather(*(anext(one) for one in streams))
    assert set(first) == {"data: <p>one</p>\n\n"}
    assert made == 1
    assert hub.watchers == 50
    for one in streams:
        await one.aclose()
    assert hub.watchers == 0
    assert not hub._scenes


async def test_the_end_of_a_live_page_stops_nothing_of_who_takes_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(live, "LIFE", 0.02)

    async def make() -> str:
        return "<p>one</p>"

    hub = Hub(SystemClock())
    stream = hub.stream("key", make)
    assert [await anext(stream), await anext(stream)][0] == "data: <p>one</p>\n\n"
    over = asyncio.Event()
    asyncio.get_running_loop().call_later(2 * live.LIFE, over.set)
    await over.wait()  # as long as a slow reader takes: that is no wait of the page's
    assert [one async for one in stream] == []
    assert not hub._scenes


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (StorageError("the owner\nis gone"), "data: the owner\ndata: is gone"),
        (HTTPException(403, "needs admin"), "data: 403: needs admin"),
    ],
)
async def test_a_live_page_tells_trouble_and_keeps_what_it_shows(
    error: Exception, told: str
) -> None:
    async def make() -> str:
        raise error

    stream = Hub(SystemClock()).stream("key", make)
    assert await anext(stream) == f"event: trouble\n{told}\n\n"
    await stream.aclose()


async def test_a_live_page_goes_on_when_the_next_owner_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(live, "EVERY", 0.0)
    monkeypatch.setattr(live, "SHARE", 0)
    answers: list[str | StorageError] = ["<p>1</p>", StorageError("gone"), "<p>2</p>"]

    async def make() -> str:
        found = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(found, StorageError):
            raise found
        return found

    told: list[str] = []
    stream = Hub(SystemClock()).stream("key", make)
    async for one in stream:
        told.append(one.partition("data: ")[2].strip())
        if "<p>2</p>" in told:
            break
    await stream.aclose()
    assert told[0] == "<p>1</p>"
    assert told[-1] == "<p>2</p>"


async def test_what_many_want_to_know_at_once_is_asked_once_and_an_error_is_not_kept() -> None:
    recent, asked = Recent(), 0

    async def ask() -> int:
        nonlocal asked
        asked += 1
        if asked == 1:
            raise StorageError("busy")
        return asked

    answers = await asyncio.gather(*(recent.get("k", 60, ask) for _ in range(5)),
                                   return_exceptions=True)  # fmt: skip
    assert {str(one) for one in answers} == {"busy"}
    assert await asyncio.gather(*(recent.get("k", 60, ask) for _ in range(5))) == [2] * 5


def test_a_message_has_all_lines_of_a_text() -> None:
    assert message("a\nb") == "data: a\ndata: b\n\n"
    assert message("", "beat") == "event: beat\ndata: \n\n"


def test_times_are_short_for_their_age_and_exact_in_the_title() -> None:
    now = datetime(2030, 5, 17, 12, tzinfo=UTC)
    assert ">12:00:00</time>" in when_at(now, now)
    assert ">Wed 12:00</time>" in when_at(now.replace(day=15), now)
    assert ">2 Jan</time>" in when_at(now.replace(month=1, day=2), now)
    assert ">2 Jan 2029</time>" in when_at(now.replace(year=2029, month=1, day=2), now)
    assert ">1 h ago</time>" in ago_at(now.replace(hour=11), now)
    assert ">in 2 h</time>" in ago_at(now.replace(hour=14), now)
    assert when_at(None, now) == "–"


def test_durations_percentages_and_ids_are_short() -> None:
    assert [span(one) for one in (None, 1e-300, 0.0032, 0.31, 41, 12_000)] == [
        "–", "< 0.1 ms", "3.2 ms", "310 ms", "41 s", "3 h 20 min"]  # fmt: skip
    assert [percent(one) for one in (None, 1, 0.9999, 0.971, 0.0001, 0)] == [
        "–", "100", "> 99.9", "97.1", "< 0.1", "0"]  # fmt: skip
    assert short("01a227fe-0c00-7000-bac8-55bf451cc5fb") == "01a227fe…c5fb"


def test_what_can_not_be_seen_is_written_out() -> None:
    assert first_line("a\u202eb\x1b[0m\nc") == "a\\u202eb\\u001b[0m"
    assert shown({"a": "\u200b"}) == '{\n  "a": "\\u200b"\n}'
    assert shown("x" * 20_000).endswith("… (3,616 more letters)")
    assert shown("\x00" * 20_000).endswith("\\u0000… (3,616 more letters)")
    assert first_line("\u202ex" + "y" * 1_000) == "\\u202ex" + "y" * 152 + "…"


def test_a_drawing_escapes_its_label_and_bears_any_values() -> None:
    assert 'aria-label="&#34;&gt;&lt;script&gt;"' in sparkline([1, 2], label='"><script>')
    assert "nan" not in sparkline([0, 0, None])
    assert 'points="0,' in sparkline([])
