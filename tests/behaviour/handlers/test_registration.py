"""A registered handler: names, its one instance, and how it is made."""

from __future__ import annotations

import abc
import asyncio
import threading
from typing import Any

import pytest
from tenacity import wait_none
from that_depends import BaseContainer, providers

from support.queues import PATIENCE, DuckDBHome, ended, running
from wopr import (
    DuplicateTaskError,
    InvalidCallError,
    TaskFailedError,
    TaskNotFoundError,
    TaskQueue,
    TaskStatus,
)
from wopr.handlers import TaskHandler, task
from wopr.handlers.instance import Instance


class Store:
    """What handlers depend on."""

    def __init__(self, numbers: tuple[int, ...] = (1, 2, 3)) -> None:
        """Hold numbers."""
        self.numbers = numbers


@TaskHandler(category="c")
class Reports:
    """A handler with a dependency."""

    def __init__(self, store: Store) -> None:
        """Use ``store``."""
        self.store = store

    @task
    async def total(self, extra: int = 0) -> int:
        """Add up."""
        return sum(self.store.numbers) + extra

    @task
    def largest(self) -> int:
        """Compare, in a thread."""
        return max(self.store.numbers)

    @task
    def who(self) -> int:
        """Tell which instance this is."""
        return id(self)

    def ordinary(self) -> None:
        """Be no task."""


@TaskHandler(category="c")
class Base:
    """A handler that others inherit from."""

    @task
    def kept(self) -> str:
        """Stay."""
        return type(self).__name__

    @task
    def changed(self) -> str:
        """Be overridden by a task."""
        return "base"

    @task
    def dropped(self) -> str:
        """Be overridden by an ordinary method."""
        return "base"


class Child(Base):
    """A handler by inheritance."""

    @task
    def changed(self) -> str:
        """Be another task."""
        return "child"

    def dropped(self) -> str:
        """Be no task."""
        return "child"


def off() -> TaskQueue:
    """Return a queue that needs no file."""
    return TaskQueue(enabled=False)


async def test_methods_run_with_the_dependencies_of_the_factory(home: DuckDBHome) -> None:
    queue = home.queue()
    handler = queue.register_handler(Reports, factory=lambda: Reports(Store((1, 2, 39))))
    async with running(queue, c=1):
        total = await handler.task(Reports.total).enqueue(extra=1)
        largest = await handler.task("largest").enqueue()
        by_name = await queue.enqueue(f"{__name__}.Reports.total", (8,))
        by_task = await queue.enqueue(handler.tasks["total"])
        results = [await handle.result(PATIENCE) for handle in (total, largest, by_name, by_task)]
    assert [43, 39, 50, 42] == results


def test_a_task_is_called_module_class_method() -> None:
    handler = off().register_handler(Reports, factory=lambda: Reports(Store()))
    assert f"{__name__}.Reports.total" == handler.task(Reports.total).name


def test_names_can_be_given_for_the_class_and_for_a_method() -> None:
    @TaskHandler(name="mail")
    class Named:
        @task
        def send(self) -> None: ...

        @task(name="mailbox.check")
        def check(self) -> None: ...

    handler = off().register_handler(Named)
    assert ["mail.send", "mailbox.check"] == [one.name for one in handler.tasks.values()]


def test_a_class_inside_of_a_function_is_called_without_it() -> None:
    @TaskHandler()
    class Local:
        @task
        def run(self) -> None: ...

    handler = off().register_handler(Local)
    assert f"{__name__}.Local.run" == handler.task(Local.run).name


async def test_inherited_tasks_belong_to_the_class_that_is_registered(home: DuckDBHome) -> None:
    queue = home.queue()
    base, child = queue.register_handler(Base), queue.register_handler(Child)
    assert ["kept", "changed", "dropped"] == list(base.tasks)
    assert ["kept", "changed"] == list(child.tasks)
    async with running(queue, c=1):
        results = [
            await (await one.enqueue()).result(PATIENCE)
            for one in (base.task(Base.kept), child.task(Base.kept), child.task(Child.changed))
        ]
    assert ["Base", "Child", "child"] == results


async def test_there_is_one_instance_per_queue_made_at_the_first_run(home: DuckDBHome) -> None:
    made: list[Reports] = []

    def factory() -> Reports:
        made.append(Reports(Store()))
        return made[-1]

    queue = home.queue()
    handler = queue.register_handler(Reports, factory)
    other = off().register_handler(Reports, factory)
    async with running(queue, c=8):
        handles = await handler.task("who").enqueue_many([()] * 20)
        seen = {await handle.result(PATIENCE) for handle in handles}
        assert await (await handler.task(Reports.total).enqueue()).result(PATIENCE) == 6
    assert seen == {id(made[0])}
    assert len(made) == 1
    assert other.task(Reports.who)() == id(made[1])


def test_nobody_else_makes_the_instance_at_the_same_time() -> None:
    free: list[bool] = []

    def make() -> Store:
        other = threading.Thread(target=lambda: free.append(instance._lock.acquire(blocking=False)))
        other.start()
        other.join()
        return Store()

    instance = Instance(Store, make)
    assert instance.get() is instance.get()
    assert [False] == free


