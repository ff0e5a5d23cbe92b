"""``wopr mcp --http`` as it is run: who asks has a token, and its role."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from support.commands import Database, call, fill
from support.webapp import bearer, token_of
from wopr import TaskQueue
from wopr.domain.role import Role


@pytest.fixture
async def database(tmp_path: Path) -> Database:
    return await fill(tmp_path / "tasks.duckdb")


@asynccontextmanager
async def serving(database: Path, *options: str) -> AsyncIterator[str]:
    """Serve at a free port; return where."""
    words = ["-m", "wopr", "mcp", "-d", str(database), "--http", "127.0.0.1:0", *options]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        [sys.executable, *words], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert process.stdout is not None
    try:
        yield (await asyncio.to_thread(process.stdout.readline)).split()[0]
    finally:
        process.send_signal(signal.SIGINT)
        await asyncio.to_thread(process.stdout.read)
        process.stdout.close()
        assert 0 == await asyncio.to_thread(process.wait, 30)


@asynccontextmanager
async def asking(url: str, token: str | None = None) -> AsyncIterator[Client]:
    headers = {} if token is None else bearer(token)
    async with (
        httpx2.AsyncClient(headers=headers) as web,
        Client(streamable_http_client(url, http_client=web)) as client,
    ):
        yield client


async def said(client: Client, tool: str, **given: Any) -> tuple[bool, str]:
    found = await client.call_tool(tool, given)
    return bool(found.is_error), str(found.content[0].text)


async def test_each_may_what_the_role_of_its_token_allows(database: Database) -> None:
    which = {"ids": [database.delayed]}
    async with (
        serving(database.path, "--allow-acts", "--allow-sql") as url,
        TaskQueue(enabled=True, database=database.path) as queue,
    ):
        tokens = {role: await token_of(queue, role.value, role=role) for role in Role}
        async with asking(url, tokens[Role.READ]) as client:
            assert not (await said(client, "status"))[0]
            error, text = await said(client, "preview_act", verb="cancel", which=which)
            assert error
            assert "role operate" in text
        async with asking(url, tokens[Role.OPERATE]) as client:
            _, text = await said(client, "preview_act", verb="cancel", which=which)
            proposal = json.loads(text)["data"]["proposal"]
            assert not (await said(client, "carry_out_act", proposal=proposal))[0]
            assert (await said(client, "sql", query="select 1 as one"))[0]
        async with asking(url, tokens[Role.ADMIN]) as client:
            error, text = await said(client, "sql", query="select 1 as one")
            assert [{"one": 1}] == json.loads(text)["data"]["rows"]
        acts = {act.verb: act.who for act in await queue.acts()}
        assert "mcp for operate" == acts["cancel"]
        assert "mcp for admin" == acts["sql"]
        async with asking(url) as client:  # who is here needs none
            assert not (await said(client, "status"))[0]
        await nothing_for_others(url)


async def nothing_for_others(url: str) -> None:
    """Ask as a page of somebody else does, and with a token that is none."""
    async with httpx2.AsyncClient() as web:
        foreign = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
        assert 403 == (await web.post(url, headers=foreign, json={})).status_code
        rebound = {"Host": "evil.example"}
        assert 421 == (await web.post(url, headers=rebound, json={})).status_code
        wrong = {"Authorization": "Bearer wopr_wrong"}
        assert 401 == (await web.post(url, headers=wrong, json={})).status_code


def test_it_listens_nowhere_where_everybody_could_come_in(database: Database) -> None:
    answer = call("mcp", "-d", database.path, "--http", "0.0.0.0:0")
    assert 2 == answer.code
    assert "--tls-cert" in answer.err
    assert "name an address" in call("mcp", "-d", database.path, "--require-token").err
