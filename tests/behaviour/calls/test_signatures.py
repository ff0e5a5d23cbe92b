"""A signature that the running program shows is whole: ``help()``, notebooks, editors."""

from __future__ import annotations

import inspect
import pydoc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import wopr
from wopr import Task, TaskQueue
from wopr.calls.options import HandlerOptions, Options, ScheduleOptions, TaskOptions
from wopr.core.schedules import Schedules
from wopr.handlers import TaskHandler, schedule, task
from wopr.notifications import AlertBook, NotificationService
from wopr.notifications.alertbook import AlertOptions

TAKES = [
    (TaskQueue.task, TaskOptions),
    (wopr.task, TaskOptions),
    (wopr.schedule, ScheduleOptions),
    (TaskQueue.register_task, TaskOptions),
    (TaskQueue.enqueue, Options),
    (Task.options, Options),
    (TaskQueue.schedule, ScheduleOptions),
    (Schedules.add, ScheduleOptions),
    (Schedules.declare, ScheduleOptions),
    (Schedules.update, ScheduleOptions),
    (TaskHandler, HandlerOptions),
    (task, HandlerOptions),
    (schedule, ScheduleOptions),
    (NotificationService.add_alert, AlertOptions),
    (AlertBook.add, AlertOptions),
]


@pytest.mark.parametrize(
    ("call", "options"),
    [pytest.param(*pair, id=f"{pair[0].__module__}.{pair[0].__qualname__}") for pair in TAKES],
)
def test_a_signature_showed_options_in_place_of_the_options_that_there_are(
    call: Callable[..., Any], options: type
) -> None:
    shown = inspect.signature(call).parameters
    assert options.__annotations__.keys() <= shown.keys()
    assert [] == [name for name, one in shown.items() if one.kind is one.VAR_KEYWORD]


def public_calls() -> list[tuple[str, Callable[..., Any]]]:
    public = {name: getattr(wopr, name) for name in wopr.__all__}
    methods = [
        (f"{cls.__name__}.{name}", call)
        for cls in [*(c for c in public.values() if isinstance(c, type)), Schedules]
        for name, call in inspect.getmembers(cls, inspect.isfunction)
        if not name.startswith("_")
    ]
    return methods + [item for item in public.items() if inspect.isfunction(item[1])]


def test_a_signature_showed_the_address_of_an_object_as_a_default() -> None:
    addressed = [name for name, call in public_calls() if " at 0x" in str(inspect.signature(call))]
    assert addressed == []


def test_no_public_call_hides_its_options_behind_unpack() -> None:
    hidden = [name for name, call in public_calls() if "Unpack" in str(inspect.signature(call))]
    assert hidden == []


def test_the_signature_of_enqueue_showed_no_parameter_of_the_function() -> None:
    queue = TaskQueue(enabled=False)

    @queue.task
    async def send(to: str, copies: int = 1) -> list[int]: ...

    @queue.task
    def plain(to, /):  # type: ignore[no-untyped-def]
        return to

    assert "(to: str, copies: int = 1) -> TaskHandle[list[int]]" == as_text(send.enqueue)
    assert "(to, /) -> TaskHandle[Any]" == as_text(plain.enqueue)
    assert "enqueue(to:" in pydoc.plain(pydoc.render_doc(send.enqueue)).replace("'", "")


def as_text(call: Callable[..., Any]) -> str:
    return str(inspect.signature(call)).replace("'", "")


async def test_a_function_without_a_signature_is_enqueued_all_the_same(tmp_path: Path) -> None:
    async with TaskQueue(enabled=True, database=tmp_path / "tasks.duckdb") as queue:

        @queue.task(name="odd")
        def odd(n: int) -> int:
            return n

        function = odd.function
        function.__signature__ = "wrong"  # type: ignore[attr-defined]
        assert inspect.iscoroutinefunction(odd.enqueue)
        handle = await odd.enqueue(3)
        assert "odd" == (await handle.info()).name
