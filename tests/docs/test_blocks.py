"""The reader of Markdown pages itself: a block it missed would never be tested."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.blocks import Block, blocks_of, commands_of, program_of, statements_of
from support.paths import ROOT


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("support.blocks.relative", lambda path: path.name)
    return tmp_path / "page.md"


def block(language: str, text: str) -> Block:
    return Block(ROOT / "page.md", 1, language, (), text)


def test_blocks_are_found_with_their_line_language_and_words(page: Path) -> None:
    page.write_text(
        "# Title\n\n```python file=app.py\nx = 1\n```\n\n- item\n\n  ```sql\n  a\n  ```\n"
    )
    first, second = blocks_of(page)
    assert (3, "python", "x = 1\n", "app.py") == (
        first.line,
        first.language,
        first.text,
        first.file,
    )
    assert (9, "sql", "a\n", None) == (second.line, second.language, second.text, second.file)


def test_a_fence_inside_a_longer_fence_is_text(page: Path) -> None:
    page.write_text("````text\n```python\nx\n```\n````\n")
    (only,) = blocks_of(page)
    assert only.text == "```python\nx\n```\n"


def test_a_fence_left_open_is_an_error(page: Path) -> None:
    page.write_text("```python\nx = 1\n")
    with pytest.raises(AssertionError, match=r"page\.md:1: this fence is never closed"):
        blocks_of(page)


def test_a_block_that_continues_comes_after_those_before_it(page: Path) -> None:
    page.write_text(
        "```python\na = 1\n```\n```sql\nselect 1\n```\n"
        "```python continues\nb = a\n```\n```python continues\nprint(b)\n```\n"
    )
    blocks = blocks_of(page)
    assert program_of(blocks[-1], blocks).split() == ["a", "=", "1", "b", "=", "a", "print(b)"]


def test_commands_are_what_follows_the_prompt() -> None:
    shown = block("console", "$ wopr stats \\\n>   --json\n{}\n$ wopr doctor\nok\n")
    assert commands_of(shown) == "wopr stats \\\n  --json\nwopr doctor\n"


def test_a_script_without_prompts_is_all_commands() -> None:
    assert commands_of(block("bash", "wopr stats\n")) == "wopr stats\n"


def test_statements_end_at_a_semicolon_at_the_end_of_a_line() -> None:
    text = "-- a; b\nselect ';';  -- one\n\nselect 2\n-- the end\n"
    assert statements_of(block("sql", text)) == ["-- a; b\nselect ';'", "select 2\n-- the end"]
