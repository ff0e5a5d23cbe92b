"""Machines of somebody else: what one attempt makes of a call that was sent."""

from __future__ import annotations

import asyncio
import gc
from concurrent.futures import Future

import pytest

from support import process_tasks as tasks
from support.calls import call
from wopr import InvalidCallError, ProcessDiedError
from wopr.executors.beginnings import NotBegunError
from wopr.executors.call import Call
from wopr.executors.choice import Executors
from wopr.executors.cluster import Cluster, OnCluster, Sent


class Letter(Sent):
    def __init__(self) -> None:
        self.future: Future[str] = Future()
        self.stops = 0
        self.told: Future[None] = Future()

    def stop(self) -> Future[None]:
        self.stops += 1
        return self.told


class Post(Cluster):
    """Sends nothing, and keeps what it was given."""

    def __init__(self) -> None:
        self.letters: list[Letter] = []

    def __repr__(self) -> str:
        return "<Post>"

    def send(self, call: Call) -> Letter:
        self.letters.append(Letter())
        return self.letters[-1]

    def refusal(self) -> str | None:
        return None


@pytest.fixture
def post() -> Post:
    return Post()


@pytest.fixture
def executors() -> Executors:
    return Executors()


async def sent(executors: Executors, post: Post) -> tuple[asyncio.Task[object], Letter]:
    """Return a run that waits, and what it waits for."""
    executor = executors.of(post, is_async=False)
    assert isinstance(executor, OnCluster)
    task = asyncio.create_task(executor.run(call(tasks.double, 3)))
    await asyncio.sleep(0)
    return task, post.letters[-1]


async def test_a_result_comes_as_json_and_an_error_as_itself(
    executors: Executors, post: Post
) -> None:
    run, letter = await sent(executors, post)
    letter.future.set_result("6")
    assert 6 == await run
    run, letter = await sent(executors, post)
    letter.future.set_exception(LookupError("its own"))
    with pytest.raises(LookupError, match="its own"):
        await run


async def test_a_stopped_attempt_waits_for_the_cluster_to_be_told(
    executors: Executors, post: Post
) -> None:
    run, letter = await sent(executors, post)
    run.cancel()
    await asyncio.sleep(0)
    assert (1, False) == (letter.stops, run.done())
    letter.told.set_result(None)
    await asyncio.wait([run])
    assert run.cancelled()


async def test_and_not_for_ever(
    executors: Executors, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wopr.executors.cluster.TOLD_SECONDS", 0.001)
    run, letter = await sent(executors, post)
    run.cancel()
    await asyncio.wait([run])
    assert run.cancelled()
    letter.told.set_result(None)  # later, to nobody
    await asyncio.sleep(0)
    gc.collect()


async def test_a_shutdown_takes_back_what_has_not_begun(executors: Executors, post: Post) -> None:
    run, letter = await sent(executors, post)
    executors.beginnings.end()
    with pytest.raises(NotBegunError):
        await run
    assert (True, 1) == (letter.future.cancelled(), letter.stops)


async def test_what_has_begun_outlives_the_beginning_of_a_shutdown(
    executors: Executors, post: Post
) -> None:
    run, letter = await sent(executors, post)
    letter.future.set_running_or_notify_cancel()
    executors.beginnings.end()
    letter.future.set_result("6")
    assert 6 == await run


async def test_what_somebody_else_takes_back_is_a_failure(executors: Executors, post: Post) -> None:
    run, letter = await sent(executors, post)
    letter.future.cancel()
    with pytest.raises(ProcessDiedError, match="taken back from <Post> by somebody else"):
        await run


async def test_a_soft_timeout_of_one_call_is_refused(executors: Executors, post: Post) -> None:
    wanted = call(tasks.double, 3, soft_timeout=1.5)
    with pytest.raises(InvalidCallError, match=r"soft_timeout=1\.5.*in <Post>"):
        await executors.of(post, is_async=False).run(wanted)
    assert [] == post.letters
    await executors.of(post, is_async=False).close()
