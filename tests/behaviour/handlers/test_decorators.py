"""The decorators annotate, check their options at once, and change nothing else."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest

from wopr import InvalidCallError, TaskPriority, TaskQueue
from wopr.handlers import TaskHandler, task
from wopr.queue.queue import inside


def plain(self: object, n: int) -> int:
    return n


@pytest.mark.parametrize(
    "decorator",
    [task, task(), task(name="n", max_retries=3)],
    ids=["without parentheses", "with parentheses", "with options"],
)
def test_a_decorated_method_is_the_method_itself(decorator: Callable[[Any], Any]) -> None:
    def method(self: object, n: int) -> int:
        return n

    assert method is decorator(method)
    assert 3 == method(None, 3)


def test_a_decorated_class_is_the_class_itself() -> None:
    class Plain:
        @task
        def double(self, n: int) -> int:
            return 2 * n

    assert Plain is TaskHandler(category="c")(Plain)
    assert 4 == Plain().double(2)


def test_a_method_without_a_decorator_is_an_ordinary_one() -> None:
    @TaskHandler()
    class Mixed:
        @task
        def build(self) -> int:
            return self.part() + 1

        def part(self) -> int:
            return 1

    handler = TaskQueue(enabled=False).register_handler(Mixed)
    assert ["build"] == list(handler.tasks)
    assert 2 == Mixed().build()


@pytest.mark.parametrize("kind", [staticmethod, classmethod])
def test_a_static_or_class_method_is_refused_in_either_order(kind: Any) -> None:
    with pytest.raises(InvalidCallError, match="plain is a static method or a class method"):
        task(kind(plain))

    class Wrong:
        @kind
        @task
        def build(*_: object) -> None: ...

    with pytest.raises(InvalidCallError, match=r"build is a static method or a class method"):
        TaskQueue(enabled=False).register_handler(TaskHandler()(Wrong))


@pytest.mark.parametrize("target", ["name", int, property(plain), functools.partial, 7])
def test_what_is_no_method_is_refused(target: Any) -> None:
    with pytest.raises(InvalidCallError, match="@task goes on a method of a @TaskHandler"):
        task(target)


def test_a_method_that_holds_no_attributes_is_refused() -> None:
    with pytest.raises(InvalidCallError, match="can't be put on len: it takes no attributes"):
        task(len)


def test_a_method_is_decorated_once() -> None:
    with pytest.raises(InvalidCallError, match=r"twice has @task already"):

        class Wrong:
            @task
            @task(category="c")
            def twice(self) -> None: ...


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"name": ""}, "name must have 1 to 200 characters"),
        ({"category": 3}, "category must be a str, not int 3"),
        ({"priority": 1}, "priority must be a TaskPriority"),
        ({"max_retries": -1}, "max_retries must be a whole number from 0"),
        ({"retry": "often"}, "retry"),
        ({"timeout": 0}, "timeout must be more than 0 seconds"),
        ({"soft_timeout": "5"}, "soft_timeout must be a number of seconds"),
        ({"colour": "red"}, "There is no option 'colour'; there are category, key, limit, max"),
    ],
)
@pytest.mark.parametrize("decorator", [task, TaskHandler])
def test_a_wrong_option_is_refused_where_it_is_written(
    decorator: Any, options: dict[str, Any], text: str
) -> None:
    with pytest.raises(InvalidCallError, match=text):
        decorator(**options)


def test_the_class_decorator_without_its_parentheses_is_refused() -> None:
    with pytest.raises(InvalidCallError, match=r"Write @TaskHandler\(\) with parentheses"):

        @TaskHandler
        class Wrong: ...


def test_the_class_decorator_goes_on_classes() -> None:
    with pytest.raises(InvalidCallError, match=r"goes on a class, not on .*plain"):
        TaskHandler()(plain)  # type: ignore[type-var]


def test_the_method_s_options_come_before_those_of_the_class() -> None:
    @TaskHandler(category="reports", priority=TaskPriority.LOW, timeout=5)
    class Reports:
        @task
        def usual(self) -> None: ...

        @task(category="urgent", priority=TaskPriority.HIGH)
        def now(self) -> None: ...

    class Weekly(Reports):
        @task
        def weekly(self) -> None: ...

    queue = TaskQueue(enabled=False)
    queue.register_handler(Weekly)
    definitions = inside(queue).registry.definitions
    assert {
        "usual": ("reports", TaskPriority.LOW, 5),
        "now": ("urgent", TaskPriority.HIGH, 5),
        "weekly": ("reports", TaskPriority.LOW, 5),
    } == {
        name.rpartition(".")[2]: (item.category, item.priority, item.run_options.timeout)
        for name, item in definitions.items()
    }
