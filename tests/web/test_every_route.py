"""Every route of the application asks who comes, and what such a one may."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette

from support.webapp import FAR, ROUTES, bearer, browser, token_of
from wopr import TaskQueue
from wopr.domain.role import Role
from wopr.web import create_app

FOR_READERS = {"/api/v1/schedules/preview", "/api/v1/acts/preview", "/schedules/preview"}
"""What is sent, as it is long, and changes nothing."""
FOR_ADMINS = {"/api/v1/sql", "/sql/ask", "/sql/stop", "/sql/download"}


@pytest.fixture
async def queue(tmp_path: Path) -> AsyncIterator[TaskQueue]:
    async with TaskQueue(enabled=True, database=tmp_path / "queue.duckdb") as made:
        yield made


@pytest.fixture
def app(queue: TaskQueue) -> Starlette:
    return create_app(queue)


def visited(path: str) -> str:
    """Return a path of a route, with something for each parameter."""
    return re.sub(r"{\w+:number}", "1", re.sub(r"{\w+(:(name|path))?}", "x", path))


async def refused(client: httpx.AsyncClient, routes: list[tuple[str, str]]) -> set[int]:
    """Return with which statuses routes answer."""
    return {(await client.request(method, visited(path))).status_code for method, path in routes}


async def test_nobody_comes_to_any(app: Starlette) -> None:
    async with browser(app, peer=FAR) as client:
        assert {401} == await refused(client, ROUTES)
        client.headers["Accept"] = "text/html"
        pages = [one for one in ROUTES if one[0] == "GET" and not one[1].startswith("/api/")]
        assert {303} == await refused(client, pages)
        assert {421} == await refused_of_another_name(app)


async def refused_of_another_name(app: Starlette) -> set[int]:
    async with browser(app, url="http://evil.example") as client:
        return await refused(client, ROUTES)


async def test_readers_change_nothing_and_operators_do_not_ask_in_sql(
    app: Starlette, queue: TaskQueue
) -> None:
    reader = bearer(await token_of(queue, "reader"))
    async with browser(app, peer=FAR, headers=reader) as client:
        changes = [one for one in ROUTES if one[0] != "GET" and one[1] not in FOR_READERS]
        assert {403} == await refused(client, changes)
    operator = bearer(await token_of(queue, "operator", Role.OPERATE))
    async with browser(app, peer=FAR, headers=operator) as client:
        asks = [one for one in ROUTES if one[1] in FOR_ADMINS]
        assert len(asks) == len(FOR_ADMINS)
        assert {403} == await refused(client, asks)
    assert {"create-token"} == {act.verb for act in await queue.acts()}


async def test_a_page_of_another_origin_comes_to_none(app: Starlette) -> None:
    for headers in ({"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        async with browser(app, headers=headers) as client:
            assert {403} == await refused(client, ROUTES)


async def test_a_form_that_our_pages_did_not_make_changes_nothing(app: Starlette) -> None:
    changes = [one for one in ROUTES if one[0] == "POST"]
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    async with browser(app, headers=form) as client:
        assert {403} == await refused(client, changes)
