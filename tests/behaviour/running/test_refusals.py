"""Work that an executor never took goes back to waiting; what ran in it when it broke does not."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from support import process_tasks as tasks
from support.queues import PATIENCE, DuckDBHome, ended, running, until
from wopr import ProcessDiedError, RunnerRefusedError, TaskQueue, TaskStatus
from wopr.engine.refusals import FIRST_WAIT, Refusals
from wopr.executors import processes as own_processes
from wopr.executors.threads import Threads

PENDING, SUCCESS, FAILED = TaskStatus.PENDING, TaskStatus.SUCCESS, TaskStatus.FAILED
SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture
def home(durable_home: DuckDBHome) -> DuckDBHome:
    return durable_home


@pytest.fixture
def asked_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let it be asked at once whether it takes work again."""
    monkeypatch.setattr("wopr.engine.refusals.FIRST_WAIT", 0.001)
    monkeypatch.setattr("wopr.engine.refusals.LONGEST_WAIT", 0.01)


@pytest.fixture
def broken() -> Iterator[ProcessPoolExecutor]:
    """Give an executor that is broken before it is used."""
    with ProcessPoolExecutor(1, mp_context=SPAWN) as pool:
        with pytest.raises(concurrent.futures.BrokenExecutor):
            pool.submit(tasks.exit_at_once, 1).result(PATIENCE)
        yield pool


class Switched(concurrent.futures.Executor):
    """Runs calls at once, or refuses them, or takes them and breaks before they begin."""

    def __init__(self, mood: str = "refuses") -> None:
        self.mood = mood
        self.calls = 0

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.calls += 1
        future: Future[Any] = Future()
        if self.mood == "refuses":
            raise OSError("no room for it")
        if self.mood == "exits":
            raise SystemExit(3)
        if self.mood == "tells nothing":
            return None  # type: ignore[return-value]
        if self.mood == "breaks":
            future.set_exception(concurrent.futures.BrokenExecutor("it broke"))
        elif self.mood == "gives up":
            future.cancel()
        else:
            try:
                future.set_result(fn(*args, **kwargs))
            except BaseException as error:
                future.set_exception(error)
            if self.mood == "breaks in the middle":
                future = Future()
                future.set_exception(concurrent.futures.BrokenExecutor("it broke"))
        return future


async def why(queue: TaskQueue, task_id: str) -> str:
    return (await queue.explain(task_id)).reason


async def until_refused(queue: TaskQueue, *task_ids: str) -> None:
    for task_id in task_ids:
        await until(lambda one=task_id: why(queue, one), lambda seen: seen == "refused")  # type: ignore[misc]


async def test_a_broken_executor_fails_no_task_that_it_never_took(
    home: DuckDBHome, broken: ProcessPoolExecutor, caplog: pytest.LogCaptureFixture
) -> None:
    queue = home.queue()
    queue.register_task("double", max_retries=1, executor=broken)(tasks.double)
    queue.register_task("other")(lambda: "done")
    async with running(queue, default=2):
        ids = [await queue.add_task("double", number=n) for n in range(20)]
        await until_refused(queue, *ids)
        [other] = await ended(queue, await queue.add_task("other"))
        stats = await queue.get_task_stats()
        said = await queue.explain(ids[0])
        infos = [await queue.get_task_info(one) for one in ids]
    assert "done" == other.result
    assert {"pending": 20, "success": 1} == stats["by_status"]
    [held] = stats["held"]
    assert ("refused", ["double"]) == (held["reason"], held["tasks"])
    for text in (said.text, held["text"]):
        assert "takes no work: BrokenProcessPool: A child process terminated abruptly" in text
    assert {(PENDING, 0)} == {(one.status, one.retry_count) for one in infos if one is not None}
    assert sum(one.attempt for one in infos if one is not None) <= 2  # one per worker tried
    errors = [one for one in caplog.records if one.levelno >= logging.ERROR]
    assert 1 == len(errors)
    assert "takes no work" in errors[0].getMessage()
    assert "Its tasks wait (double)" in errors[0].getMessage()


