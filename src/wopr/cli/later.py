"""A command that is loaded when it is called; its line in the list of commands is known before."""

from __future__ import annotations

from functools import cached_property
from importlib import import_module
from typing import Any

import click

from wopr.cli.declared import Command


class Later(click.Command):
    """Stands for a command in the list of commands, in help and in the shell's completion.

    Args:
        name: what is typed.
        where: the module and what of it is the command: a function, or a group of commands.
        line: the first paragraph of its help.
    """

    def __init__(self, name: str, where: str, line: str) -> None:
        super().__init__(name, help=line, short_help=line)
        self._where = where

    @cached_property
    def command(self) -> click.Command:
        """The command itself, a group or a single one."""
        module, _, attribute = self._where.partition(":")
        found = getattr(import_module(module), attribute)
        if isinstance(found, click.Command):
            return found
        return Command(self.name, callback=found)

    def make_context(self, *args: Any, **options: Any) -> click.Context:
        """Load the command, and have it read its words."""
        return self.command.make_context(*args, **options)
