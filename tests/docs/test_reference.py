"""The reference pages say what the code says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import wopr
from support import names
from support.blocks import blocks_of
from support.paths import ROOT
from wopr import Settings, TaskInfo, TaskQueue, WoprError
from wopr.calls.options import HandlerOptions, RegistrationOptions, TaskOptions
from wopr.domain import errors
from wopr.domain.status import LIVE, TERMINAL, TRANSITIONS, mermaid

REFERENCE = ROOT / "docs" / "reference"
SEVERAL_ROWS = {"await queue.explain", "await queue.sql"}
"""Calls that answer something else when they are asked for something else."""


def text_of(page: str) -> str:
    return (REFERENCE / page).read_text(encoding="utf-8")


def rows_of(text: str) -> list[list[str]]:
    """Return the cells of all table rows, without the marks of code."""
    rows = [line for line in text.splitlines() if line.startswith("|") and "---" not in line]
    return [[cell.strip().replace("`", "") for cell in row[1:-1].split("|")] for row in rows]


@pytest.mark.parametrize("page", [ROOT / "README.md", REFERENCE / "states.md"])
def test_the_diagram_is_the_one_of_the_code(page: Path) -> None:
    diagrams = [block.text.strip() for block in blocks_of(page) if block.language == "mermaid"]
    assert [mermaid()] == diagrams


def test_the_page_of_states_lists_every_legal_move_and_no_other() -> None:
    moves = [
        ["(none)" if before is None else before.name, str(move), after.name]
        for (before, move), after in TRANSITIONS.items()
    ]
    assert moves == [row[:3] for row in rows_of(text_of("states.md"))[1:]]


def test_the_page_of_states_knows_which_are_terminal_and_live() -> None:
    ended, live = re.findall(r"\*\*(?:Ended|Live)\*\*[^:]*: ([A-Z, ]+)\.", text_of("states.md"))
    assert {status.name for status in TERMINAL} == set(ended.split(", "))
    assert {status.name for status in LIVE} == set(live.split(", "))


def test_the_page_of_settings_lists_each_with_its_default() -> None:
    defaults = [
        [f"WOPR_TASKS_{name.upper()}", str(field.default)]
        for name, field in Settings.model_fields.items()
    ]
    assert defaults == [row[:2] for row in rows_of(text_of("settings.md"))[1:]]


def test_the_page_of_errors_says_what_to_do_about_each() -> None:
    classes = [
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, WoprError)
    ]
    rows = rows_of(text_of("errors.md"))[1:]
    assert sorted(classes) == sorted(row[0] for row in rows)
    assert all(row[1] and row[2] for row in rows)


def test_the_page_of_errors_draws_the_tree_of_the_code() -> None:
    drawn = next(block.text for block in blocks_of(REFERENCE / "errors.md")).split()
    written = (errors.__doc__ or "").split()
    names = [word for word in written if word.endswith("Error")]
    assert names == [word for word in drawn if word.endswith("Error")]


async def test_the_page_of_tables_lists_every_column_of_the_file(tmp_path: Path) -> None:
    async with TaskQueue(enabled=True, database=tmp_path / "new.duckdb") as queue:
        found = await queue.sql(
            "select table_name, column_name, data_type from duckdb_columns() "
            "where not internal and table_name <> 'alembic_version' order by column_index"
        )
        columns: dict[str, list[list[str]]] = {}
        for row in found:
            columns.setdefault(row["table_name"], []).append([row["column_name"], row["data_type"]])
    sections = re.split(r"^## (?:Table|View) (\w+)$", text_of("tables.md"), flags=re.MULTILINE)[1:]
    listed = {
        name: [row[:2] for row in rows_of(text)[1:]]
        for name, text in zip(sections[::2], sections[1::2], strict=True)
    }
    assert columns == listed


def test_the_page_of_the_api_names_everything_public() -> None:
    text = text_of("api.md") + text_of("errors.md")
    missing = [name for name in wopr.__all__ if not re.search(rf"`(@wopr\.)?{name}\b", text)]
    assert missing == []


def test_the_page_of_the_api_names_every_call_of_the_queue() -> None:
    names = {name for name in dir(TaskQueue) if not name.startswith("_")}
    text = text_of("api.md")
    missing = [name for name in sorted(names) if not re.search(rf"(queue\.|`){name}\b", text)]
    assert missing == []


def test_the_page_of_names_is_the_one_made_from_the_code() -> None:
    assert names.page() == text_of("names.md"), (
        "python tests/support/names.py > docs/reference/names.md"
    )


@pytest.mark.parametrize("name", sorted(wopr.__all__))
def test_each_public_name_is_on_the_page_of_names_or_of_errors(name: str) -> None:
    named = re.search(rf"^{name}\b", text_of("names.md"), re.MULTILINE)
    assert named or f"| `{name}`" in text_of("errors.md")


def test_the_rows_of_a_table_of_the_api_had_more_cells_than_its_head() -> None:
    for table in re.findall(r"(?:^\|.*\n)+", text_of("api.md"), re.MULTILINE):
        cells = [len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()]
        assert {cells[0]} == set(cells), table


@pytest.mark.parametrize(
    ("call", "options"),
    [
        ("@queue.task(name=", TaskOptions),
        ("@queue.register_task(name", RegistrationOptions),
        ("@TaskHandler(name=", HandlerOptions),
        ("@task(name=", HandlerOptions),
    ],
)
def test_the_row_of_a_decorator_named_a_part_of_its_options(call: str, options: type) -> None:
    shown = re.findall(rf"`{re.escape(call)}([^`]*)\)`", text_of("api.md"))
    assert 1 == len(shown)
    assert set(options.__annotations__) <= set(re.findall(r"(\w+)=", shown[0])) | {"name"}


def test_a_call_had_two_rows_in_a_table_of_the_api() -> None:
    for table in re.findall(r"(?:^\|.*\n)+", text_of("api.md"), re.MULTILINE):
        calls = [re.split(r"(?<=\w)\(", row[0])[0] for row in rows_of(table) if "(" in row[0]]
        assert [] == sorted({call for call in calls if calls.count(call) > 1} - SEVERAL_ROWS)


def test_the_page_of_the_api_names_every_field_of_a_task() -> None:
    text = next(line for line in text_of("api.md").splitlines() if line.startswith("| `TaskInfo`"))
    missing = [
        name for name in TaskInfo.__dataclass_fields__ if not re.search(rf"\b{name}\b", text)
    ]
    assert missing == []
