"""Whatever token a text repeats, and whichever two: it is parsed, or refused, soon and in little.

The time is this process's own, so that a busy machine changes nothing.
"""

from __future__ import annotations

import contextlib
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from wopr import QueryError
from wopr.storage.duckdb.asked.reading import check
from wopr.storage.duckdb.asked.shape import LIMITS, shape_of

SECONDS = 1.0
KILOBYTES = 100_000
SEED = 20_301
PAIRS = 300
SHARES = 10
"""Each test has its part of the texts, so that none takes long."""

BEGINS = ("", "select ", "select 1 ", "select * from tasks ", "select * from tasks where ")
SIGNS = (
    "( ) [ ] { } , ; . + - * / % ^ ! ~ @ & | # < > = ? : -> ->> || :: <> != := => 1 $1 a 'a' 1e5 "
    "a. a, 1, (1 a( [1 {a: 1+ 1|| x'00' e'a' a[1] a[ ::int[] (select select( (select(1 a=1,"
)
PARTS = (*SIGNS.split(), '"a"')
PHRASES = (
    "case when 1 then",
    "case (",
    "with a as (",
    "a as (",
    "from (select 1",
    "cast(1 as",
    "not",
    "not a",
    "interval '1' day",
    "in (",
    "1 in (select",
    "between 1 and",
    "exists(",
    "lambda x:",
    "list_transform([1], lambda x:",
    "join a on 1",
    "cross join a",
    "union select 1",
    "union all (",
    "select 1;",
    "collate a",
    "a.b",
    "map {",
    "a over (",
    "at time zone 'UTC'",
    "extract(year from",
    "columns(",
    "grouping sets (",
    "cube(",
    "/* ( */",
    "-- (\n",
    "$$ ( $$",
    "describe",
)


@pytest.fixture(scope="module")
def cursor() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(config={"threads": 1}) as connection:
        yield connection


def repeated(begin: str, part: str) -> str:
    """Return the longest text that may be parsed, or one that may not."""
    count = most = LIMITS["tokens"] // len(duckdb.tokenize(part) or [1])
    while count > 1:
        text = begin + f" {part}" * count
        try:
            shape_of(text)
        except QueryError:
            count = count * 3 // 4
        else:
            return text
    return begin + f" {part}" * most


