"""The dashboard and the REST API inside of applications of each framework."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from litestar import Litestar
from starlette.applications import Starlette
from starlette.routing import Mount

import integrations.django_settings
from support.webapp import token_of
from wopr import InvalidCallError, TaskQueue
from wopr.domain.role import Role
from wopr.integrations.litestar import mounted
from wopr.web import create_app

AT = "/ops/wopr"


def in_fastapi(app: Any) -> Any:
    outer = FastAPI()
    outer.mount(AT, app)
    return outer


def in_starlette(app: Any) -> Any:
    return Starlette(routes=[Mount(AT, app)])


def in_litestar(app: Any) -> Any:
    return Litestar([mounted(AT, app)])


def in_django(app: Any) -> Any:
    assert integrations.django_settings.settings.configured
    from django.core.asgi import get_asgi_application

    return Starlette(routes=[Mount(AT, app), Mount("/", get_asgi_application())])


FRAMEWORKS = [in_fastapi, in_starlette, in_litestar, in_django]


@pytest.mark.parametrize("framework", FRAMEWORKS)
async def test_links_redirects_and_cookies_lead_where_it_is_mounted(
    queue: TaskQueue, framework: Callable[[Any], Any]
) -> None:
    transport = httpx.ASGITransport(framework(create_app(queue, loopback="token")))
    page = {"Accept": "text/html"}
    async with queue, httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        assert 401 == (await client.get(f"{AT}/api/v1/status")).status_code
        sent = await client.get(f"{AT}/tasks", headers=page)
        assert f"{AT}/login?next=%2Ftasks" == sent.headers["location"]
        token = await token_of(queue, role=Role.OPERATE)
        form = {"token": token, "next": "/tasks"}
        answer = await client.post(f"{AT}/login", data=form)
        assert (303, f"{AT}/tasks") == (answer.status_code, answer.headers["location"])
        assert f"Path={AT};" in answer.headers["set-cookie"]
        home = await client.get(f"{AT}/", headers=page)
        assert 200 == home.status_code
        links = set(re.findall(r'(?:href|src|action)="(/[^"]*)"', home.text))
        assert links
        assert [] == [link for link in links if not link.startswith(f"{AT}/")]
        files = [link for link in links if "/static/" in link]
        assert [200] * len(files) == [(await client.get(one)).status_code for one in files]


@pytest.mark.parametrize("framework", FRAMEWORKS)
async def test_a_task_is_enqueued_through_it(
    queue: TaskQueue, framework: Callable[[Any], Any]
) -> None:
    transport = httpx.ASGITransport(framework(create_app(queue)))
    async with queue, httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        await queue.start_workers("sums", 1)
        call = {"name": "double", "args": [21]}
        made = await client.post(f"{AT}/api/v1/tasks", json=call)
        assert 201 == made.status_code, made.text
        found = f"{AT}/api/v1/tasks/{made.json()['id']}/result"
        assert 42 == (await client.get(found, params={"wait": 20})).json()["result"]


@pytest.mark.parametrize("path", ["", "/", "wopr", "/wopr/"])
def test_what_is_no_path_to_mount_at_is_refused(path: str) -> None:
    with pytest.raises(InvalidCallError, match="'/wopr'"):
        mounted(path, None)
