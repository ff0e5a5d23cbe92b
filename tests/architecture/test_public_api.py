"""The names that users import. A change here is a change of the contract."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import wopr
from support.paths import ROOT, SOURCE
from support.programs import clean_environment
from support.sources import dotted, parsed
from wopr.domain import errors

PUBLIC = {
    # the queue
    "TaskQueue",
    "SyncQueue",
    "Settings",
    "NoopStorage",
    "TaskStorage",
    "should_run_background_workers",
    # tasks
    "Task",
    "TaskHandle",
    "CurrentTask",
    "current_task",
    "task",
    "schedule",
    "RetryAfter",
    "RetryPolicy",
    "OnConflict",
    "provided",
    # dependencies
    "OnParentFailure",
    "ResultOf",
    # flows
    "Flow",
    "FlowHandle",
    "FlowProgress",
    "Signature",
    "Snooze",
    "chain",
    "chord",
    "group",
    # schedules
    "Crontab",
    "Misfire",
    "Month",
    "Monthly",
    "Overlap",
    "ScheduleInfo",
    "Weekday",
    # control
    "Limit",
    "OnFull",
    "Past",
    "PastStatus",
    "Pause",
    "Revocation",
    # verbs over a selection
    "Act",
    "ActAnswer",
    "ActProgress",
    "Preview",
    "SelectedTasks",
    "Tally",
    "Unchanged",
    # what happens
    "LogLine",
    "TaskEvent",
    # words and answers
    "TaskInfo",
    "TaskStatus",
    "TaskPriority",
    "Backup",
    "CategoryBacklog",
    "Explanation",
    "Export",
    "GroupExplanation",
    "Reason",
    "Severity",
    "State",
    "Status",
    "HistoryEntry",
    "QueryResult",
    "QueryStream",
    "WhatIf",
    "WorkerInfo",
    # over time
    "Estimate",
    "Eta",
    "EtaReason",
    "Point",
    "Series",
    "Resolution",
    "TimeSeries",
}

ERRORS = sorted(
    (
        cls
        for _, cls in inspect.getmembers(errors, inspect.isclass)
        if issubclass(cls, errors.WoprError)
    ),
    key=lambda cls: cls.__name__,
)


def test_the_public_names_are_these() -> None:
    assert sorted(PUBLIC | {cls.__name__ for cls in ERRORS}) == sorted(wopr.__all__)


def test_every_public_name_is_there() -> None:
    assert [] == [name for name in wopr.__all__ if not hasattr(wopr, name)]


def test_the_settings_are_found_where_they_were_too() -> None:
    from wopr.config import Settings

    assert Settings is wopr.Settings
    with pytest.raises(ImportError, match="cannot import name 'Nothing'"):
        from wopr.config import Nothing  # noqa: F401


def test_every_public_name_is_loaded_from_where_type_checkers_find_it() -> None:
    block = next(
        node
        for node in parsed(SOURCE / "__init__.py").tree.body
        if isinstance(node, ast.If) and dotted(node.test) == "TYPE_CHECKING"
    )
    typed = {
        alias.name: node.module
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    loaded = {name: module for module, names in wopr._MODULES.items() for name in names.split()}
    assert typed == loaded
    assert sorted(loaded) == sorted(wopr.__all__)


def test_a_name_that_there_is_not_is_missed_as_of_any_module() -> None:
    with pytest.raises(AttributeError, match="module 'wopr' has no attribute 'Queue'"):
        wopr.Queue  # type: ignore[attr-defined]  # noqa: B018
    assert set(wopr.__all__) <= set(dir(wopr))


def test_every_public_name_can_be_the_first_that_is_asked_for() -> None:
    code = (
        "import sys\nfrom importlib import import_module\nimport wopr\n"
        "for module in wopr._MODULES:\n"
        "    import_module(module)\n"
        "    for name in [name for name in sys.modules if name.startswith('wopr')]:\n"
        "        del sys.modules[name]\n"
    )
    subprocess.run([sys.executable, "-c", code], env=clean_environment(), check=True)


HEAVY = {
    *("duckdb", "sqlalchemy", "alembic", "click", "rich", "pandas", "polars", "pyarrow"),
    *("pydantic_settings", "dotenv", "tomllib", "structlog", "detect_secrets"),
}
"""What may take long to load, and who only asks a queue never needs."""


def _loaded_by(code: str, folder: Path) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; {code}; print(*sys.modules)"],
        cwd=folder,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split())


def test_importing_wopr_loads_nothing_but_its_list_of_names(tmp_path: Path) -> None:
    loaded = _loaded_by("import wopr", tmp_path)
    assert {"wopr"} == {name for name in loaded if name.partition(".")[0] == "wopr"}
    assert set() == (HEAVY | {"asyncio", "pydantic", "pydantic_core", "tenacity"}) & loaded


def test_a_queue_that_is_made_loads_nothing_heavy(tmp_path: Path) -> None:
    loaded = _loaded_by("from wopr import TaskQueue; TaskQueue()", tmp_path)
    assert set() == HEAVY & loaded


def test_a_queue_that_is_opened_and_asked_loads_nothing_for_schemas_and_secrets(
    tmp_path: Path,
) -> None:
    for _ in ("new", "existing"):
        loaded = _loaded_by(f"exec({_ENQUEUE!r})", tmp_path)
        assert "duckdb" in loaded
        assert set() == {"sqlalchemy", "alembic", "duckdb_sqlalchemy", "detect_secrets"} & loaded


_ENQUEUE = """
import asyncio
from wopr import TaskQueue

async def main():
    async with TaskQueue(enabled=True, database="tasks.duckdb") as queue:
        await queue.task(name="nothing")(main).enqueue()
        await queue.sql("select count(*) from tasks")

asyncio.run(main())
"""


def test_a_word_of_the_api_loads_neither_the_queue_nor_pydantic(tmp_path: Path) -> None:
    loaded = _loaded_by("from wopr import StorageError, TaskPriority, TaskStatus", tmp_path)
    assert set() == {"wopr.queue", "wopr.engine", "asyncio", "pydantic"} & loaded


def test_the_package_says_that_it_is_typed() -> None:
    assert (SOURCE / "py.typed").exists()


@pytest.mark.parametrize("cls", ERRORS, ids=lambda cls: cls.__name__)
def test_every_error_says_what_happened(cls: type[errors.WoprError]) -> None:
    doc = vars(cls).get("__doc__")
    assert doc, "an error's docstring is its entry in the manual"


@pytest.mark.parametrize("cls", ERRORS, ids=lambda cls: cls.__name__)
def test_every_error_stands_in_the_tree_at_the_top_of_its_module(
    cls: type[errors.WoprError],
) -> None:
    assert re.search(rf"\b{cls.__name__}\b", errors.__doc__ or "")


@pytest.mark.parametrize("cls", ERRORS, ids=lambda cls: cls.__name__)
def test_every_error_is_documented_for_users(cls: type[errors.WoprError]) -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages if page.exists())
    assert re.search(rf"`(wopr\.)?{cls.__name__}`", text), "no page of docs/ names this error"


def test_errors_for_users_are_defined_in_one_place() -> None:
    ours = {cls.__name__ for cls in ERRORS}
    elsewhere = [
        f"{path.name}:{node.lineno} {node.name}"
        for path in SOURCE.rglob("*.py")
        if path != SOURCE / "domain" / "errors.py"
        for node in ast.walk(parsed(path).tree)
        if isinstance(node, ast.ClassDef)
        and not node.name.startswith("_")  # a shape of one that users never see by that name
        and any(dotted(base).rpartition(".")[2] in ours for base in node.bases)
    ]
    assert elsewhere == []
