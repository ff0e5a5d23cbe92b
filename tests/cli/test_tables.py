"""Every table fits the terminal; what gives way is chosen, and looks as it did."""

from __future__ import annotations

import re

import pytest
from rich.cells import cell_len

from support.commands import Call, Database
from support.shown import LOOKS, PREFIX, TABLES, WIDTHS, look, printed, rows_of
from wopr.cli import tables
from wopr.cli.fitting import Column, Fit, Kind, fit


@pytest.mark.parametrize("name", TABLES)
def test_a_table_looks_as_it_did(name: str) -> None:
    text = LOOKS.read_text(encoding="utf-8")
    parts = re.split(r"^(?===)", text, flags=re.MULTILINE)
    before = "".join(part for part in parts if part.startswith(f"== {name},"))
    assert before == look(name), "if it should: cd tests && python -m support.shown"


def test_no_look_is_of_a_table_that_is_gone() -> None:
    told = re.findall(r"^== (\w+), \d+$", LOOKS.read_text(encoding="utf-8"), re.MULTILINE)
    assert set(TABLES) == set(told)


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("width", [20, *WIDTHS])
@pytest.mark.parametrize("count", [0, 1, 500])
def test_no_line_of_a_table_is_wider_than_the_terminal(name: str, width: int, count: int) -> None:
    form = TABLES[name]
    lines = printed(form, rows_of(form, count), width)
    assert [] == [line for line in lines if cell_len(line) > width]
    assert form.title == " ".join(lines[: -(-len(form.title) // width)]) or width == 20


@pytest.mark.parametrize("name", TABLES)
def test_45_columns_have_room_for_all_that_is_never_left_out(name: str) -> None:
    form = TABLES[name]
    lines = printed(form, rows_of(form, 2), 45)
    for column in form.columns:
        if not column.drops:
            assert re.search(rf"\b{column.name}\b", lines[1]), lines
    assert 4 <= len(lines)


@pytest.mark.parametrize("name", TABLES)
def test_titles_fit_45_columns_and_no_two_columns_leave_together(name: str) -> None:
    form = TABLES[name]
    assert len(form.title) <= 45
    drops = [column.drops for column in form.columns if column.drops]
    assert len(drops) == len(set(drops))


def test_ids_are_whole_or_a_beginning_that_is_enough() -> None:
    whole = "01890000-0000-7001-8000-000000000000"
    for width in WIDTHS:
        lines = printed(tables.TASKS, rows_of(tables.TASKS, 2), width)
        assert lines[3].split()[0] in (whole, whole[:PREFIX])
    assert whole in printed(tables.TASKS, rows_of(tables.TASKS, 2), 400)[3]


@pytest.mark.parametrize(
    ("room", "expected"),
    [
        (None, Fit((10, 36, 30, 5), ())),
        (87, Fit((10, 36, 30, 5), ())),
        (86, Fit((10, 13, 30, 5), ())),
        (50, Fit((10, 13, 16, 5), ())),
        (42, Fit((10, 13, 8, 5), ())),
        (41, Fit((10, 13, 14, None), ("n",))),
        (34, Fit((10, 13, None, None), ("text", "n"))),
        (20, Fit((9, 9, None, None), ("text", "n"))),
    ],
)
def test_ids_give_way_before_texts_and_texts_before_columns(
    room: int | None, expected: Fit
) -> None:
    columns = (
        Column("name"),
        Column("id", Kind.ID),
        Column("text", Kind.TEXT, 8, drops=1),
        Column("n", drops=2),
    )
    found = fit(columns, (10, 36, 30, 5), room, empty=(False,) * 4, prefix=13)
    assert expected == found


def test_an_empty_column_is_left_out_first_and_not_told_of() -> None:
    columns = (Column("a"), Column("b"), Column("c", drops=1))
    assert Fit((4, None, 4), ()) == fit(
        columns, (4, 9, 4), 12, empty=(False, True, False), prefix=36
    )


def test_a_query_answer_fits_too_and_keeps_its_ids_whole(
    wopr: Call, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    for width in WIDTHS:
        monkeypatch.setenv("COLUMNS", str(width))
        lines = wopr("sql", "select id, * exclude (id) from tasks order by seq").out.splitlines()
        assert database.succeeded == lines[2].split()[0]
        assert all(cell_len(line) <= width for line in lines)


@pytest.mark.parametrize("command", ["show", "history", "logs", "explain"])
def test_a_shown_beginning_of_an_id_is_taken(
    wopr: Call, database: Database, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("COLUMNS", "45")
    first = wopr("tasks", "list").out.splitlines()[2].split()[0]
    assert database.delayed.startswith(first)
    assert len(first) < len(database.delayed)
    answer = wopr("tasks", command, first, "--json")
    assert 0 == answer.code
    assert database.delayed in answer.out


def test_a_beginning_of_several_ids_names_them(wopr: Call, database: Database) -> None:
    answer = wopr("tasks", "show", database.failed[:4])
    assert (1, "") == (answer.code, answer.out)
    assert "Several tasks begin with" in answer.err
    assert database.failed in answer.err
    assert database.succeeded in answer.err


def test_a_beginning_is_longer_where_others_begin_alike(
    wopr: Call, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    import duckdb

    twin = database.failed[:14] + "7fff" + database.failed[18:]
    with duckdb.connect(str(database.path)) as connection:
        connection.execute("update tasks set id = ? where id = ?", [twin, database.succeeded])
    monkeypatch.setenv("COLUMNS", "45")
    rows = wopr("tasks", "list", "--status", "failed").out.splitlines()
    assert database.failed[:18] == rows[2].split()[0]
