"""The house: which rooms there are, how one gets in, and what nobody does."""

from __future__ import annotations

import ast
import importlib
import re
import tomllib

import pytest

from support.paths import ROOT, SOURCE
from support.sources import Source, dotted, package_sources, sources_under

SOURCES = [pytest.param(source, id=source.name) for source in package_sources()]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
CONTRACTS = {one["id"]: one for one in PROJECT["tool"]["importlinter"]["contracts"]}
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")

# -- rooms ----------------------------------------------------------------------------------


def test_no_module_is_loose_at_the_root_but_the_public_ones() -> None:
    loose = {path.name for path in SOURCE.glob("*.py")}
    assert {"__init__.py", "__main__.py", "periodic.py", "scheduler.py"} == loose


@pytest.mark.parametrize(
    "package", sorted({path.parent for path in SOURCE.rglob("*.py")} - {SOURCE}), ids=str
)
def test_every_room_says_in_a_sentence_what_it_is_for(package: object) -> None:
    init = SOURCE / str(package) / "__init__.py"
    said = ast.get_docstring(ast.parse(init.read_text(encoding="utf-8")))
    assert said, f"{init} has no docstring"


def rooms_of(table: str) -> set[str]:
    """Return the folders in the first column of the table of CONTRIBUTING below a heading."""
    section = CONTRIBUTING.split(f"## {table}\n", 1)[1].split("\n## ", 1)[0]
    cells = re.findall(r"^\| (`[^|]*)\|", section, re.MULTILINE)
    return {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}


def folders(top: str, *, deep: set[str]) -> set[str]:
    """Return the folders of Python files below ``top``; below those in ``deep`` too."""
    found: set[str] = set()
    for path in (ROOT / top).iterdir():
        if not path.is_dir() or path.name.startswith(("_", ".")):
            continue
        found.add(path.name)
        if path.name in deep:
            inner = (one for one in path.iterdir() if one.is_dir() and one.name[0] not in "._")
            found |= {f"{path.name}/{one.name}" for one in inner}
    return found


def test_the_map_names_the_rooms_that_there_are() -> None:
    there = folders("src/wopr", deep={"engine", "storage", "web"})
    there |= {
        f"storage/duckdb/{room}" for room in ("asked", "file", "journal", "moving", "parquet")
    }
    there.add("storage/postgres/moving")
    told = rooms_of("The map")
    wrong = sorted((there | {"scheduler.py", "periodic.py"}) ^ told)
    assert wrong == [], f"the map of CONTRIBUTING.md and src/wopr differ by {wrong}"


def test_the_table_of_tests_names_the_folders_that_there_are() -> None:
    there = folders("tests", deep={"storage", "behaviour", "faults"})
    told = {name.removeprefix("tests/") for name in rooms_of("How the tests are shelved")}
    wrong = sorted(there ^ told)
    assert wrong == [], f"the table of tests in CONTRIBUTING.md and tests/ differ by {wrong}"


@pytest.mark.parametrize("script", [".ci/run", "scripts/test", "scripts/check", "scripts/lint"])
def test_the_folders_that_a_script_names_exist(script: str) -> None:
    named = re.findall(r"\btests/[\w/.]+", (ROOT / script).read_text(encoding="utf-8"))
    assert [] == [name for name in named if not (ROOT / name).exists()]


CORE = {
    *("click", "cronsim", "duckdb", "jmespath", "pydantic", "python-dotenv", "structlog"),
    "tenacity",
}
"""What every user installs. DuckDB is two thirds of the 100 MB that it may come to."""


def test_the_core_needs_these_libraries_and_no_other() -> None:
    needed = {re.split(r"[<>=\[ ]", one)[0] for one in PROJECT["project"]["dependencies"]}
    assert needed == CORE


# -- contracts ------------------------------------------------------------------------------


