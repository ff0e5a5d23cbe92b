"""Verbs over a selection through the socket: the owner does it, and knows who asked."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.owners import client, end, start_owner
from support.queues import PATIENCE, until
from wopr import ActError, ActProgress, InvalidCallError, QueryError, TaskPriority
from wopr.auth.context import AuthContext, auth_context
from wopr.domain.act import By, acting
from wopr.queue.queue import inside
from wopr.remote.protocol import socket_path


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "queue.duckdb"


@pytest.fixture
def owner(database: Path) -> Iterator[subprocess.Popen[str]]:
    process = start_owner(database)
    yield process
    end(process)


@pytest.mark.usefixtures("owner")
async def test_a_client_has_every_verb_over_a_selection(database: Path) -> None:
    heard: list[ActProgress] = []
    async with client(database) as queue:
        for number in range(12):
            await queue.enqueue("double", (number,), category="idle", tags=["t"])
        tasks = queue.tasks.where(name="double", category=["idle", "other"])
        preview = await tasks.cancel(dry_run=True)
        assert (12, 12, 10) == (preview.selected, preview.changes, len(preview.examples))
        assert 12 == await tasks.count() == len(await tasks.ids())
        page = await tasks.page(5)
        assert (5, 7) == (len(page.tasks), len((await tasks.page(10, page.next)).tasks))
        assert 12 == (await tasks.set_priority(TaskPriority.HIGH)).act.changed
        assert 12 == (await tasks.move("other")).act.changed
        assert 12 == (await tasks.delay(60)).act.changed
        where = queue.tasks.where("priority = 3", tag="t", status="pending")
        cancelled = await where.cancel(reason="because", on_progress=heard.append)
        assert 12 == cancelled.act.changed
        assert 12 == (await tasks.run_again()).act.changed
        assert 12 == (await queue.undo(cancelled.act.number)).act.changed
        assert 0 == (await tasks.retry()).act.changed
        verbs = ["set-priority", "move", "delay", "cancel", "run-again", "undo", "retry"]
        assert verbs == [act.verb for act in reversed(await queue.acts())]
        one = await queue.tasks.where(ids=["nobody"]).cancel()
        assert [("nobody", "there is no such task")] == [(u.id, u.why) for u in one.unchanged]


@pytest.mark.usefixtures("owner")
async def test_what_is_wrong_is_told_as_in_the_owner_s_own_process(database: Path) -> None:
    async with client(database) as queue:
        with pytest.raises(QueryError, match="no condition in SQL"):
            await queue.tasks.where("true) or (true").cancel()
        with pytest.raises(InvalidCallError, match="Say which"):
            await queue.tasks.where().cancel()
        with pytest.raises(ActError, match="no act 7"):
            await queue.undo(7)


async def test_an_act_says_which_process_asked_and_for_whom(
    database: Path, owner: subprocess.Popen[str]
) -> None:
    async with client(database) as queue:
        await queue.pause("idle", reason="moving house")
        with auth_context(AuthContext(subject="ada", issuer="us")):
            await queue.tasks.where(name="double").cancel()
        cancel, pause = await queue.acts()
        assert f"pid {os.getpid()} " in pause.origin
        assert str(owner.pid) not in pause.origin
        assert ("ada", pause.origin) == (cancel.who, cancel.origin)
        [paused] = await queue.pauses()
        assert (pause.who, pause.origin) == (paused.by, paused.origin)
        [reason] = [one for one in (await queue.status()).reasons if one.kind == "paused"]
        assert f"by {pause.who} ({pause.origin}): moving house" in reason.text


@pytest.mark.usefixtures("owner")
async def test_what_a_client_gives_up_ends_in_the_owner_and_goes_on_when_repeated(
    database: Path,
) -> None:
    async with client(database) as queue:
        await queue.enqueue_ids("double", [(n,) for n in range(4_000)], {"category": "idle"})
        tasks = queue.tasks.where(category="idle")
        doing = asyncio.ensure_future(tasks.cancel())
        await until(queue.acts, bool)
        doing.cancel()
        await asyncio.gather(doing, return_exceptions=True)
        answer = await asyncio.wait_for(tasks.cancel(), PATIENCE)
        counts = (await queue.get_task_stats())["by_status"]
        assert {"cancelled": 4_000} == counts
        assert all(act.finished for act in await queue.acts())
        assert 4_000 == sum(act.changed for act in await queue.acts())
        assert answer.act.finished


@pytest.mark.usefixtures("owner")
async def test_who_asks_through_a_client_is_who_the_act_is_of(database: Path) -> None:
    async with client(database) as queue:
        ada = acting.set(By("ada", "web, from 10.0.0.7"))
        await queue.pause("mail", reason="moving")
        await (await inside(queue).writer()).acts.asked("select 1 as one")
        acting.reset(ada)
        await queue.resume("mail")
        mine, asked, hers = await queue.acts()
        assert ("pause", "ada", "web, from 10.0.0.7") == (hers.verb, hers.who, hers.origin)
        assert ("sql", "ada") == (asked.verb, asked.who)
        assert {"query": "select 1 as one"} == json.loads(asked.detail)
        assert "resume" == mine.verb
        assert "ada" != mine.who


@pytest.mark.usefixtures("owner")
async def test_what_does_not_say_who_asks_is_refused(database: Path) -> None:
    async with client(database) as queue:
        assert [] == await queue.acts()  # it is connected
        reader, writer = await asyncio.open_unix_connection(socket_path(database))
        for by in (7, ["ada"], ["", "x"], ["ada", 1], {"who": "ada"}, ["a" * 500, ""]):
            request = {"id": 1, "verb": "stats", "params": [], "by": by}
            writer.write(json.dumps(request).encode() + b"\n")
            assert "error" in json.loads(await reader.readline())
        writer.close()
