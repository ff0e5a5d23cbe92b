"""Tasks that are declared without a queue, and put into one later."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import wopr
from support.programs import run_ok
from wopr import (
    AuthSnapshotUnavailableError,
    DuplicateTaskError,
    InvalidCallError,
    InvalidScheduleSpecificationError,
    Task,
    TaskNotRegisteredError,
    TaskPriority,
    TaskQueue,
)
from wopr.auth import protected
from wopr.queue.queue import inside
from wopr.testing import drain, isolated

LIBRARY = """
import wopr

@wopr.task(category="mail", priority=wopr.TaskPriority.HIGH, max_retries=3)
async def send(to: str) -> str:
    return f"sent to {to}"

@wopr.task
def add(a: int, b: int = 1) -> int:
    return a + b
"""


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """Make a module of somebody who knows no queue."""
    (tmp_path / "parcels.py").write_text(LIBRARY)
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("parcels")
    sys.modules.pop("parcels", None)


@wopr.task
async def ship(parcel: int) -> int:
    return parcel


def on(tmp_path: Path, name: str, *tasks: Task[..., object] | ModuleType) -> TaskQueue:
    return TaskQueue(enabled=True, database=tmp_path / name, tasks=tasks)


async def test_a_library_declares_tasks_and_the_application_puts_them_into_its_queue(
    library: ModuleType, tmp_path: Path
) -> None:
    async with on(tmp_path, "shop.duckdb", library) as queue:
        urgent = library.send.options(priority=TaskPriority.CRITICAL)
        handles = [await library.send.enqueue("ada"), await urgent.enqueue("bob")]
        handles += [*await library.add.enqueue_many([(1,), (2, 3)])]
        assert [(await one.info()).priority for one in handles[:2]] == [
            TaskPriority.HIGH,
            TaskPriority.CRITICAL,
        ]
        info = await handles[0].info()
        assert (info.name, info.category, info.max_retries) == ("parcels.send", "mail", 3)
        await queue.start_workers("mail")
        await queue.start_workers()
        assert [await one.result(timeout=20) for one in handles] == [
            "sent to ada",
            "sent to bob",
            2,
            5,
        ]


def test_a_declared_task_is_still_its_function(library: ModuleType) -> None:
    assert library.add(1, b=2) == 3
    assert library.add.name == "parcels.add"


def test_an_option_that_there_is_not_is_refused_where_it_is_written() -> None:
    with pytest.raises(InvalidCallError, match="There is no option 'at_frnt'; there are at_front"):
        ship.options(at_frnt=True)  # type: ignore[call-arg]


async def test_options_made_before_there_is_a_queue_count_in_it(tmp_path: Path) -> None:
    tagged = ship.options(tags=["early"])
    async with on(tmp_path, "a.duckdb", ship) as queue:
        handle = await tagged.enqueue(7)
        assert (await handle.info()).tags == ("early",)
        await drain(queue)
        assert await handle.result() == 7


async def test_a_flow_may_be_put_together_before_there_is_a_queue(
    library: ModuleType, tmp_path: Path
) -> None:
    steps = wopr.chain(library.add.s(1), library.add.s(5))
    async with on(tmp_path, "a.duckdb", library) as queue:
        flow = await queue.enqueue_flow(steps)
        await drain(queue)
        assert await flow.result(timeout=20) == 7


async def test_a_task_in_no_queue_says_how_to_put_it_into_one() -> None:
    with pytest.raises(TaskNotRegisteredError) as caught:
        await ship.enqueue(1)
    for part in (repr(ship.name), "queue.include(", "TaskQueue(tasks=", "--discover"):
        assert part in str(caught.value)


async def test_the_queue_that_it_is_not_in_says_so_too(tmp_path: Path) -> None:
    async with on(tmp_path, "a.duckdb") as queue:
        with pytest.raises(TaskNotRegisteredError, match=r"queue\.include\("):
            await queue.enqueue(ship, (1,))


async def test_in_two_queues_the_call_has_to_say_which(tmp_path: Path) -> None:
    first, second = on(tmp_path, "first.duckdb", ship), on(tmp_path, "second.duckdb", ship)
    async with first, second:
        with pytest.raises(InvalidCallError, match=r"queue\.enqueue\(task") as caught:
            await ship.enqueue(1)
        assert "first.duckdb" in str(caught.value)
        assert "second.duckdb" in str(caught.value)
        handle = await second.enqueue(ship, (2,))
        assert (await first.get_tasks(), len(await second.get_tasks())) == ([], 1)
        await drain(second)
        assert await handle.result() == 2


@pytest.mark.parametrize("number", range(3))
async def test_the_queue_of_each_test_is_its_own(number: int, tmp_path: Path) -> None:
    queue = on(tmp_path, "app.duckdb", ship)  # as an application factory makes it for each test
    if number == 1:
        return  # not even opened, let alone closed
    async with isolated(queue):
        await ship.enqueue(number)
        assert len(await queue.get_tasks()) == 1


async def test_a_queue_that_was_shut_down_is_in_nobodys_way(tmp_path: Path) -> None:
    before, after = on(tmp_path, "before.duckdb", ship), on(tmp_path, "after.duckdb", ship)
    async with before:
        pass
    async with after:
        await ship.enqueue(1)
        assert len(await after.get_tasks()) == 1
    assert await before.get_tasks() == []  # it opened again to answer, and is there again
    async with before, after:
        with pytest.raises(InvalidCallError, match="2 queues"):
            await ship.enqueue(2)


async def test_a_queue_that_nobody_keeps_is_not_opened_again_by_a_call(tmp_path: Path) -> None:
    async def one_test() -> None:
        async with on(tmp_path, "gone.duckdb", ship) as queue:
            await ship.enqueue(len(await queue.get_tasks()))

    await one_test()
    with pytest.raises(TaskNotRegisteredError):
        await ship.enqueue(1)


async def test_the_only_queue_opens_again_after_a_shutdown(tmp_path: Path) -> None:
    queue = on(tmp_path, "only.duckdb", ship)
    async with queue:
        await ship.enqueue(1)
    await ship.enqueue(2)
    assert len(await queue.get_tasks()) == 2
    await queue.shutdown()


def test_putting_it_in_twice_changes_nothing(tmp_path: Path, library: ModuleType) -> None:
    queue = on(tmp_path, "a.duckdb", library, library.send)
    before = inside(queue).registry.get("parcels.send")
    queue.include(library, library.send)
    assert inside(queue).registry.get("parcels.send") is before


def test_a_name_of_two_functions_is_refused_with_both_places(tmp_path: Path) -> None:
    @wopr.task(name="ship.it")
    def one() -> None: ...

    @wopr.task(name="ship.it")
    def two() -> None: ...

    queue = on(tmp_path, "a.duckdb", one)
    with pytest.raises(DuplicateTaskError) as caught:
        queue.include(two)
    assert str(caught.value).count("test_declared.py:") == 2


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda: wopr.task(prioritty=3), "prioritty"),  # type: ignore[call-overload]
        (lambda: wopr.task(timeout=-1), "timeout"),
        (lambda: wopr.task(max_retries="three"), "max_retries"),  # type: ignore[call-overload]
        (lambda: wopr.task(name=" "), "name"),
        (lambda: wopr.task(ship), "function"),
        (lambda: wopr.task(7), "not on 7"),  # type: ignore[call-overload]
    ],
    ids=["unknown", "timeout", "retries", "name", "task", "number"],
)
def test_a_wrong_option_is_refused_where_it_is_written(wrong: object, said: str) -> None:
    assert callable(wrong)
    with pytest.raises(InvalidCallError, match=said):
        wrong()


def test_what_is_no_declared_task_is_refused_and_nothing_is_put_in(tmp_path: Path) -> None:
    queue = on(tmp_path, "a.duckdb")
    bound = queue.task(name="bound")(lambda: None)
    other = on(tmp_path, "b.duckdb")
    for source in (bound, sys, "shop.tasks", print, None):
        with pytest.raises(InvalidCallError, match=r"@wopr\.task"):
            other.include(ship, source)  # type: ignore[arg-type]
    assert other.task_functions == {}


def test_a_queue_takes_a_list_of_tasks(tmp_path: Path) -> None:
    for one in (ship, sys, "parcels"):
        with pytest.raises(InvalidCallError, match="tasks must be a list of tasks"):
            TaskQueue(enabled=True, database=tmp_path / "a", tasks=one)  # type: ignore[arg-type]


async def test_marks_protect_a_declared_task(tmp_path: Path) -> None:
    @wopr.task
    @protected
    async def secret() -> None: ...

    async with on(tmp_path, "a.duckdb", secret):
        with pytest.raises(AuthSnapshotUnavailableError):
            await secret.enqueue()


def test_a_mark_above_the_declaration_is_refused() -> None:
    @wopr.task
    async def open_to_all() -> None: ...

    with pytest.raises(InvalidCallError, match="below the registration"):
        protected(open_to_all.function)


async def test_a_schedule_is_declared_in_each_queue_that_its_task_is_put_into(
    tmp_path: Path,
) -> None:
    @wopr.schedule(name="nightly", at="03:00")
    @wopr.schedule(every=60)
    @wopr.task(name="tidy")
    async def tidy() -> None: ...

    for name in ("a.duckdb", "b.duckdb"):
        async with on(tmp_path, name, tidy) as queue:
            queue.include(tidy)
            await queue.schedules.sync()
            found = {one.name: one.task for one in await queue.schedules.list()}
            assert found == {"nightly": "tidy", "tidy": "tidy"}


def test_a_schedule_of_what_is_no_declared_task_is_refused(tmp_path: Path) -> None:
    bound = on(tmp_path, "a.duckdb").task(name="bound")(lambda: None)
    for wrong in (bound, print):
        with pytest.raises(InvalidCallError, match=r"@wopr\.task"):
            wopr.schedule(every=5)(wrong)  # type: ignore[type-var]
    with pytest.raises(InvalidScheduleSpecificationError):
        wopr.schedule()


async def test_a_declared_task_runs_in_a_process(tmp_path: Path) -> None:
    (tmp_path / "heavy.py").write_text(
        "import wopr\n\n@wopr.task(executor='process')\ndef square(n: int) -> int:\n"
        "    return n * n\n"
    )
    (tmp_path / "main.py").write_text(
        "import asyncio, heavy\nfrom wopr import TaskQueue\n\n"
        "async def main():\n"
        "    async with TaskQueue(enabled=True, database='q.duckdb', tasks=[heavy]) as queue:\n"
        "        await queue.start_workers()\n"
        "        print(await (await heavy.square.enqueue(12)).result(timeout=50))\n\n"
        "if __name__ == '__main__':\n    asyncio.run(main())\n"
    )
    assert run_ok([sys.executable, "main.py"], tmp_path).strip() == "144"


@pytest.mark.parametrize("how", [["app.py"], ["-m", "app"]])
def test_a_program_names_its_tasks_as_its_importers_do(how: list[str], tmp_path: Path) -> None:
    program = "import wopr\n\n@wopr.task\ndef f() -> None: ...\n\nprint(f.name)"
    (tmp_path / "app.py").write_text(program)
    assert run_ok([sys.executable, *how], tmp_path).strip() == "app.f"
