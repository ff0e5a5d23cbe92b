"""A name means one function: a second one is refused, the same one defined anew replaces it."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import pytest

from support.programs import run_ok
from wopr import DuplicateTaskError, TaskQueue


def off() -> TaskQueue:
    return TaskQueue(enabled=False)


def bare(function: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap without functools.wraps, as many decorators do."""

    def inner(*args: Any) -> Any:
        return function(*args)

    return inner


def labelled(label: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def inner(*args: Any) -> Any:
            return label, function(*args)

        return inner

    return decorate


class Wrapper:
    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def __call__(self, *args: Any) -> Any:
        return self.function(*args)


def region(name: str) -> Callable[[], str]:
    def sync_region() -> str:
        return name

    return sync_region


def with_default(name: str) -> Callable[[str], str]:
    def sync_region(where: str = name) -> str:
        return where

    return sync_region


class Greeter:
    def __init__(self, word: str) -> None:
        self.word = word

    def greet(self) -> str:
        return self.word


def send_mail() -> str:
    return "mail"


def charge_card() -> str:
    return "card"


def nothing(*args: Any) -> None: ...


twins = [lambda: "one", lambda: "two"]

OTHERS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "a decorator without wraps": (bare(send_mail), bare(charge_card)),
    "a decorator with other arguments": (labelled("a")(send_mail), labelled("b")(send_mail)),
    "a class as decorator": (Wrapper(send_mail), Wrapper(charge_card)),
    "closures of one factory": (region("north"), region("south")),
    "defaults of one factory": (with_default("north"), with_default("south")),
    "lambdas": (lambda: "one", lambda: "two"),
    "lambdas of one line": (twins[0], twins[1]),
    "partials": (functools.partial(nothing, 1), functools.partial(nothing, 2)),
    "partials of two functions": (functools.partial(send_mail), functools.partial(charge_card)),
    "methods of two objects": (Greeter("hi").greet, Greeter("ho").greet),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_another_function_is_refused(kind: str) -> None:
    first, second = OTHERS[kind]
    queue = off()
    queue.register_task("job")(first)
    with pytest.raises(DuplicateTaskError, match="Task name 'job' is taken by"):
        queue.register_task("job")(second)
    assert first is queue.task_functions["job"]


def test_the_refusal_names_both_places_and_what_the_decorator_hides() -> None:
    queue = off()
    queue.task(bare(send_mail))
    with pytest.raises(DuplicateTaskError) as refused:
        queue.task(bare(charge_card))
    said = str(refused.value)
    for function in (send_mail, charge_card):
        code = function.__code__
        assert f"{function.__name__} at {code.co_filename}:{code.co_firstlineno}" in said
    assert "functools.wraps" in said


ALIKE: dict[str, Callable[[], Callable[..., Any]]] = {
    "a function": lambda: send_mail,
    "a closure over the same": lambda: region("north"),
    "a bare decorator": lambda: bare(send_mail),
    "a partial": lambda: functools.partial(nothing, 1, "a"),
    "a method": functools.partial(getattr, Greeter("hi"), "greet"),
    "an object": lambda: Wrapper(send_mail),
}


@pytest.mark.parametrize("kind", ALIKE)
def test_the_same_again_is_no_harm(kind: str) -> None:
    queue = off()
    for _ in range(2):
        queue.register_task("job")(ALIKE[kind]())


# -- the same place, executed anew ------------------------------------------------

DECORATORS = """
import functools

def bare(function):
    def inner(*args):
        return function(*args)
    return inner

def labelled(label):
    def decorate(function):
        @functools.wraps(function)
        def inner(*args):
            return label, function(*args)
        return inner
    return decorate
"""
MODULE = """
import functools

from decorators_of_names import bare, labelled
{gap}
def send():
    return {answer!r}

@bare
def hidden():
    return {answer!r}

@labelled(object())
def wrapped():
    return {answer!r}

class Greeter:
    def greet(self):
        return {answer!r}

tasks = {{
    "send": send,
    "hidden": hidden,
    "wrapped": wrapped,
    "partial": functools.partial(send),
    "method": Greeter().greet,
    "lambda": lambda: {answer!r},
}}
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (tmp_path / "decorators_of_names.py").write_text(DECORATORS)
    (tmp_path / "shop_of_names.py").write_text(MODULE.format(gap="", answer="old"))
    yield importlib.import_module("shop_of_names")
    del sys.modules["shop_of_names"], sys.modules["decorators_of_names"]


def rewrite(module: ModuleType) -> None:
    """Move and change everything in it."""
    text = MODULE.format(gap="\n" * 7, answer="new, and longer")
    Path(str(module.__file__)).write_text(text)
    importlib.invalidate_caches()


def test_a_reloaded_module_replaces_and_says_so(
    module: ModuleType, caplog: pytest.LogCaptureFixture
) -> None:
    queue = off()
    for name, function in module.tasks.items():
        queue.register_task(name)(function)
    rewrite(module)
    caplog.set_level(logging.INFO, "wopr")
    for name, function in importlib.reload(module).tasks.items():
        queue.register_task(name)(function)
        assert function is queue.task_functions[name]
        assert f"Task {name!r} is " in caplog.text
    assert len(module.tasks) == len(caplog.records)
    assert {"INFO"} == {record.levelname for record in caplog.records}


def test_a_module_that_is_imported_anew_replaces(module: ModuleType) -> None:
    queue = off()
    queue.register_task("send")(module.send)
    spec = importlib.util.spec_from_file_location(module.__name__, str(module.__file__))
    assert spec is not None
    assert spec.loader is not None
    again = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(again)
    queue.register_task("send")(again.send)
    assert again.send is queue.task_functions["send"]


def test_a_second_function_in_a_reloaded_module_is_refused_all_the_same(module: ModuleType) -> None:
    queue = off()
    queue.register_task("job")(module.send)
    rewrite(module)
    importlib.reload(module)
    queue.register_task("job")(module.send)
    with pytest.raises(DuplicateTaskError, match="shop_of_names"):
        queue.register_task("job")(module.wrapped)


def test_two_modules_of_one_name_are_two_modules(module: ModuleType, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere" / "shop_of_names.py"
    other.parent.mkdir()
    other.write_text(MODULE.format(gap="", answer="other"))
    spec = importlib.util.spec_from_file_location(module.__name__, other)
    assert spec is not None
    assert spec.loader is not None
    second = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(second)
    queue = off()
    queue.register_task("send")(module.send)
    with pytest.raises(DuplicateTaskError, match=str(other)):
        queue.register_task("send")(second.send)


def test_two_functions_of_one_name_in_one_module_are_two() -> None:
    queue = off()

    @queue.task
    def send() -> None: ...

    with pytest.raises(DuplicateTaskError, match="'send' is taken"):

        @queue.task
        def send() -> None: ...


CELLS = {
    "again": ("cell-1", "def send(): return 'old'"),
    "edited in place": ("cell-1", "\n\ndef send(): return 'new'"),
    "edited, under another number": ("cell-2", "x = 1\ndef send(): return 'new'"),
}


@pytest.mark.parametrize("kind", CELLS)
def test_a_cell_that_is_run_again_replaces(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "wopr")
    queue = off()
    notebook: dict[str, Any] = {"__name__": "__main__"}
    for file, text in (("cell-1", "def send(): return 'old'"), CELLS[kind]):
        exec(compile(text, file, "exec"), notebook)
        queue.task(notebook["send"])
    assert notebook["send"] is queue.task_functions["send"]
    assert "the code was executed anew" in caplog.text


def executed(text: str, **names: Any) -> Any:
    """Return the function of a text, in a namespace of its own."""
    namespace: dict[str, Any] = {"__name__": "made", **names}
    exec(text, namespace)
    return namespace["send"]


SEND = "def send(): return 'mail'"


@pytest.mark.parametrize(
    ("text", "names"),
    [("def send(): return 'charge'", {}), ("\n\ndef send(): return 'mail'", {}), (SEND, {"a": 1})],
)
def test_functions_that_a_program_makes_of_texts_do_not_replace_each_other(
    text: str, names: dict[str, Any]
) -> None:
    """A worker ran ``charge`` for tasks that had been enqueued to send mail."""
    queue = off()
    queue.task(executed(SEND))
    with pytest.raises(DuplicateTaskError, match="'send' is taken"):
        queue.task(executed(text, **names))


def test_one_compiled_text_in_two_namespaces_makes_two_functions() -> None:
    queue, code = off(), compile("def send(): return who", "<string>", "exec")
    made: list[dict[str, Any]] = [{"who": "a"}, {"who": "b"}]
    for namespace in made:
        exec(code, namespace)
    queue.task(made[0]["send"])
    with pytest.raises(DuplicateTaskError):
        queue.task(made[1]["send"])


def test_one_code_with_other_global_names_is_another_function() -> None:
    def send() -> object:
        return who  # type: ignore[name-defined]  # noqa: F821

    queue = off()
    queue.register_task("send")(FunctionType(send.__code__, {"who": "ada"}))
    with pytest.raises(DuplicateTaskError):
        queue.register_task("send")(FunctionType(send.__code__, {"who": "bob"}))


def test_the_same_text_in_the_same_place_is_the_same_function() -> None:
    queue, namespace = off(), dict[str, Any](__name__="made")
    for _ in range(2):
        exec(SEND, namespace)
        queue.task(namespace["send"])
    assert namespace["send"] is queue.task_functions["send"]


@pytest.mark.parametrize("where", ["prompt", "notebook"])
def test_what_somebody_types_replaces(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if where == "prompt":
        monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    else:
        monkeypatch.setitem(sys.modules, "ipykernel", ModuleType("ipykernel"))
    queue = off()
    queue.task(executed(SEND))
    second = executed("def send(): return 'charge'")
    queue.task(second)
    assert second is queue.task_functions["send"]


PROGRAM = """
import logging, sys
logging.basicConfig(level="INFO", stream=sys.stdout)
import the_queue

@the_queue.queue.task
def send() -> str:
    return "sent"

import other

if __name__ == "__main__":
    print(sorted(the_queue.queue.task_functions))
"""


@pytest.mark.parametrize("how", [["-m", "app"], ["app.py"]])
def test_a_program_that_its_own_modules_import_replaces(tmp_path: Path, how: list[str]) -> None:
    (tmp_path / "the_queue.py").write_text("import wopr; queue = wopr.TaskQueue(enabled=False)")
    (tmp_path / "other.py").write_text("import app")
    (tmp_path / "app.py").write_text(PROGRAM)
    said = run_ok([sys.executable, *how], tmp_path)
    assert "['send']" in said
    assert "Task 'send' is app.send" in said


class Slim:
    """What it keeps is in no dictionary."""

    __slots__ = ("__amount", "name")

    def __init__(self, name: str, amount: int = 0) -> None:
        self.name = name
        self.__amount = amount

    def __call__(self) -> tuple[str, int]:
        return self.name, self.__amount


@pytest.mark.parametrize("other", [Slim("charge_card"), Slim("send_mail", 1)])
def test_an_object_with_slots_that_keeps_other_things_is_another_function(other: Slim) -> None:
    queue = off()
    queue.register_task("send")(Slim("send_mail"))
    queue.register_task("send")(Slim("send_mail"))
    with pytest.raises(DuplicateTaskError, match="'send' is taken"):
        queue.register_task("send")(other)
