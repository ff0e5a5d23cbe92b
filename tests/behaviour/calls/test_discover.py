"""Modules with tasks are found by patterns and by entry points, and imported once."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.programs import run_ok
from wopr import DuplicateTaskError, InvalidCallError, InvalidSettingError, Settings, TaskQueue

TASK = """
import wopr

loaded = globals().get("loaded", 0) + 1

@wopr.task
def {name}() -> str:
    return __name__
"""
FILES = {
    "bakery/__init__.py": "",
    "bakery/bread/__init__.py": "",
    "bakery/bread/tasks.py": TASK.format(name="bake"),
    "bakery/cake/tasks.py": TASK.format(name="bake"),  # a package without __init__
    "bakery/cake/_private.py": "raise RuntimeError('nobody asked for it')",
    "bakery/cake/__main__.py": "raise RuntimeError('a program ran')",
    "bakery/other.py": "raise RuntimeError('it does not match')",
    "bakery/broken.py": "import json\n\njson.loads('{')\n",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give a folder with a package, on the path of Python for the time of the test."""
    before = set(sys.modules)
    write(tmp_path, FILES)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.partition(".")[0] in {"bakery", "parcels"}:
            del sys.modules[name]


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def offer(folder: Path, value: str, package: str = "parcels") -> None:
    """Put a package there as pip does it, with an entry point."""
    write(
        folder,
        {
            f"{package}-1.0.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {package}\n"
            "Version: 1.0\n",
            f"{package}-1.0.dist-info/entry_points.txt": f"[wopr.tasks]\n{package} = {value}\n",
        },
    )


def off(**settings: object) -> TaskQueue:
    return TaskQueue(enabled=False, settings=Settings.model_validate(settings))


def test_a_pattern_finds_the_modules_and_imports_no_others(folder: Path) -> None:
    queue = off()
    assert queue.discover("bakery.*.tasks") == ["bakery.bread.tasks", "bakery.cake.tasks"]
    assert sorted(queue.task_functions) == ["bakery.bread.tasks.bake", "bakery.cake.tasks.bake"]
    assert {"bakery.other", "bakery.cake._private", "bakery.broken"}.isdisjoint(sys.modules)


def test_a_module_that_there_is_not_is_named(folder: Path) -> None:
    with pytest.raises(InvalidCallError, match=r"No module named 'bakery\.nothing'"):
        off().discover("bakery.nothing")


def test_two_stars_find_modules_of_any_depth_but_no_private_ones_and_no_programs(
    folder: Path,
) -> None:
    found = ["bakery.bread.tasks", "bakery.cake.tasks"]
    assert off().discover("bakery.**.tasks") == found
    assert off().discover("bakery.cake.**") == ["bakery.cake.tasks"]
    assert off().discover("bakery.bread.**") == ["bakery.bread", "bakery.bread.tasks"]


def test_nothing_is_imported_twice(folder: Path) -> None:
    queue = off()
    queue.discover("bakery.bread.tasks")
    first = queue.task_functions
    queue.discover("bakery.*.tasks", "bakery.bread.tasks")
    assert first.items() <= queue.task_functions.items()
    assert sys.modules["bakery.bread.tasks"].loaded == 1


@pytest.mark.parametrize("how", [["app.py"], ["-m", "app"]])
def test_the_program_that_runs_is_not_imported_a_second_time(
    how: list[str], tmp_path: Path
) -> None:
    program = "print('run')\nqueue = TaskQueue(enabled=False)\nqueue.discover('app')\n"
    program = f"from wopr import TaskQueue\n{TASK.format(name='bake')}\n{program}"
    (tmp_path / "app.py").write_text(f"{program}print(*queue.task_functions)\n")
    assert run_ok([sys.executable, *how], tmp_path).split() == ["run", "app.bake"]


def test_the_settings_say_what_is_found_without_patterns(folder: Path) -> None:
    assert off(discover="bakery.cake.tasks , bakery.bread.*").discover() == [
        "bakery.cake.tasks",
        "bakery.bread.tasks",
    ]
    assert off().discover() == []


def test_an_import_that_fails_is_told_with_the_module_and_where(folder: Path) -> None:
    queue = off()
    with pytest.raises(InvalidCallError) as caught:
        queue.discover("bakery.bread.tasks", "bakery.broken")
    text = str(caught.value)
    assert text.startswith("Importing 'bakery.broken' failed:")
    assert f'{folder / "bakery/broken.py"}", line 3' in text
    assert "JSONDecodeError" in text
    assert "pattern 'bakery.broken'" in text
    assert "importlib" not in text
    assert queue.task_functions == {}


@pytest.mark.parametrize("pattern", ["bakery.*.jobs", "nothing.**", "bakery.x.*", " "])
def test_a_pattern_that_matches_nothing_is_refused(folder: Path, pattern: str) -> None:
    with pytest.raises(InvalidCallError, match="No module matches"):
        off().discover(pattern)


def test_a_pattern_that_is_none_is_refused_in_the_call_and_in_the_settings() -> None:
    for wrong in ("*.tasks", "bakery.bread.tasks,a b"):
        with pytest.raises(InvalidCallError, match="pattern"):
            off().discover(wrong)
    with pytest.raises(InvalidSettingError, match="whose first part is a name"):
        Settings(discover="shop.tasks,*.tasks")


@pytest.mark.parametrize("value", ["parcels.tasks", "parcels.tasks:send"])
def test_an_installed_package_offers_its_tasks(folder: Path, value: str) -> None:
    write(folder, {"parcels/__init__.py": "", "parcels/tasks.py": TASK.format(name="send")})
    offer(folder, value)
    queue = off()
    assert queue.discover() == ["parcels.tasks"]
    assert list(queue.task_functions) == ["parcels.tasks.send"]
    assert off(entry_points=False).discover() == []
    assert off().discover("bakery.bread.tasks") == ["bakery.bread.tasks"]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("parcels.missing", "Importing 'parcels.missing' failed"),
        ("parcels", "has no task that was declared"),
        ("parcels:nothing", "nothing"),
    ],
)
def test_a_package_that_offers_something_else_is_named(folder: Path, value: str, said: str) -> None:
    write(folder, {"parcels/__init__.py": ""})
    offer(folder, value)
    with pytest.raises(InvalidCallError) as caught:
        off().discover()
    for part in (said, value, "package parcels", "WOPR_TASKS_ENTRY_POINTS=0"):
        assert part in str(caught.value)


def test_two_modules_with_one_name_are_refused_with_both_places(folder: Path) -> None:
    task = 'import wopr\n\n@wopr.task(name="bake")\ndef {}() -> None: ...\n'
    write(folder, {"bakery/a.py": task.format("one"), "bakery/b.py": task.format("two")})
    with pytest.raises(DuplicateTaskError) as caught:
        off().discover("bakery.a", "bakery.b")
    for name in ("a.py:3", "b.py:3"):
        assert str(folder / "bakery" / name) in str(caught.value)


def test_a_queue_may_look_for_the_modules_that_import_it(folder: Path) -> None:
    write(
        folder,
        {
            "bakery/queue.py": "from wopr import TaskQueue\n\nqueue = TaskQueue(enabled=False)\n"
            "queue.discover('bakery.inner.tasks')\n",
            "bakery/inner/tasks.py": "from bakery.queue import queue\n\n"
            "@queue.task(name='inner')\ndef inner() -> None: ...\n",
        },
    )
    queue = off()
    queue.discover("bakery.queue")
    assert list(sys.modules["bakery.queue"].queue.task_functions) == ["inner"]
