"""An act over many tasks whose owner goes half-way: it says so, and goes on when it is repeated."""

from __future__ import annotations

import asyncio
import functools
import subprocess
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from support.owners import client, end, start_owner
from support.queues import PATIENCE
from wopr import OwnerGoneError, TaskPriority, TaskQueue
from wopr.core import tasks as tasks_module
from wopr.core.tasks import ActAnswer, ActProgress

MANY = 8_000
LATER = datetime.now(UTC) + timedelta(days=1)

Act = Callable[..., Awaitable[ActAnswer]]


def kill(owner: subprocess.Popen[str]) -> None:
    owner.kill()
    owner.communicate()


async def one(queue: TaskQueue, text: str) -> Any:
    [[value]] = (await queue.sql(text)).rows
    return value


async def half_way(act: Act, owner: subprocess.Popen[str], go: Callable[..., None]) -> ActProgress:
    """Have the owner go in the middle of an act; return how far the act was when last looked."""
    loop, seen = asyncio.get_running_loop(), asyncio.Queue[ActProgress]()
    asked = asyncio.ensure_future(act(on_progress=seen.put_nowait))
    async with asyncio.timeout(PATIENCE):
        while not (progress := await seen.get()).done:
            pass
    gone = loop.run_in_executor(None, go, owner)
    with pytest.raises(OwnerGoneError, match=r"not known|may be changed"):
        await asked
    await gone
    return progress


@pytest.mark.parametrize("go", [kill, end], ids=["killed", "ended"])
@pytest.mark.parametrize("verb", ["set_priority", "cancel", "run_again"])
async def test_an_act_whose_owner_goes_half_way_goes_on_when_it_is_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str, go: Callable[..., None]
) -> None:
    monkeypatch.setattr(tasks_module, "LOOK_SECONDS", 0.01)
    database = tmp_path / "queue.duckdb"
    owner = await asyncio.to_thread(start_owner, database)
    queue = client(database)
    await queue.enqueue_ids("double", [(n,) for n in range(MANY)], {"run_at": LATER})
    if verb == "run_again":
        await queue.tasks.where(name="double").cancel()
    tasks = queue.tasks.where(name="double")
    act: Act = getattr(tasks, verb)
    if verb == "set_priority":
        act = functools.partial(tasks.set_priority, TaskPriority.CRITICAL)

    progress = await half_way(act, owner, go)
    owner = await asyncio.to_thread(start_owner, database)
    answer = await act()

    assert 0 < progress.done < MANY
    assert answer.act.changed == MANY
    assert await one(queue, f"select count(*) from acts where verb = '{answer.act.verb}'") == 1
    changed = {
        "set_priority": "select count(*) from tasks where priority = 4",
        "cancel": "select count(*) from tasks where status = 'cancelled'",
        "run_again": "select count(distinct options ->> '$.again_of') from tasks",
    }[verb]
    assert await one(queue, changed) == MANY
    assert await one(queue, "select count(*) from tasks") == MANY * (1 + (verb == "run_again"))
    await queue.shutdown()
    await asyncio.to_thread(end, owner)
