"""Kill -9 between emit and delivery, and in the middle of a delivery: it arrives."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from behaviour.notifications.child import SECRET
from behaviour.notifications.receiver import Receiver
from support.paths import ROOT
from support.queues import PATIENCE
from wopr import Settings, TaskQueue
from wopr.domain.clock import SystemClock
from wopr.notifications import NotificationService, Webhook, verify_signature

pytestmark = pytest.mark.crash


@contextlib.contextmanager
def child(database: Path, url: str, phase: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Start a child; give it and the id of the event that it emitted; kill it in the end."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("WOPR_")}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT / "tests"), str(ROOT / "src")])
    process = subprocess.Popen(
        [sys.executable, "-m", "behaviour.notifications.child", str(database), url, phase],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    try:
        assert process.stdout is not None
        yield process, process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait(PATIENCE)
        assert process.stdout is not None
        process.stdout.close()


async def arrives_after_restart(database: Path, receiver: Receiver, count: int) -> None:
    queue = TaskQueue(enabled=True, database=database, settings=Settings(scheduler=False))
    service = NotificationService(queue)
    service.route(Webhook(receiver.url(), SECRET, name="ops"))
    async with queue, service:
        await receiver.wait(count)
        (info,) = await queue.get_tasks(name="wopr.notify")
        await queue.wait(info.id, timeout=PATIENCE)
    assert count == len(receiver.requests)


async def test_killed_before_the_delivery(tmp_path: Path, receiver: Receiver) -> None:
    database = tmp_path / "tasks.duckdb"
    with child(database, receiver.url(), "emitting") as (_, event_id):
        assert 36 == len(event_id)
    assert [] == receiver.requests
    await arrives_after_restart(database, receiver, 1)
    (request,) = receiver.requests
    assert (event_id, "disk full") == (request.json["id"], request.json["title"])
    assert verify_signature(SECRET, request.headers, request.body, SystemClock().now())


async def test_killed_in_the_middle_of_the_delivery(tmp_path: Path, receiver: Receiver) -> None:
    database = tmp_path / "tasks.duckdb"
    receiver.silence = threading.Event()
    with child(database, receiver.url(), "delivering") as (process, event_id):
        await receiver.wait(1)
        assert process.poll() is None
    receiver.silence.set()
    async with asyncio.timeout(PATIENCE):
        await arrives_after_restart(database, receiver, 2)
    assert [event_id, event_id] == [request.json["id"] for request in receiver.requests]