def test_imports_for_types_count_and_no_layer_is_a_circle() -> None:
    assert not PROJECT["tool"]["importlinter"].get("exclude_type_checking_imports", False)
    layers = [*CONTRACTS["layers"]["layers"], *CONTRACTS["engine"]["layers"]]
    assert [] == [layer for layer in layers if ":" in layer]
    assert CONTRACTS["layers"]["exhaustive"]
    assert CONTRACTS["engine"]["exhaustive"]
    assert ["wopr", "wopr.**"] == CONTRACTS["no-circles"]["ancestors"]


def test_every_face_is_under_the_contract_that_they_do_not_call_each_other() -> None:
    faces = {
        "wopr." + ".".join(source.path.relative_to(SOURCE).with_suffix("").parts)
        for source in package_sources()
        for node in source.tree.body
        if isinstance(node, ast.ClassDef) and "Face" in map(dotted, node.bases)
    }
    wrong = sorted(faces ^ set(CONTRACTS["faces"]["modules"]))
    assert wrong == [], f"contract 'faces' in pyproject.toml and the faces differ by {wrong}"


@pytest.mark.parametrize("source", SOURCES)
def test_only_optional_libraries_are_imported_for_types_alone(source: Source) -> None:
    hidden = [
        f"{source.name}:{node.lineno}"
        for block in ast.walk(source.tree)
        if isinstance(block, ast.If) and dotted(block.test).endswith("TYPE_CHECKING")
        for node in block.body
        if not _is_of_others(node) and source.path != SOURCE / "__init__.py"
    ]
    assert hidden == []  # but the public names: test_public_api.py holds where each is loaded from


def _is_of_others(node: ast.stmt) -> bool:
    if isinstance(node, ast.ImportFrom):
        return not (node.module or "").startswith("wopr")
    return isinstance(node, ast.Import) and not any(
        alias.name.startswith("wopr") for alias in node.names
    )


SCRIPTS = [pytest.param(source, id=source.name) for source in sources_under(ROOT / "scripts")]


@pytest.mark.parametrize("source", [*SOURCES, *SCRIPTS])
def test_nobody_reaches_into_another_object_or_pretends_to_be_the_queue(source: Source) -> None:
    found = [
        f"{source.name}:{number}"
        for number, line in enumerate(source.text.splitlines(), 1)
        if re.search(r'noqa:.*SLF001|cast\("TaskQueue"', line)
    ]
    assert found == []


# -- ways in --------------------------------------------------------------------------------

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
IMPORT = re.compile(r"^\s*from (wopr[\w.]*) import (?:\(([^)]*)\)|([^\n(#]+))", re.MULTILINE)
DOTTED = re.compile(r"`(wopr(?:\.[a-z_]+)+\.[A-Z]\w*)`")


def ways_in() -> set[tuple[str, str]]:
    """Return each module and name that README, docs and examples import."""
    texts = [page.read_text(encoding="utf-8") for page in PAGES if "adr" not in page.parts]
    texts += [path.read_text(encoding="utf-8") for path in (ROOT / "examples").glob("*.py")]
    found: set[tuple[str, str]] = set()
    for text in texts:
        for module, wrapped, plain in IMPORT.findall(text):
            names = re.sub(r"#.*", "", wrapped or plain).replace("\n", " ").split(",")
            found |= {(module, name.split(" as ")[0].strip()) for name in names if name.strip()}
        for path in DOTTED.findall(text):
            module, _, name = path.rpartition(".")
            found.add((module, name))
    return found


@pytest.mark.parametrize(("module", "name"), sorted(ways_in()))
def test_what_the_documentation_imports_is_there(module: str, name: str) -> None:
    if module == "wopr.integrations.django":
        pytest.skip("needs the settings of a Django project; its own tests import it")
    assert hasattr(importlib.import_module(module), name)


def test_there_are_as_many_ways_in_as_the_documentation_needs() -> None:
    modules = {module for module, _ in ways_in()}
    assert {"wopr", "wopr.auth", "wopr.background", "wopr.flows", "wopr.handlers"} <= modules
    assert {"wopr.notifications", "wopr.periodic", "wopr.scheduler", "wopr.testing"} <= modules
    assert {"wopr.domain.crontab", "wopr.domain.triggers", "wopr.service.http"} <= modules
