"""The names that users import. A change here is a change of the contract."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys

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
    "Overlap",
    "ScheduleInfo",
    "Weekday",
    # control
    "Limit",
    "OnFull",
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
    "Explanation",
    "GroupExplanation",
    "Reason",
    "Severity",
    "State",
    "Status",
    "HistoryEntry",
    "QueryResult",
    "WorkerInfo",
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


def test_importing_wopr_loads_neither_duckdb_nor_anything_heavy() -> None:
    heavy = {"duckdb", "sqlalchemy", "alembic", "typer", "rich", "pandas", "polars", "pyarrow"}
    code = "import sys, wopr; print(*(name for name in sys.modules if '.' not in name))"
    loaded = subprocess.run(
        [sys.executable, "-c", code],
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert heavy & set(loaded) == set()


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
