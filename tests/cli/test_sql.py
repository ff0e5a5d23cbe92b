"""``wopr sql`` and ``wopr stats``."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
from pathlib import Path

import pytest
from pyarrow import parquet

from support.commands import NASTY, Call, Database
from wopr.domain.csvcells import cell
from wopr.storage import schema

COUNTS = "select status, count(*) as n from tasks group by all order by all"


def test_a_table_of_the_rows(wopr: Call) -> None:
    answer = wopr("sql", COUNTS)
    assert 0 == answer.code
    assert ["3", "rows", "status", "n"] == answer.out.split()[:4]


def test_the_help_of_sql_left_out_most_tables_and_views(wopr: Call) -> None:
    told = " ".join(wopr("sql", "--help").out.split())
    lists = re.search(r"Tables: ([\w, ]+)\. Views: ([\w, ]+)\.", told)
    assert lists is not None
    assert sorted(schema.metadata.tables) == sorted(lists[1].split(", "))
    assert sorted(schema.VIEWS) == sorted(lists[2].split(", "))
    assert 0 == wopr("sql", "describe tasks").code


def test_json_rows_are_objects(wopr: Call) -> None:
    expected = [{"status": name, "n": 1} for name in ("failed", "pending", "success")]
    answer = wopr("sql", COUNTS, "--json")
    assert {"columns": ["status", "n"], "rows": expected, "truncated": False} == answer.json


def test_columns_of_the_same_name_are_both_there(wopr: Call) -> None:
    answer = wopr("sql", "select 1 as a, 2 as a, 3 as a_2", "--json")
    assert [{"a": 1, "a_2": 2, "a_2_2": 3}] == answer.json["rows"]


def test_csv_keeps_what_is_stored(wopr: Call) -> None:
    answer = wopr("sql", "select name, args from tasks order by seq", "--csv")
    rows = list(csv.reader(answer.out.splitlines()))
    assert [["name", "args"], ["double", "[21]"]] == rows[:2]
    assert 4 == len(rows)


def test_csv_in_a_pipe_is_not_cleaned(wopr: Call) -> None:
    answer = wopr("sql", "select args ->> '$[0]' as text from tasks where name = 'nasty'", "--csv")
    assert NASTY in answer.out


def test_a_query_comes_from_stdin(wopr: Call) -> None:
    assert [{"x": 7}] == wopr("sql", "-", "--json", stdin="select 7 as x\n").json["rows"]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("delete from tasks", "Only SELECT"),
        ("select 1; select 2", "One statement"),
        ("selec", "can't be parsed"),
        ("select * from nothing", "nothing"),
        ("select * from read_text('/etc/passwd')", "failed"),
        ("  ", "empty"),
    ],
)
def test_a_query_that_can_not_be_run_is_a_usage_error(
    wopr: Call, query: str, expected: str
) -> None:
    answer = wopr("sql", query)
    assert (2, "") == (answer.code, answer.out)
    assert expected in answer.err
    assert "Traceback" not in answer.err


def test_csv_and_json_exclude_each_other(wopr: Call) -> None:
    assert 2 == wopr("sql", "select 1", "--csv", "--json").code


def test_it_says_that_rows_are_missing(wopr: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WOPR_TASKS_QUERY_ROWS", "2")
    answer = wopr("sql", "select * from range(5)", "--json")
    assert (2, True) == (len(answer.json["rows"]), answer.json["truncated"])
    assert "WOPR_TASKS_QUERY_ROWS" in answer.err
    assert "--limit none" in answer.err


def test_a_limit_counts_instead_of_the_setting(wopr: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WOPR_TASKS_QUERY_ROWS", "2")
    answer = wopr("sql", "select * from range(5)", "--json", "--limit", "4")
    assert (4, True) == (len(answer.json["rows"]), answer.json["truncated"])


ALL = """
select range as n, sum(range) as total, 'a' as a, 'b' as a from range(5000) group by all order by n
"""


def test_all_rows_are_printed_as_they_come_in_each_form(
    wopr: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WOPR_TASKS_QUERY_ROWS", "2")
    document = wopr("sql", ALL, "--json", "--limit", "none")
    assert (5_000, False) == (len(document.json["rows"]), document.json["truncated"])
    assert {"n": 4_999, "total": 4_999, "a": "a", "a_2": "b"} == document.json["rows"][-1]
    assert document.err.startswith("As of ")
    lines = wopr("sql", ALL, "--csv", "--limit", "none").out.splitlines()
    assert (5_001, "n,total,a,a", "4999,4999,a,b") == (len(lines), lines[0], lines[-1])
    assert [] == wopr("sql", "select 1 as n where false", "--json", "--limit", "none").json["rows"]


def test_a_parquet_file_has_all_rows(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WOPR_TASKS_QUERY_ROWS", "2")
    target = tmp_path / "rows.parquet"
    with target.open("wb") as file:
        command = [sys.executable, "-m", "wopr", "sql", ALL, "--parquet", "-d", str(database.path)]
        subprocess.run(command, stdout=file, check=True)
    found = parquet.read_table(target)
    assert (5_000, ["n", "total", "a", "a_2"]) == (found.num_rows, found.column_names)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--limit", "none"), "A table is laid out"),
        (("--limit", "0"), "from 1 to"),
        (("--limit", "many"), "not 'many'"),
        (("--parquet", "--limit", "7"), "prints all rows"),
        (("--parquet", "--csv"), "exclude each other"),
    ],
)
def test_a_limit_that_can_not_be_is_refused(wopr: Call, words: tuple[str, ...], said: str) -> None:
    answer = wopr("sql", "select 1", *words)
    assert (2, "") == (answer.code, answer.out)
    assert said in answer.err


def test_a_query_that_takes_too_long_is_a_no(wopr: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WOPR_TASKS_QUERY_SECONDS", "0.1")
    slow = "select count(*) from range(100000) a, range(100000) b where hash(a.range, b.range) = 1"
    answer = wopr("sql", slow, "--json")
    assert (1, "QueryTimeoutError") == (answer.code, answer.json["error"]["type"])


def test_an_answer_tells_of_when_it_is(wopr: Call) -> None:
    for form in ((), ("--json",), ("--csv",)):
        assert re.fullmatch(
            r"As of \d{4}-\d\d-\d\d \d\d:\d\d:\d\d[+-]\d\d:\d\d\.\n", wopr("sql", COUNTS, *form).err
        )


@pytest.mark.parametrize("query", ["select setseed(1)", "select * from checkpoint()"])
def test_a_function_that_acts_is_refused_by_name(wopr: Call, query: str) -> None:
    answer = wopr("sql", query)
    assert 2 == answer.code
    assert "() can't be used here" in answer.err


def test_a_database_that_is_too_large_to_be_copied_is_told(
    wopr: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WOPR_TASKS_SNAPSHOT_LIMIT", "100KB")
    answer = wopr("sql", "select 1")
    assert 2 == answer.code
    assert "WOPR_TASKS_SNAPSHOT_LIMIT" in answer.err


def test_stats_count_exactly(wopr: Call, database: Database) -> None:
    found = wopr("stats", "--json").json
    assert {"failed": 1, "pending": 1, "success": 1} == found["by_status"]
    assert (3, 0, 1) == (found["total"], found["running"], found["queued"])
    [waiting] = found["backlog"]
    assert ("sums", 1, 1, 0) == tuple(waiting[k] for k in ("category", "priority", "tasks", "due"))


def test_stats_for_people(wopr: Call) -> None:
    out = wopr("stats").out
    assert out.startswith("3 tasks, 1 waiting, 0 running\n")
    assert "LOW" in out


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "=cmd|' /C calc'!A0"])
def test_a_text_that_a_spreadsheet_takes_for_a_formula_is_quoted(wopr: Call, text: str) -> None:
    quoted = text.replace("'", "''")
    answer = wopr("sql", f"select '{quoted}' as \"=x\", -5 as n, 'a=b' as plain", "--csv")
    head, row = csv.reader(answer.out.splitlines())
    assert [["'=x", "n", "plain"], [f"'{text}", "-5", "a=b"]] == [head, row]


def test_a_line_break_before_a_formula_is_quoted_too() -> None:
    assert ["'\r=1", "'\n=1", 5, None] == [cell(value) for value in ("\r=1", "\n=1", 5, None)]


def test_an_archive_that_is_not_there_is_told(
    wopr: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = tmp_path / "archive"
    monkeypatch.setenv("WOPR_TASKS_ARCHIVE", str(archive))
    told = f"There is no archive at {archive} (WOPR_TASKS_ARCHIVE)"
    assert told in wopr("sql", "select 1").err
    archive.mkdir(mode=0o700)
    assert told not in wopr("sql", "select 1").err
