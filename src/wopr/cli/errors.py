"""Exit codes, and how an error ends the command: a short text or a JSON document."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import click

from wopr.cli.declared import Group
from wopr.cli.output import complain, document
from wopr.domain.errors import (
    InvalidCallError,
    QueryError,
    QueryTimeoutError,
    QueueDisabledError,
    StorageError,
    WoprError,
)

OK = 0
NO = 1
USAGE = 2
STORAGE = 3

EXIT_CODES = (
    "Exit codes: 0 done; 1 the answer is no, or problems were found; 2 the command was used "
    "wrongly; 3 the database can't be used (missing, open in another process, damaged)."
)


class UsageError(Exception):
    """The command was used wrongly; the message says how to use it."""


class NothingFoundError(Exception):
    """The answer is no; the message says to what."""


class Commands(Group):
    """The root of the commands; turns every expected error into its exit code."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run a command line; leave with its exit code unless ``standalone_mode`` is off."""
        words = list(sys.argv[1:] if args is None else args)
        try:
            result = super().main(
                words,
                prog_name or "wopr",
                complete_var,
                standalone_mode=False,
                windows_expand_args=windows_expand_args,
                **extra,
            )
        except Exception as error:
            code = _report(error, as_json="--json" in words)
            if code is None:
                raise
        else:
            code = result if isinstance(result, int) else OK
        if standalone_mode:
            sys.exit(code)
        return code


def code_of(error: Exception) -> int | None:
    """Return the exit code of an expected error, ``None`` for a bug."""
    if isinstance(error, QueryTimeoutError):
        return NO
    wrong = (InvalidCallError, QueryError, QueueDisabledError, UsageError, click.ClickException)
    if isinstance(error, wrong):
        return USAGE
    if isinstance(error, StorageError | OSError):
        return STORAGE
    if isinstance(error, WoprError | NothingFoundError):
        return NO
    return 130 if isinstance(error, click.Abort) else None


def _report(error: Exception, *, as_json: bool) -> int | None:
    code = code_of(error)
    if code is None:
        return None
    if isinstance(error, click.exceptions.NoArgsIsHelpError):  # a group without a command
        click.echo(error.message)
        return code
    message = _message(error)
    if as_json:
        kind = type(error).__name__
        document({"error": {"type": kind, "message": message, "exit_code": code}})
    else:
        complain(message)
    return code


def _message(error: Exception) -> str:
    if isinstance(error, click.ClickException):
        context = getattr(error, "ctx", None)
        text = error.format_message()
        return f"{text}\nTry: {context.command_path} --help" if context else text
    return str(error) or type(error).__name__
