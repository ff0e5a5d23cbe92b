"""Scheduled runs of protected tasks, under a declared service identity."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from support.queues import PATIENCE, Home, SteppableClock, ended, running
from wopr import InvalidCallError, Settings, TaskQueue, TaskStatus
from wopr.auth import (
    Auth,
    AuthContext,
    SigningKey,
    Subject,
    current_auth_context,
    require_role,
)

HAND = Settings(scheduler=False)
ROBOT = AuthContext(subject=Subject("robot"), issuer="tests", roles=frozenset({"reporter"}))


def protected(home: Home, clock: SteppableClock, **options: Any) -> TaskQueue:
    """Return a queue with a task that only a reporter may run."""
    auth = Auth(
        snapshots=True,
        keys=[SigningKey("one", "s" * 32)],
        service_identities={"robot": ROBOT},
        clock=clock,
    )
    queue = home.queue(clock=clock, settings=HAND, **{"auth": auth, **options})

    @queue.task
    @require_role("reporter")
    async def report() -> str:
        who = current_auth_context()
        assert who is not None
        return who.subject.id

    return queue


async def test_a_run_is_under_the_identity_of_its_schedule(
    durable_home: Home, clock: SteppableClock
) -> None:
    async with running(protected(durable_home, clock), default=1) as queue:
        await queue.schedules.add("s", "report", every=60, run_as="robot")
        clock.advance(60)
        [task] = await ended(queue, *await queue.schedules.tick())
        assert (TaskStatus.SUCCESS, "robot") == (task.status, task.result)
        assert "robot" == await (await queue.schedules.run_now("s")).result(timeout=PATIENCE)


async def test_without_an_identity_the_run_is_refused_where_everybody_sees_it(
    durable_home: Home, clock: SteppableClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(protected(durable_home, clock), default=1) as queue:
        await queue.schedules.add("s", "report", every=60, max_retries=0)
        clock.advance(60)
        with caplog.at_level(logging.ERROR):
            [task] = await ended(queue, *await queue.schedules.tick())
        assert TaskStatus.FAILED is task.status
        assert "Schedule 's' fires without 'auth'" in caplog.text


async def test_an_identity_that_nobody_declared_is_refused_at_once(
    durable_home: Home, clock: SteppableClock
) -> None:
    async with protected(durable_home, clock) as queue:
        with pytest.raises(InvalidCallError, match="no service identity 'rob'"):
            await queue.schedules.add("s", "report", every=60, run_as="rob")
        await queue.schedules.add("s", "report", every=60)
        with pytest.raises(InvalidCallError, match="no service identity 'rob'"):
            await queue.schedules.update("s", run_as="rob")
        with pytest.raises(InvalidCallError, match="no service identity 'rob'"):
            queue.schedule(name="x", every=60, run_as="rob")(queue.task(name="y")(lambda: None))