def test_a_factory_that_needs_what_it_makes_fails_and_does_not_hang() -> None:
    def factory() -> Reports:
        return Reports(Store((handler.task(Reports.who)(),)))

    handler = off().register_handler(Reports, factory)
    with pytest.raises(RecursionError):
        handler.task(Reports.who)()


async def test_a_factory_that_fails_fails_that_attempt_and_is_asked_again(
    home: DuckDBHome,
) -> None:
    calls: list[int] = []

    def factory() -> Reports:
        calls.append(1)
        if len(calls) < 3:
            raise OSError("the database is away")
        return Reports(Store())

    queue = home.queue()
    handler = queue.register_handler(Reports, factory)
    async with running(queue, c=1):
        once = await handler.task(Reports.largest).enqueue()
        with pytest.raises(TaskFailedError, match="OSError: the database is away"):
            await once.result(PATIENCE)
        often = handler.task(Reports.total).options(max_retries=1, retry=wait_none())
        assert 6 == await (await often.enqueue()).result(PATIENCE)
    assert len(calls) == 3


async def test_a_factory_of_something_else_fails_the_attempt(home: DuckDBHome) -> None:
    queue = home.queue()
    handler = queue.register_handler(Reports, factory=lambda: None)  # type: ignore[arg-type,return-value]
    async with running(queue, c=1):
        (info,) = await ended(queue, (await handler.task(Reports.total).enqueue()).id)
    assert info.status is TaskStatus.FAILED
    assert "The factory of Reports must return a Reports and returned NoneType" in str(info.error)


async def test_the_loop_goes_on_while_a_thread_makes_the_instance(home: DuckDBHome) -> None:
    making, go_on = threading.Event(), threading.Event()

    def factory() -> Reports:
        making.set()
        assert go_on.wait(PATIENCE)
        return Reports(Store())

    queue = home.queue()
    handler = queue.register_handler(Reports, factory)
    async with running(queue, c=2):
        in_thread = await handler.task(Reports.largest).enqueue()
        assert await asyncio.to_thread(making.wait, PATIENCE)
        on_loop = await handler.task(Reports.total).enqueue()
        while len(queue.running_tasks) < 2:
            await asyncio.sleep(0)
        go_on.set()
        assert [3, 6] == [await handle.result(PATIENCE) for handle in (in_thread, on_loop)]


async def test_a_provider_makes_the_instances_of_handlers_without_a_factory(
    home: DuckDBHome,
) -> None:
    asked: list[type] = []

    def resolve(wanted: type) -> Any:
        asked.append(wanted)
        return wanted(Store((4,))) if wanted is Reports else wanted()

    queue = home.queue()
    queue.provider = resolve
    handler, base = queue.register_handler(Reports), queue.register_handler(Base, Base)
    async with running(queue, c=1):
        assert 4 == await (await handler.task(Reports.total).enqueue()).result(PATIENCE)
        assert "Base" == await (await base.task(Base.kept).enqueue()).result(PATIENCE)
    assert asked == [Reports]


async def test_a_container_of_a_library_plugs_in(home: DuckDBHome) -> None:
    class Container(BaseContainer):
        store = providers.Singleton(Store, (5, 6))
        reports = providers.Factory(Reports, store=store.cast)

    queue = home.queue()
    handler = queue.register_handler(Reports, factory=Container.reports.resolve_sync)
    async with running(queue, c=1):
        assert 11 == await (await handler.task(Reports.total).enqueue()).result(PATIENCE)


def test_a_class_that_needs_arguments_is_refused_without_a_factory() -> None:
    with pytest.raises(InvalidCallError) as refused:
        off().register_handler(Reports)
    assert (
        f"{__name__}.Reports can't be made without arguments (missing a required argument: "
        "'store'). Give it a factory=lambda: …, or set queue.provider before."
    ) == str(refused.value)


def test_an_abstract_class_is_refused_without_a_factory() -> None:
    @TaskHandler()
    class Abstract(abc.ABC):
        @task
        @abc.abstractmethod
        def run(self) -> None: ...

    with pytest.raises(InvalidCallError, match=r"Abstract is abstract, so nobody can make"):
        off().register_handler(Abstract)  # type: ignore[type-abstract]


async def _coroutine() -> Reports:
    return Reports(Store())


@pytest.mark.parametrize("factory", [_coroutine, Store(), 7])
def test_a_factory_is_a_plain_function(factory: Any) -> None:
    with pytest.raises(InvalidCallError, match="factory= of Reports must be a plain function"):
        off().register_handler(Reports, factory)


def test_a_class_without_its_decorator_is_refused() -> None:
    with pytest.raises(InvalidCallError, match=r"Store is no task handler\. Put @TaskHandler\(\)"):
        off().register_handler(Store)


def test_an_instance_is_refused() -> None:
    with pytest.raises(InvalidCallError, match=r"takes a class with @TaskHandler\(\), not"):
        off().register_handler(Reports(Store()))  # type: ignore[arg-type]