@pytest.mark.parametrize("mood", ["refuses", "breaks", "gives up", "exits", "tells nothing"])
@pytest.mark.usefixtures("asked_often")
async def test_they_go_on_once_it_takes_work_again(home: DuckDBHome, mood: str) -> None:
    executor = Switched(mood)
    queue = home.queue()
    queue.register_task("double", executor=executor)(tasks.double)
    async with running(queue, default=2):
        ids = [await queue.add_task("double", number=n) for n in range(5)]
        await until_refused(queue, *ids)
        executor.mood = "works"
        infos = await ended(queue, *ids)
        assert "held" not in await queue.get_task_stats()
    assert [0, 2, 4, 6, 8] == [info.result for info in infos]


async def test_a_new_executor_under_the_same_name_goes_on_at_once(
    home: DuckDBHome, broken: ProcessPoolExecutor
) -> None:
    queue = home.queue()
    queue.register_task("double", executor=broken)(tasks.double)
    async with running(queue, default=1):
        task_id = await queue.add_task("double", number=1)
        await until_refused(queue, task_id)
        with ThreadPoolExecutor(1) as threads:
            queue.register_task("double", executor=threads)(tasks.double)
            [info] = await ended(queue, task_id)
    assert (SUCCESS, 2) == (info.status, info.result)


async def test_a_new_executor_of_the_category_goes_on_at_once(home: DuckDBHome) -> None:
    queue = home.queue()
    queue.category("default", executor=Switched())
    queue.register_task("double")(tasks.double)
    async with running(queue, default=1):
        task_id = await queue.add_task("double", number=1)
        await until_refused(queue, task_id)
        queue.category("default", executor=Switched("works"))
        [info] = await ended(queue, task_id)
    assert (SUCCESS, 2) == (info.status, info.result)


async def test_what_ran_when_it_broke_has_failed(home: DuckDBHome) -> None:
    queue = home.queue()
    with ProcessPoolExecutor(1, mp_context=SPAWN) as pool:
        queue.register_task("leave", executor=pool)(tasks.exit_at_once)
        async with running(queue, default=1):
            first, second = [await queue.add_task("leave", code=1) for _ in range(2)]
            [info] = await ended(queue, first)
            await until_refused(queue, second)
    assert (FAILED, "wopr.domain.errors.ProcessDiedError") == (info.status, info.error_type)


async def test_what_began_and_got_no_answer_has_failed(home: DuckDBHome) -> None:
    queue = home.queue()
    queue.register_task("double", executor=Switched("breaks in the middle"))(tasks.double)
    async with running(queue, default=1):
        [info] = await ended(queue, await queue.add_task("double", number=1))
    assert (FAILED, "wopr.domain.errors.ProcessDiedError") == (info.status, info.error_type)


def no_start() -> None:
    raise OSError("nothing is there")


INITIALIZED: dict[str, Callable[[], concurrent.futures.Executor]] = {
    "processes": lambda: ProcessPoolExecutor(1, mp_context=SPAWN, initializer=no_start),
    "threads": lambda: ThreadPoolExecutor(1, initializer=no_start),
}


@pytest.mark.parametrize("kind", INITIALIZED)
async def test_an_executor_whose_workers_do_not_start_takes_nothing(
    home: DuckDBHome, kind: str
) -> None:
    queue = home.queue()
    with INITIALIZED[kind]() as executor:
        queue.register_task("double", executor=executor)(tasks.double)
        async with running(queue, default=1):
            ids = [await queue.add_task("double", number=n) for n in range(3)]
            await until_refused(queue, *ids)
            stats = await queue.get_task_stats()
    assert {"pending": 3} == stats["by_status"]


