"""Who installs what a page says can run what it shows."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from support.blocks import Block, blocks_of
from support.paths import ROOT, relative

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
DISTRIBUTIONS = metadata.packages_distributions()


def installed_above(page: Path, line: int) -> Iterator[Requirement]:
    """Yield what ``pip install`` names in the text above a line, in prose too."""
    text = "".join(page.read_text(encoding="utf-8").splitlines(keepends=True)[:line])
    for words in re.findall(r"pip install ([^`#\n]+)", text):
        for word in words.replace("'", "").split():
            if not word.startswith(("-", ".")):  # neither an option nor a project in this folder
                yield Requirement(word)


def with_needs(wanted: Iterable[Requirement]) -> set[str]:
    """Return the names of these distributions and of all that they bring."""
    found: set[tuple[str, str]] = set()
    left = [(one.name, extra) for one in wanted for extra in ("", *one.extras)]
    while left:
        name, extra = left.pop()
        if (canonicalize_name(name), extra) in found:
            continue
        found.add((canonicalize_name(name), extra))
        try:
            needs = [Requirement(text) for text in metadata.requires(name) or ()]
        except metadata.PackageNotFoundError:
            continue  # of another platform or Python
        left += [
            (need.name, more)
            for need in needs
            if need.marker is None or need.marker.evaluate({"extra": extra})
            for more in ("", *need.extras)
        ]
    return {name for name, _ in found}


def imported(block: Block) -> set[str]:
    """Return the top-level modules that a block imports without a guard."""
    found = set(
        re.findall(r"(?:sqlite|postgresql|mysql)\+(\w+)://", block.text)
    )  # the driver of a database
    body = [node for node in ast.parse(block.text).body if not isinstance(node, ast.Try)]
    for node in ast.walk(ast.Module(body, [])):
        if isinstance(node, ast.Import):
            found |= {name.name.partition(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(str(node.module).partition(".")[0])
    return found


def lacking(page: Path) -> list[str]:
    """Return what blocks import that no install line above them brings."""
    blocks = blocks_of(page)
    files = {Path(block.file).stem for block in blocks if block.file}
    found = []
    for block in (block for block in blocks if block.language == "python"):
        there = with_needs([Requirement("wopr"), *installed_above(page, block.line)])
        for module in sorted(imported(block) - files - set(sys.stdlib_module_names) - {"wopr"}):
            brought = {canonicalize_name(name) for name in DISTRIBUTIONS.get(module, [module])}
            if not brought & there:
                found.append(f"{block.place} imports {module}")
    return found


@pytest.mark.parametrize("page", [pytest.param(page, id=relative(page)) for page in PAGES])
def test_the_install_line_of_a_page_did_not_bring_what_its_programs_import(page: Path) -> None:
    assert lacking(page) == []


def test_what_is_not_installed_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("support.blocks.relative", lambda path: path.name)
    page = tmp_path / "page.md"
    page.write_text(
        "```console\n$ pip install -U 'wopr[otel]>=0.1'  # httpx\n```\n"
        "```python\nimport httpx, json, pydantic, wopr\nfrom opentelemetry import trace\n```\n"
    )
    assert ["page.md:4 imports httpx"] == lacking(page)
