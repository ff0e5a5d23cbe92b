"""The fenced code blocks of a Markdown page."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from support.paths import relative

_OPEN = re.compile(r"^(?P<indent> *)(?P<fence>`{3,}|~{3,})(?P<info>[^`]*)$")


@dataclass(frozen=True)
class Block:
    """One fenced block: what it is, where it stands, and its text."""

    page: Path
    line: int  # of the opening fence
    language: str
    words: tuple[str, ...]  # what follows the language on the fence
    text: str

    @property
    def place(self) -> str:
        """Return ``file:line``, which an editor can open."""
        return f"{relative(self.page)}:{self.line}"

    @property
    def continues(self) -> bool:
        """Tell whether the block needs the ones before it."""
        return "continues" in self.words

    @property
    def file(self) -> str | None:
        """Return the name under which later blocks of the page find this one."""
        return next((word[5:] for word in self.words if word.startswith("file=")), None)

    @property
    def needs(self) -> list[str]:
        """Return the modules of other projects that the block is about."""
        return next((word[6:].split(",") for word in self.words if word.startswith("needs=")), [])


def blocks_of(page: Path) -> list[Block]:
    """Return the blocks of a page in order."""
    found: list[Block] = []
    lines = iter(enumerate(page.read_text(encoding="utf-8").splitlines(), start=1))
    for number, line in lines:
        opening = _OPEN.match(line)
        if opening is None:
            continue
        indent, fence = len(opening["indent"]), opening["fence"]
        body: list[str] = []
        for _, inner in lines:
            if inner.strip().startswith(fence) and not inner.strip().strip(fence[0]):
                break
            body.append(inner[indent:] if not inner[:indent].strip() else inner)
        else:
            raise AssertionError(f"{relative(page)}:{number}: this fence is never closed")
        language, *words = opening["info"].split() or [""]
        found.append(Block(page, number, language, tuple(words), "\n".join(body) + "\n"))
    return found


def program_of(block: Block, page: list[Block]) -> str:
    """Return the text of a Python block after the ones that it continues."""
    python = [other for other in page if other.language == "python"]
    at = python.index(block)
    parts = [block.text]
    while python[at].continues:
        assert at > 0, f"{block.place}: the first Python block of a page has nothing to continue"
        at -= 1
        parts.insert(0, python[at].text)
    return "\n".join(parts)


def commands_of(block: Block) -> str:
    """Return the shell commands of a block without prompts and printed output."""
    if not re.search(r"^\$ ", block.text, re.MULTILINE):
        assert block.language != "console", f"{block.place}: no line starts with the prompt '$ '"
        return block.text
    commands: list[str] = []
    open_ended = False
    for line in block.text.splitlines():
        if line.startswith("$ "):
            commands.append(line[2:])
        elif open_ended:
            commands.append(line.removeprefix("> "))
        else:
            continue
        open_ended = commands[-1].endswith("\\")
    return "\n".join(commands) + "\n"


def statements_of(block: Block) -> list[str]:
    """Return the SQL statements of a block; each ends with ``;`` at the end of a line."""
    parts = re.split(r";[ \t]*(?:--[^\n]*)?$", block.text, flags=re.MULTILINE)
    code = (part.strip() for part in parts)
    return [part for part in code if re.sub(r"--[^\n]*", "", part).strip()]
