"""Commands made of functions: each parameter's annotation says which option or argument it is."""

from __future__ import annotations

import inspect
import math
import shutil
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, TypeVar, get_args, get_origin

import click

from wopr.cli.kinds import FileName, Number, Word

F = TypeVar("F", bound=Callable[..., Any])

WIDEST = 120
"""Columns of a help page; on a narrower terminal as many as that has."""


class Option:
    """An option of a command: its names, ``--`` and the parameter's own without, and its help.

    Args:
        names: what is typed.
        given: what else click's option takes; and of a number its ``min`` and ``max``.
    """

    def __init__(self, *names: str, **given: Any) -> None:
        self.names = names
        self.bounds = (given.pop("min", -math.inf), given.pop("max", math.inf))
        self.given = given


class Argument(Option):
    """An argument of a command: what it is called in help, and its help."""


class Page(click.HelpFormatter):
    """A page of help, no wider than the terminal."""

    def __init__(self, width: int | None = None, max_width: int | None = None) -> None:
        super().__init__(width=min(shutil.get_terminal_size().columns, WIDEST))

    def write_dl(self, rows: Any, col_max: int = 30, col_spacing: int = 2) -> None:
        """Write names and what each is; on a narrow terminal more of them stand above that."""
        super().write_dl(rows, min(col_max, self.width // 3), col_spacing)


class Context(click.Context):
    """A call of a command."""

    formatter_class = Page


class Command(click.Command):
    """A command that a function runs, with the options and arguments that its signature tells."""

    context_class = Context

    def __init__(self, name: str | None, *, callback: Callable[..., Any], **given: Any) -> None:
        told = inspect.cleandoc(callback.__doc__ or "")
        signature = inspect.signature(callback, eval_str=True)
        given |= {
            "help": told,
            "short_help": first_paragraph(told),
            "params": [_parameter(one) for one in signature.parameters.values()],
        }
        super().__init__(name, callback=callback, **given)


class Group(click.Group):
    """Commands under one name, in the order in which they were added."""

    context_class = Context

    def command(self, name: str | None = None) -> Callable[[F], F]:  # type: ignore[override]
        """Add a command that a function runs; the function stays what it is."""

        def added(function: F) -> F:
            self.add_command(Command(name or function.__name__, callback=function))
            return function

        return added

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return their names."""
        return list(self.commands)


def first_paragraph(text: str) -> str:
    """Return the first paragraph of a help text as one line."""
    return " ".join(text.partition("\n\n")[0].split())


def _parameter(one: inspect.Parameter) -> click.Parameter:
    """Return the option or the argument that a parameter of a function is."""
    kind, said = get_args(one.annotation)
    if get_origin(kind) is UnionType:  # X | None
        [kind] = (part for part in get_args(kind) if part is not NoneType)
    several = get_origin(kind) is list
    kind = get_args(kind)[0] if several else kind
    required = one.default is inspect.Parameter.empty
    given: dict[str, Any] = {"type": _type(kind, said), "required": required, **said.given}
    given["help"] += getattr(given["type"], "told", "")
    if several:
        given["callback"] = lambda context, option, values: list(values) or None
    elif not required:
        given["default"] = one.default.value if isinstance(one.default, Enum) else one.default
    if isinstance(said, Argument):
        return click.Argument([one.name], nargs=-1 if several else 1, **given)
    names = said.names or (f"--{one.name.replace('_', '-')}",)
    given |= {"show_default": True, "show_envvar": True, "multiple": several}
    return click.Option([*names, one.name], is_flag=kind is bool or None, **given)


def _type(kind: Any, said: Option) -> click.ParamType[Any] | None:
    if kind in (int, float):
        return Number(kind, *said.bounds)
    if kind is Path:
        return FileName()
    if isinstance(kind, type) and issubclass(kind, Enum):
        return Word(kind)
    return None if kind is bool else click.STRING
