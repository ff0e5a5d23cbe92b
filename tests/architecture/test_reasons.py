"""What the guide of operations lists as reasons of a status is what the code gives."""

from __future__ import annotations

import ast
import re

from support.paths import ROOT, SOURCE
from support.sources import calls, parsed
from wopr.domain.why import _ORDER

GIVERS = ("domain/why.py", "core/status.py")


def given() -> set[str]:
    """Return the kinds that the code writes, which all are literals."""
    found: set[str] = set()
    for name in GIVERS:
        text = (SOURCE / name).read_text(encoding="utf-8")
        found |= set(re.findall(r'kind="([^"]+)"', text))
    asked = (SOURCE / "core" / "status.py").read_text(encoding="utf-8")
    found |= set(re.findall(r'\w+Error, "([^"]+)"\)', asked))
    found |= set(re.findall(r'_unusable\(core, "([^"]+)"', asked))
    found |= set(re.findall(r'if isinstance\(error, cls\)\), "([^"]+)"\)', asked))
    return found


def documented() -> set[str]:
    page = (ROOT / "docs" / "guides" / "operations.md").read_text(encoding="utf-8")
    table = page.partition("| kind | what it says |")[2].partition("\n\n")[0]
    cells = [row.split("|")[1] for row in table.splitlines() if row.startswith("| `")]
    return {kind for cell in cells for kind in re.findall("`([^`]+)`", cell)}


def test_every_kind_of_reason_is_documented_and_no_other() -> None:
    assert given() == documented()


def test_every_kind_that_the_facts_give_has_its_place() -> None:
    text = (SOURCE / "domain" / "why.py").read_text(encoding="utf-8")
    assert set(re.findall(r'kind="([^"]+)"', text)) == set(_ORDER)


def test_a_kind_is_always_a_literal() -> None:
    tree = parsed(SOURCE / "domain" / "why.py").tree
    made = [call for call, called in calls(tree) if called == "Reason"]
    kinds = [one.value for call in made for one in call.keywords if one.arg == "kind"]
    assert len(made) == len(kinds)
    assert all(isinstance(kind, ast.Constant) for kind in kinds)
