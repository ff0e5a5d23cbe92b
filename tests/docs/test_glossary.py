"""Every word of the glossary names something that exists, once."""

from __future__ import annotations

import ast
import re
from collections import Counter

import pytest

from support.paths import ROOT, SOURCE
from wopr.storage import schema

PAGE = ROOT / "docs" / "reference" / "glossary.md"
ROW = re.compile(
    r"^\| (?P<word>[^|]+?) \| (?P<meaning>[^|]+?) \| `(?P<room>[^`]+)` `(?P<name>[^`]+)` \|$"
)


def rows() -> list[re.Match[str]]:
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    table = [line for line in lines if line.startswith("| ") and not line.startswith("| word |")]
    found = [ROW.match(line) for line in table]
    assert [] == [line for line, row in zip(table, found, strict=True) if row is None]
    return [row for row in found if row is not None]


def names_in(room: str) -> set[str]:
    """Return what a file defines: classes, functions, methods, constants."""
    tree = ast.parse((SOURCE / room).read_text(encoding="utf-8"))
    named = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    names = {node.name for node in ast.walk(tree) if isinstance(node, named)}
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return names


@pytest.mark.parametrize("row", rows(), ids=lambda row: row["word"])
def test_a_word_names_what_exists_in_its_room(row: re.Match[str]) -> None:
    table, dot, column = row["name"].partition(".")
    if dot:
        assert "storage/schema.py" == row["room"]
        assert column in schema.metadata.tables[table].columns
    else:
        assert row["name"] in names_in(row["room"])


def test_a_word_stands_once_and_so_does_what_carries_it() -> None:
    words = Counter(row["word"] for row in rows())
    assert [] == [word for word, times in words.items() if times > 1]
    places = Counter((row["room"], row["name"]) for row in rows())
    assert [] == [place for place, times in places.items() if times > 1]


def test_a_name_that_exists_nowhere_is_noticed() -> None:
    assert "Opening" not in names_in("access/access.py")
    assert "Access" in names_in("access/access.py")
