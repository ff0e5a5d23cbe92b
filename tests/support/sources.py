"""The package's own source, parsed, for rules that no linter knows."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from support.paths import SOURCE, relative


@dataclass(frozen=True)
class Source:
    """One parsed file."""

    path: Path
    text: str = field(repr=False)
    tree: ast.Module = field(repr=False)

    @property
    def name(self) -> str:
        """Return the path as a reader of the repository would write it."""
        return relative(self.path)


@cache
def parsed(path: Path) -> Source:
    """Return a file with its syntax tree."""
    text = path.read_text(encoding="utf-8")
    return Source(path, text, ast.parse(text, filename=str(path)))


def sources_under(folder: Path) -> list[Source]:
    """Return all Python files below ``folder``."""
    return [parsed(path) for path in sorted(folder.rglob("*.py"))]


def package_sources() -> list[Source]:
    """Return all files of the package."""
    found = sources_under(SOURCE)
    assert found, f"no source below {SOURCE}"
    return found


def dotted(node: ast.expr) -> str:
    """Return ``a.b.c`` of a name or attribute, or an empty text."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        head = dotted(node.value)
        return f"{head}.{node.attr}" if head else ""
    return ""


def imported_modules(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield the line and full name of everything a file imports, wherever in the file."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield node.lineno, f"{node.module}.{alias.name}"


def calls(tree: ast.AST) -> Iterator[tuple[ast.Call, str]]:
    """Yield each call and the full name of what it calls, with imported names spelled out.

    ``from time import time as t`` followed by ``t()`` gives ``time.time``.
    """
    known: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            known |= {alias.asname: alias.name for alias in node.names if alias.asname}
        elif isinstance(node, ast.ImportFrom):
            known |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and (name := dotted(node.func)):
            head, _, rest = name.partition(".")
            head = known.get(head, head)
            yield node, f"{head}.{rest}" if rest else head
