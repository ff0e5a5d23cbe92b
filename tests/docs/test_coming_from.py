"""The pages for those who come from another queue stand on the same app, and both run in CI."""

from __future__ import annotations

import re
import tomllib
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from support.blocks import Block, blocks_of
from support.paths import ROOT, relative

FOLDER = ROOT / "docs" / "guides" / "coming-from"
PAGES = sorted(FOLDER.glob("*.md"))
QUEUES = ["apscheduler", "arq", "celery", "dramatiq", "huey", "procrastinate", "rq"]
HEADINGS = [
    "## The same app in both",
    "### wopr",
    "## Word for word",
    "## What will surprise you",
    "## What has no equivalent here",
    "## What you had no equivalent for",
]


def programs(page: str, *, theirs: bool) -> list[Block]:
    blocks = blocks_of(FOLDER / f"{page}.md")
    return [one for one in blocks if one.language == "python" and bool(one.needs) is theirs]


def test_there_is_a_page_for_each_queue_and_the_index_leads_to_it() -> None:
    assert QUEUES == [page.stem for page in PAGES]
    index = (FOLDER.parent / "coming-from.md").read_text(encoding="utf-8")
    assert [] == [page for page in QUEUES if f"(coming-from/{page}.md)" not in index]


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_a_page_has_both_apps_and_what_has_no_equivalent(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert HEADINGS == [head for head in HEADINGS if f"\n{head}\n" in text]


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_an_idea_stands_once_on_a_page(page: Path) -> None:
    rows = re.findall(r"^\| ([^|`]+) \|", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert [] == sorted({idea for idea in rows if rows.count(idea) > 1})


def test_our_app_is_the_same_on_all_pages() -> None:
    shown = {name: [one.text for one in programs(name, theirs=False)] for name in QUEUES}
    app, use, test = shown["celery"]
    for name, texts in shown.items():
        assert {app, use, test} <= set(texts), f"{name}.md shows another app than celery.md"


@pytest.mark.parametrize("name", QUEUES)
def test_the_app_of_the_others_runs_where_our_tests_run(name: str) -> None:
    needs = {module for block in programs(name, theirs=True) for module in block.needs}
    assert name in needs
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    tested = [Requirement(text) for text in extras["optional-dependencies"]["test"]]
    installed = {canonicalize_name(one.name) for one in tested}
    assert {canonicalize_name(module) for module in needs} <= installed


@pytest.mark.parametrize("name", QUEUES)
def test_a_page_says_the_version_that_its_app_runs_with(name: str) -> None:
    if find_spec(name) is None:
        pytest.skip(f"{name} is not installed: pip install 'wopr[test]'")
    version = metadata.version(name).rsplit(".", 1)[0]
    assert version in (FOLDER / f"{name}.md").read_text(encoding="utf-8")
