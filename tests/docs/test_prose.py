"""What a sentence names in passing exists: commands with their options, settings, calls."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.paths import ROOT, relative
from wopr import Settings, TaskQueue
from wopr.cli.later import Later
from wopr.cli.main import app

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
WRITTEN_PAGES = [page for page in PAGES if "adr" not in page.parts]  # a decision is of its day


def named(page: Path) -> Iterator[str]:
    """Yield what stands as code in the sentences and tables of a page."""
    prose = re.sub(
        r"^( *)```.*?^\1```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL
    )
    for found in re.findall(r"`([^`]+)`", prose):
        yield " ".join(found.replace("\\|", "|").split())


def unknown(words: list[str]) -> str | None:
    """Say what of ``wopr …`` there is not: a command, or an option of it."""
    command: Any = app
    for at, word in enumerate(words):
        if hasattr(command, "commands"):  # a group of them
            if word.startswith("-") or word in {"…", "COMMAND"}:
                return None
            if word not in command.commands:
                return word
            command = command.commands[word]
            command = command.command if isinstance(command, Later) else command
        elif word.startswith("-") and word.partition("=")[0] not in options_of(command):
            return word
        if word in {"|", ";", "&&", "&", "||"}:
            return unknown(words[at + 2 :]) if words[at + 1 : at + 2] == ["wopr"] else None
    return None


def options_of(command: Any) -> set[str]:
    return {text for one in command.params for text in (*one.opts, *one.secondary_opts)} | {
        "-h",
        "--help",
    }


@pytest.mark.parametrize("page", [pytest.param(page, id=relative(page)) for page in WRITTEN_PAGES])
def test_a_command_that_a_sentence_names_is_one(page: Path) -> None:
    commands = [text for text in named(page) if re.match(r"wopr( [\w-]|$)", text)]
    wrong = {text: unknown(shlex.split(text)[1:]) for text in commands}
    assert {} == {text: word for text, word in wrong.items() if word is not None}


@pytest.mark.parametrize("page", [pytest.param(page, id=relative(page)) for page in WRITTEN_PAGES])
def test_a_setting_that_a_sentence_names_is_one(page: Path) -> None:
    there = {name.upper() for name in Settings.model_fields}
    text = page.read_text(encoding="utf-8")
    assert [] == [name for name in re.findall(r"\bWOPR_TASKS_(\w*\w)\b", text) if name not in there]


OURS = [page for page in WRITTEN_PAGES if page.parent.name != "coming-from"]  # whose queue is ours


@pytest.mark.parametrize("page", [pytest.param(page, id=relative(page)) for page in OURS])
def test_a_call_of_the_queue_that_a_sentence_names_is_one(page: Path) -> None:
    queue = TaskQueue(enabled=False)
    calls = [match[1] for text in named(page) for match in re.finditer(r"\bqueue\.(\w+)\(", text)]
    assert [] == [name for name in calls if not hasattr(queue, name)]


def test_what_there_is_not_is_noticed() -> None:
    assert unknown(["tasks", "show", "ID"]) is None
    assert "mend" == unknown(["tasks", "mend", "ID"])
    assert "--loud" == unknown(["stats", "--loud"])