def test_a_class_without_tasks_is_refused() -> None:
    @TaskHandler()
    class Empty:
        def run(self) -> None: ...

    with pytest.raises(InvalidCallError, match="Empty has no method with @task or @schedule"):
        off().register_handler(Empty)


def test_a_method_without_self_is_refused() -> None:
    @TaskHandler()
    class Wrong:
        @task
        def run() -> None: ...  # type: ignore[misc]

    with pytest.raises(InvalidCallError, match=r"Wrong\.run has no self"):
        off().register_handler(Wrong)


def test_a_class_is_registered_once_per_queue() -> None:
    queue = off()
    queue.register_handler(Base)
    with pytest.raises(DuplicateTaskError, match=r"Base is registered with this queue already"):
        queue.register_handler(Base)


def test_a_name_that_is_taken_is_refused() -> None:
    @TaskHandler()
    class Twice:
        @task(name="same")
        def one(self) -> None: ...

        @task(name="same")
        def two(self) -> None: ...

    with pytest.raises(DuplicateTaskError, match=r"'same' is taken by .*Twice\.one; .*Twice\.two"):
        off().register_handler(Twice)


def test_a_given_name_can_t_be_shared_by_two_subclasses() -> None:
    @TaskHandler()
    class Parent:
        @task(name="shared")
        def run(self) -> None: ...

    class One(Parent): ...

    class Two(Parent): ...

    queue = off()
    queue.register_handler(One)
    with pytest.raises(DuplicateTaskError, match=r"'shared' is taken by .*One\.run; .*Two\.run"):
        queue.register_handler(Two)


def test_the_name_of_a_function_is_refused_too() -> None:
    queue = off()
    queue.register_task(f"{__name__}.Base.kept")(lambda: None)
    with pytest.raises(DuplicateTaskError, match=r"Base\.kept' is taken by .*<lambda>"):
        queue.register_handler(Base)


def test_a_reloaded_class_takes_the_place_of_the_old_one() -> None:
    def load() -> type[Any]:
        @TaskHandler()
        class Reloaded:
            @task
            def run(self) -> str:
                return "new" if versions else "old"

        return Reloaded

    versions: list[int] = []
    queue = off()
    queue.register_handler(load())
    versions.append(1)
    handler = queue.register_handler(load())
    assert handler.tasks["run"]() == "new"


def test_the_handlers_of_a_queue_are_a_copy() -> None:
    queue = off()
    handler = queue.register_handler(Base)
    queue.handlers.clear()
    handler.tasks.clear()
    assert {Base: handler} == queue.handlers
    assert ["kept", "changed", "dropped"] == list(handler.tasks)
    assert "<RegisteredHandler Base: kept, changed, dropped>" == repr(handler)


def test_a_task_that_a_handler_does_not_have_is_named_with_those_it_has() -> None:
    handler = off().register_handler(Base)
    with pytest.raises(TaskNotFoundError) as missing:
        handler.task("keptt")
    assert (
        "Base has no task 'keptt'. Did you mean 'kept'? Only methods with @task can be run; it "
        "has kept, changed, dropped."
    ) == str(missing.value)
    with pytest.raises(TaskNotFoundError, match="Base has no task 'ordinary'"):
        handler.task(Reports.ordinary)  # type: ignore[arg-type]


def test_arguments_are_checked_by_the_method_s_signature_without_self() -> None:
    handler = off().register_handler(Reports, lambda: Reports(Store()))
    total = handler.task(Reports.total)
    handler.check_call(total, (1,), {})
    with pytest.raises(InvalidCallError, match=r"too many positional .*\(extra: int = 0\)"):
        handler.check_call(total, (1, 2), {})
    with pytest.raises(InvalidCallError, match="Argument 'extra'"):
        handler.check_call(total, ("one",), {})


async def test_a_call_of_a_handler_s_own_method_in_a_run_is_an_ordinary_call(
    home: DuckDBHome,
) -> None:
    @TaskHandler(category="c")
    class Steps:
        @task
        async def outer(self) -> int:
            return await self.inner() + self.third()

        @task
        async def inner(self) -> int:
            return 1

        @task
        def third(self) -> int:
            return 2

    queue = home.queue()
    handler = queue.register_handler(Steps)
    async with running(queue, c=1):
        assert 3 == await (await handler.task(Steps.outer).enqueue()).result(PATIENCE)
        assert 1 == len(await queue.get_tasks())


async def test_what_a_handler_raises_is_shown_without_our_own_frames(home: DuckDBHome) -> None:
    @TaskHandler(category="c")
    class Broken:
        @task
        def run(self) -> None:
            raise ValueError("no")

    queue = home.queue()
    handler = queue.register_handler(Broken)
    async with running(queue, c=1):
        task_id = (await handler.task(Broken.run).enqueue()).id
        await ended(queue, task_id)
        last = (await queue.get_history(task_id))[-1]
    assert last.traceback is not None
    assert "ValueError: no" in last.traceback
    assert "wopr/handlers" not in last.traceback
