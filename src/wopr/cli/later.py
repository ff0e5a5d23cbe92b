"""A command that is loaded when it is called; its line in the list of commands is known before."""

from __future__ import annotations

from functools import cached_property
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand


class Later(TyperCommand):
    """Stands for a command in the list of commands, in help and in the shell's completion.

    Args:
        name: what is typed.
        where: the module and what of it is the command: a function, or an app with commands.
        line: the first paragraph of its help.
    """

    def __init__(self, name: str, where: str, line: str) -> None:
        super().__init__(name, help=line)
        self._name = name
        self._where = where

    @cached_property
    def command(self) -> Any:
        """The command itself, a group or a single one."""
        module, _, attribute = self._where.partition(":")
        found = getattr(import_module(module), attribute)
        around = typer.Typer(rich_markup_mode="markdown", add_completion=False)
        around.callback()(_nothing)  # makes it a group, from which the one command is taken
        if isinstance(found, typer.Typer):
            around.add_typer(found)
        else:
            around.command(self._name)(found)
        group: Any = typer.main.get_command(around)
        return group.commands[self._name]

    def make_context(self, *args: Any, **options: Any) -> Any:
        """Load the command, and have it read its words."""
        return self.command.make_context(*args, **options)


def _nothing() -> None:
    pass
