"""How numbers, times and durations are said: in one way, made in one place."""

from __future__ import annotations

import ast
import re

import pytest

from support.sources import Source, dotted, package_sources

SOURCES = [pytest.param(source, id=source.name) for source in package_sources()]
SPOKEN = "src/wopr/domain/spoken.py"

COUNTABLE = (
    *("attempts", "changes", "flows", "parents", "problems", "retries", "rows", "schedules"),
    *("tasks", "transitions", "workers"),
)
_NOUN = rf" (?:(?:due|failed|live|running|selected) )?(?:{'|'.join(COUNTABLE)})\b(?! per\b)"
AFTER_A_NUMBER = re.compile(rf"^{_NOUN}")
IN_A_LOG = re.compile(rf"%(?:\(\w+\))?d{_NOUN}")


def plurals(tree: ast.AST) -> list[int]:
    """Return the lines where a number that may be one stands before a plural: ``{count} tasks``."""
    logged = [
        text.lineno
        for text in ast.walk(tree)
        if isinstance(text, ast.Constant) and IN_A_LOG.search(str(text.value))
    ]
    return logged + [
        value.lineno
        for text in ast.walk(tree)
        if isinstance(text, ast.JoinedStr)
        for value, after in zip(text.values, text.values[1:], strict=False)
        if isinstance(value, ast.FormattedValue)
        and value.conversion == -1
        and isinstance(after, ast.Constant)
        and AFTER_A_NUMBER.match(str(after.value))
        and may_be_one(value.value)
    ]


def may_be_one(value: ast.expr) -> bool:
    """Whether it is a number that is not written in the source, as a limit is."""
    if isinstance(value, ast.Call):
        return dotted(value.func) == "len"
    return isinstance(value, ast.Name | ast.Attribute | ast.Subscript) and not (
        dotted(value).rpartition(".")[2].isupper()
    )


@pytest.mark.parametrize("source", SOURCES)
def test_no_text_says_one_tasks(source: Source) -> None:
    assert plurals(source.tree) == [], "say it with wopr.domain.spoken.counted"


@pytest.mark.parametrize("source", SOURCES)
def test_times_for_people_are_made_in_one_place(source: Source) -> None:
    if source.name == SPOKEN:
        return
    made = [
        node.lineno
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Constant) and "%H:%M" in str(node.value)
    ]
    assert made == [], "say it with wopr.domain.spoken.local"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('f"{count} tasks"', True),
        ('f"{len(rows):,} due tasks wait"', True),
        ('f"{MOST:,} tasks"', False),
        ('f"{rate:.0f} tasks per second"', False),
        ("f\"{counted(count, 'task')} wait\"", False),
        ('log.info("Recovered %d tasks", count)', True),
    ],
)
def test_a_plural_after_a_number_is_noticed(text: str, found: bool) -> None:
    assert found == bool(plurals(ast.parse(text)))
