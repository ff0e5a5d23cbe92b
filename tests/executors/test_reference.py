"""Functions are found in other processes by module and name, or refused when registered."""

from __future__ import annotations

import functools
import importlib
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support import process_tasks
from wopr import InvalidCallError, TaskQueue
from wopr.executors.reference import check_reference, function_of, reference_of
from wopr.handlers import TaskHandler, task


def at_the_top() -> None: ...


@TaskHandler()
class Handler:
    @task
    def work(self) -> None: ...


FOUND = [
    process_tasks.double,
    process_tasks.async_double,
    process_tasks.doubled.function,
    process_tasks.layers.__wrapped__.function,
    process_tasks.Shelf.put,
    math.sqrt,
]


@pytest.mark.parametrize("function", FOUND, ids=lambda function: function.__qualname__)
def test_a_function_is_found_again_as_it_was_registered(function: Callable[..., Any]) -> None:
    check_reference(function)
    assert function is function_of(reference_of(function))


REFUSED = [
    (lambda: None, "lambda"),
    (functools.partial(at_the_top), "partial"),
    (process_tasks.Shelf().take, "bound to an object"),
    (process_tasks.LoudError(1), "no module and name"),
]


@pytest.mark.parametrize(("function", "why"), REFUSED, ids=[why for _, why in REFUSED])
def test_what_has_no_name_that_others_know_is_refused(
    function: Callable[..., Any], why: str
) -> None:
    for look in (check_reference, reference_of):
        with pytest.raises(InvalidCallError, match=f"can't run in another process.*{why}"):
            look(function)


def test_a_function_inside_of_another_is_refused_by_its_name() -> None:
    def inner() -> None: ...

    with pytest.raises(InvalidCallError, match=r"<locals>\.inner can't.*inside of another"):
        check_reference(inner)


def test_a_method_of_a_handler_is_refused() -> None:
    handler = TaskQueue(enabled=True).register_handler(Handler)
    with pytest.raises(InvalidCallError, match=r"Handler\.work .*something else"):
        check_reference(handler.task(Handler.work).function)


def test_a_function_whose_name_was_taken_by_another_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    function = process_tasks.double
    monkeypatch.setattr(process_tasks, "double", 7)
    with pytest.raises(InvalidCallError, match=r"support\.process_tasks\.double is something else"):
        check_reference(function)


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "shop_tasks", raising=False)
    path = tmp_path / "shop_tasks.py"
    path.write_text(
        "from wopr.executors.reference import check_reference\n"
        "def checked(function):\n"
        "    check_reference(function)\n"
        "    return function\n"
        "@checked\n"
        "def sell(): return 1\n"
        "class Till:\n"
        "    @staticmethod\n"
        "    @checked\n"
        "    def close(): return 2\n"
    )
    return path


def test_a_decorator_may_check_while_its_module_is_imported_and_when_it_is_reloaded(
    module: Path,
) -> None:
    shop = importlib.import_module("shop_tasks")
    old = shop.sell
    module.write_text(module.read_text().replace("return 1", "return 11"))
    importlib.invalidate_caches()
    shop = importlib.reload(shop)
    assert old is not shop.sell
    assert [11, 2] == [function_of(reference_of(one))() for one in (shop.sell, shop.Till.close)]
    with pytest.raises(InvalidCallError, match="something else"):
        reference_of(old)


def test_a_function_that_is_not_there_says_what_to_look_at() -> None:
    reference = reference_of(process_tasks.double)
    gone = type(reference)("support.process_tasks", "gone", 0)
    with pytest.raises(InvalidCallError, match="Are the same files installed"):
        function_of(gone)
    with pytest.raises(InvalidCallError, match="at a prompt or in a notebook"):
        function_of(type(reference)("__main__", "gone", 0))
