"""``wopr mcp`` as an assistant starts it: a process of its own, on standard input and output."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, StdioServerParameters

from support.commands import call
from support.owners import client as owned_by_another
from support.owners import end, start_owner
from wopr.cli import mcp


def server(database: Path, *options: str) -> StdioServerParameters:
    words = ["-m", "wopr", "mcp", "--database", str(database), *options]
    return StdioServerParameters(command=sys.executable, args=words, env=dict(os.environ))


async def data(client: Client, tool: str, **given: Any) -> Any:
    found = await client.call_tool(tool, given)
    assert not found.is_error, found.content
    return json.loads(found.content[0].text)["data"]


async def test_beside_an_owner_it_asks_it_and_acts_there(tmp_path: Path) -> None:
    path = tmp_path / "tasks.duckdb"
    owner = await asyncio.to_thread(start_owner, path)
    try:
        async with owned_by_another(path) as queue:
            handle = await queue.enqueue("hold", args=(1,))
            async with Client(server(path, "--allow-acts")) as client:
                assert 4 == (await data(client, "status"))["workers"]
                which = {"ids": [handle.id]}
                seen = await data(client, "preview_act", verb="cancel", which=which)
                done = await data(client, "carry_out_act", proposal=seen["proposal"])
                assert 1 == done["changed"]
            [act] = await queue.acts()
            assert ("cancel", True) == (act.verb, act.who.startswith("mcp for "))
    finally:
        await asyncio.to_thread(end, owner)


def test_without_the_package_it_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mcp, "find_spec", lambda name: None)
    answer = call("mcp", "-d", tmp_path / "tasks.duckdb")
    assert 2 == answer.code
    assert "pip install 'wopr[mcp]'" in answer.err
