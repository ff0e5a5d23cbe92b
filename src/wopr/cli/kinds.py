"""What is typed for an option or an argument, and what becomes of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem


class Number(click.ParamType[Any]):
    """A number between two bounds; a wrong one is told with what may be."""

    def __init__(self, kind: type[int] | type[float], least: float, most: float) -> None:
        self.name = "integer" if kind is int else "number"
        self._kind = kind
        self._least = least
        self._most = most
        self.told = {
            (True, True): f" From {least} to {most}.",
            (True, False): f" At least {least}.",
            (False, True): f" At most {most}.",
            (False, False): "",
        }[least > -math.inf, most < math.inf]
        """What help adds."""

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        """Return the number that was typed."""
        try:
            number = self._kind(value)
        except ValueError:
            self.fail(f"Input should be a valid {self.name}, not {value!r:.80}", param, ctx)
        if not number >= self._least and self._least > -math.inf:  # nor NaN
            said = f"greater than or equal to {self._least}"
            self.fail(f"Input should be {said}, not {value!r:.80}", param, ctx)
        if not number <= self._most and self._most < math.inf:
            said = f"less than or equal to {self._most}"
            self.fail(f"Input should be {said}, not {value!r:.80}", param, ctx)
        return number


class Word(click.Choice[str]):
    """One of the values of an enumeration."""

    def __init__(self, kind: type[Enum]) -> None:
        super().__init__([one.value for one in kind])
        self._kind = kind
        self.told = f" One of {', '.join(self.choices)}."
        """What help adds."""

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        """Return what help shows in its place."""
        return "WORD"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return the member with the value that was typed."""
        return self._kind(super().convert(value, param, ctx))


class FileName(click.ParamType[Any]):
    """A file, or what a function makes of its name; shells complete it as a file."""

    name = "path"

    def __init__(self, made: Callable[[Any], Any] = Path) -> None:
        self._made = made

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return where it is."""
        return self._made(value)

    def shell_complete(self, ctx: Any, param: Any, incomplete: str) -> list[CompletionItem]:
        """Have the shell look for files."""
        return [CompletionItem(incomplete, type="file")]
