"""No defect is forgotten."""

from __future__ import annotations

import ast
import re
from pathlib import Path


def test_each_of_the_36_defects_has_a_test_that_quotes_it() -> None:
    found: dict[int, str | None] = {}
    for path in sorted(Path(__file__).parent.glob("test_s4_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (
                number := re.match(r"test_s4_(\d\d)_", node.name)
            ):
                found[int(number[1])] = ast.get_docstring(node)
    assert list(range(1, 37)) == sorted(found)
    assert [] == [number for number, docstring in found.items() if not docstring]