def peak() -> int:
    """Return the most memory of this process since the last call, in kilobytes."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    [found] = [line.split()[1] for line in lines if line.startswith("VmHWM")]
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return int(found)


def cost(cursor: duckdb.DuckDBPyConnection, text: str) -> tuple[float, int]:
    """Return how long the check of a text takes, and how much memory more than before."""
    linux = sys.platform == "linux"
    if linux:
        peak()
        before = peak()
    begin = time.process_time()
    with contextlib.suppress(QueryError):
        check(cursor, text)
    seconds = time.process_time() - begin
    return seconds, peak() - before if linux else 0


def assert_cheap(cursor: duckdb.DuckDBPyConnection, texts: list[str]) -> None:
    dear = {}
    for text in texts:
        seconds, kilobytes = cost(cursor, text)
        if seconds > SECONDS:  # other threads of this process, or a collection of garbage?
            seconds = min(seconds, cost(cursor, text)[0])
        if seconds > SECONDS or kilobytes > KILOBYTES:
            dear[text[:100]] = (len(text), seconds, kilobytes)
    assert {} == dear


@pytest.mark.slow
@pytest.mark.parametrize("share", range(SHARES))
def test_every_token_may_be_repeated_up_to_the_cap(
    cursor: duckdb.DuckDBPyConnection, share: int
) -> None:
    rows = cursor.execute("select keyword_name from duckdb_keywords() order by all").fetchall()
    chance = random.Random(SEED)
    begins = [(part, "select ") for part in (*PARTS, *PHRASES)]
    begins += [(part, chance.choice(BEGINS)) for part in (*PARTS, *PHRASES)]
    begins += [(word, chance.choice(BEGINS)) for (word,) in rows]
    assert_cheap(cursor, [repeated(begin, part) for part, begin in begins[share::SHARES]])


@pytest.mark.slow
@pytest.mark.parametrize("share", range(SHARES))
def test_any_two_tokens_may_be_repeated_up_to_the_cap(
    cursor: duckdb.DuckDBPyConnection, share: int
) -> None:
    chance = random.Random(SEED + share)
    parts = (*PARTS, *PHRASES)
    pairs = [f"{chance.choice(parts)} {chance.choice(parts)}" for _ in range(PAIRS // SHARES)]
    assert_cheap(cursor, [repeated(chance.choice(BEGINS), pair) for pair in pairs])


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("select " + "(" * 8_000, "brackets"),
        ("select " + ".".join("a" * 8_000), "dots"),
        ("select " + "list_transform([1], lambda x: " * 1_000 + "1" + ")" * 1_000, "brackets"),
        ("with a as (" * 8, "WITH"),
        ("select " + "- " * 1_000 + "1", "operators"),
        ("select " + "not " * 1_000 + "true", "operators"),
        ("select 1" + " union select 1" * 500, "UNION"),
        ("select 1 from a" + " join a using (b)" * 60, "JOIN"),
        ("select " + "1, " * 5_000 + "1", "tokens"),
        (f"select '{'x' * 70_000}'", "bytes"),
    ],
)
def test_a_text_that_is_too_much_is_refused_before_it_is_parsed(text: str, what: str) -> None:
    with pytest.raises(QueryError, match=what):
        shape_of(text)


@pytest.mark.parametrize("inside", ["'{}'", "$${}$$", "$x${}$x$", "e'\\'{}'", '"{}"', "/*{}*/"])
def test_what_stands_in_strings_names_and_comments_is_not_counted(inside: str) -> None:
    text = "((((.. not - - with union join " * 100
    assert shape_of(f"select 1 {inside.format(text)}").brackets == 0
    assert shape_of(f"select 1 -- {text}").tokens == 2


def test_what_people_write_is_far_from_the_limits() -> None:
    ids = ", ".join(f"'{number:036}'" for number in range(1_000))
    shape = shape_of(f"select name, count(*) from tasks where id in ({ids}) group by all")
    assert (1, True) == (shape.brackets, shape.simple)


def test_more_than_python_can_follow_is_refused(cursor: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(QueryError, match="too many tables"):
        check(cursor, "select 1 from tasks" + ", tasks" * 1_900)


def doubled(begin: str, level: str, middle: str, end: str, rest: str) -> str:
    """Return the longest text of such levels that nobody plans apart first."""
    text = ""
    for count in range(1, 100):
        levels = "".join(level.format(number, number + 1) for number in range(count))
        longer = begin + levels + middle + end * count + rest
        if not shape_of(longer).simple:
            return text
        text = longer
    raise AssertionError("it never ceases to be simple")


@pytest.mark.parametrize(
    "parts",
    [
        ("select 1 as a0", ", a{0}+a{0} a{1}", "", "", ""),
        ("select 1 as a0", ", a{0}+a{0}+a{0} a{1}", "", "", ""),
        ("select ", "nullif(", "seq", ", 1)", " from tasks"),
        ("select ", "fmod(", "seq", ", 2)", " from tasks"),
        ("select ", "split_part(", "name", ", 'a', 1)", " from tasks"),
        ("select seq", "", "", ".nullif(1)", " from tasks"),
        ("select ", "(", "seq", ") in (1, 2)", " from tasks"),
        ("select ", "case ", "seq", " when 1 then 1 end", " from tasks"),
        ("select ", "case (", "seq", ") when 1 then 1 when 2 then 2 end", " from tasks"),
        ("select ", "list_transform([1], lambda x: ", "1", ")", ""),
        ("select ", "[", "1", " for x in [1]]", ""),
        ("select ", "seq between ", "1", " and 1", " from tasks"),
        ("select * from ", "(select seq + seq as seq from ", "tasks", ")", ""),
        ("with a0 as (select 1 x)", ", a{1} as (select a.x from a{0} a, a{0})", "", "", "from a1"),
        ("select count(*) from tasks group by seq", ", rollup(seq)", "", "", ""),
    ],
)
def test_a_text_that_is_not_planned_apart_is_cheap_to_plan(
    cursor: duckdb.DuckDBPyConnection, parts: tuple[str, str, str, str, str]
) -> None:
    cursor.execute("create table if not exists tasks (name varchar, seq int)")
    text = doubled(*parts)
    begin = time.process_time()
    with contextlib.suppress(duckdb.Error):
        cursor.execute(f"explain {text}").fetchall()
    assert time.process_time() - begin < SECONDS, text