@pytest.mark.usefixtures("asked_often")
async def test_worker_processes_that_do_not_start_fail_nothing(
    home: DuckDBHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(self: object) -> None:
        raise ProcessDiedError("A worker process can't be started: no memory")

    queue = home.queue()
    queue.register_task("double", executor="process")(tasks.double)
    with monkeypatch.context() as patch:
        patch.setattr(own_processes.WorkerProcess, "start", fails)
        async with running(queue, default=1):
            task_id = await queue.add_task("double", number=1)
            await until_refused(queue, task_id)
            assert "no memory" in (await queue.explain(task_id)).text
            patch.undo()
            [info] = await ended(queue, task_id)
    assert (SUCCESS, 2) == (info.status, info.result)


@pytest.mark.usefixtures("asked_often")
async def test_threads_that_do_not_start_fail_nothing(
    home: DuckDBHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = Threads.run_call

    async def fails(self: Threads, call: Any) -> Any:
        raise RunnerRefusedError("A thread can't be started: no room", "thread")

    queue = home.queue()
    queue.register_task("double")(tasks.double)
    async with running(queue, default=1):
        monkeypatch.setattr(Threads, "run_call", fails)
        task_id = await queue.add_task("double", number=1)
        await until_refused(queue, task_id)
        monkeypatch.setattr(Threads, "run_call", started)
        [info] = await ended(queue, task_id)
    assert (SUCCESS, 2) == (info.status, info.result)


@pytest.mark.parametrize("runner", [None, "thread", Switched()], ids=["none", "thread", "other"])
async def test_a_function_that_raises_the_error_itself_has_failed(
    home: DuckDBHome, runner: object
) -> None:
    queue = home.queue()

    @queue.task
    async def job() -> None:
        raise RunnerRefusedError("of my own making", runner)

    async with running(queue, default=1):
        [info] = await ended(queue, (await job.enqueue()).id)
    assert (FAILED, "RunnerRefusedError: of my own making") == (info.status, info.error)


async def test_calls_leave_no_files_behind(
    home: DuckDBHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = home.path.parent / "begun"
    folder.mkdir()
    monkeypatch.setattr("tempfile.mkdtemp", lambda prefix: str(folder))
    queue = home.queue()
    queue.register_task("double", executor=Switched("works"))(tasks.double)
    async with running(queue, default=1):
        await ended(queue, await queue.add_task("double", number=1))
    assert [] == list(Path(folder).iterdir())


async def test_an_executor_that_tells_nobody_what_comes_of_a_call_is_named(
    home: DuckDBHome,
) -> None:
    queue = home.queue()
    queue.register_task("double", executor=Switched("tells nothing"))(tasks.double)
    async with running(queue, default=1):
        task_id = await queue.add_task("double", number=1)
        await until_refused(queue, task_id)
        said = (await queue.explain(task_id)).text
    assert "takes no work: its submit() returned NoneType None and no Future" in said


class Endless(concurrent.futures.Executor):
    """Begins what it is given, and never ends it."""

    def __init__(self) -> None:
        self.futures: list[Future[Any]] = []

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()
        self.futures.append(future)
        return future


class Stubborn(Endless):
    """The same, and it can't be asked to stop."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        future = super().submit(fn)

        def cancel() -> bool:
            raise SystemExit(4)

        future.cancel = cancel  # type: ignore[method-assign]
        return future


@pytest.mark.parametrize("executor", [Endless(), Stubborn()])
async def test_a_call_that_never_ends_holds_up_neither_a_timeout_nor_the_shutdown(
    home: DuckDBHome, executor: Endless, caplog: pytest.LogCaptureFixture
) -> None:
    async def begun() -> int:
        return len(executor.futures)

    queue = home.queue()
    queue.register_task("double", executor=executor)(tasks.double)
    async with asyncio.timeout(PATIENCE), running(queue, default=1):
        late = await queue.enqueue("double", (1,), timeout=0.01)
        [info] = await ended(queue, late.id)
        await queue.enqueue("double", (2,))
        await until(begun, lambda count: count == 2)
    assert FAILED is info.status
    assert "ran longer than its timeout" in str(info.error)
    said = [one.getMessage() for one in caplog.records if "goes on in <" in one.getMessage()]
    assert 2 == len(said)
    assert type(executor).__name__ in said[0]


async def test_a_new_executor_does_not_inherit_how_long_another_one_took_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.CRITICAL, "wopr.engine.refusals")  # records keep what they tell of
    refusals = Refusals(TaskQueue(enabled=True)._core.registry, asyncio.get_running_loop())
    waits = []
    for _ in range(50):  # the next one has the place in memory of the last one, as a rule
        refusals.note(Switched(), "it broke")
        [refusal] = refusals
        waits.append(refusal.wait)
        assert refusal.timer is not None
        refusal.timer.cancel()
        refusal.runner.mood = "works"  # type: ignore[attr-defined]
        await refusals._asked(refusal)
        del refusal
    refusals.close()
    assert {FIRST_WAIT} == set(waits)
