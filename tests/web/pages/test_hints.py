"""The commands that empty pages name are commands."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

import wopr.web.pages
from support.commands import call

TEMPLATES = Path(wopr.web.pages.__file__).parent / "templates"
HINTS = sorted(
    {
        hint
        for page in TEMPLATES.glob("*.html")
        for hint in re.findall(r'parts\.nothing\(.*"(wopr [^"]+)"\)', page.read_text("utf-8"))
    }
)


def test_there_are_some() -> None:
    assert len(HINTS) >= 2


@pytest.mark.parametrize("hint", HINTS)
def test_a_hint_is_a_command_with_its_options(hint: str) -> None:
    answer = call(*shlex.split(hint)[1:], "--help")
    assert 0 == answer.code, answer.err
