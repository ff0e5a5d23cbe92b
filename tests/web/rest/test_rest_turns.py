"""Costly questions over REST: a few at once, and the rest hears when to ask again."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from starlette.exceptions import HTTPException

from support.queues import PATIENCE
from wopr.core.core import Core
from wopr.web.api import turns
from wopr.web.api.turns import Turns


async def test_so_many_of_one_caller_and_in_all_run_and_the_next_waits_its_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(turns, "PATIENCE", 0.0)
    of = Turns()
    async with of.turn("ada"), of.turn("ada"):
        with pytest.raises(HTTPException, match="2 costly questions of ada"):
            await of.turn("ada").__aenter__()
        async with of.turn("ben"), of.turn("ben"):
            with pytest.raises(HTTPException, match="4 costly questions run already"):
                await of.turn("cem").__aenter__()
        monkeypatch.setattr(turns, "PATIENCE", PATIENCE)
        waiting = asyncio.ensure_future(of.turn("ada").__aenter__())
        await asyncio.sleep(0)
    await asyncio.wait_for(waiting, PATIENCE)


@pytest.mark.parametrize(
    ("path", "params"),
    [
        ("/series", {}),
        ("/eta", {}),
        ("/past", {"at": "2026-01-01T00:00:00Z"}),
        ("/stats", {"at": "2026-01-01T00:00:00Z"}),
    ],
)
async def test_what_costs_much_is_told_when_to_come_back(
    client: httpx.AsyncClient,
    monkeypatch: pytest.MonkeyPatch,
    path: str,
    params: dict[str, str],
) -> None:
    monkeypatch.setattr(turns, "MOST_AT_ONCE", 0)
    monkeypatch.setattr(turns, "PATIENCE", 0.0)
    answer = await client.get(path, params=params)
    assert (503, "1") == (answer.status_code, answer.headers["retry-after"])
    assert "costly questions" in answer.json()["detail"]
    assert (await client.get("/stats")).status_code == 200  # which costs little
    asked = {"query": "select 1"}
    assert (await client.post("/sql", json=asked)).status_code == 503


async def test_a_series_that_runs_holds_a_turn(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "MOST_OF_ONE", 1)
    monkeypatch.setattr(turns, "PATIENCE", 0.0)
    go, began, ask = asyncio.Event(), asyncio.Event(), Core.ask

    async def held(self: Core, *args: object) -> object:
        began.set()
        await go.wait()
        return await ask(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(Core, "ask", held)
    first = asyncio.ensure_future(client.get("/series"))
    await asyncio.wait_for(began.wait(), PATIENCE)
    assert (await client.get("/series")).status_code == 429
    go.set()
    assert (await first).status_code == 200
    assert (await client.get("/series")).status_code == 200
