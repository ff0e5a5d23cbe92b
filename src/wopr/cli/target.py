"""``module:queue``: find the queue that an application built."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

from wopr.calls.modules import broken
from wopr.cli.errors import UsageError
from wopr.queue.queue import TaskQueue


def load_queue(target: str) -> TaskQueue:
    """Import the module, from the working directory first, and return its queue.

    Args:
        target: ``package.module:attribute``; the attribute may be a path with dots.

    Raises:
        UsageError: there is no such module or attribute, or it is no TaskQueue.
    """
    module_name, colon, path = target.partition(":")
    if not (module_name and colon and path):
        raise UsageError(
            f"{target!r} does not name a queue. Write module:attribute, for example "
            "`wopr worker app:queue` for the variable `queue` in app.py."
        )
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    found: object = _import(module_name, path)
    parent, walked = found, module_name
    for name in path.split("."):
        if not hasattr(found, name):
            raise UsageError(f"{walked} has no {name!r}. {_queues_of(found, walked)}")
        parent, found = found, getattr(found, name)
        walked += f".{name}"
    if not isinstance(found, TaskQueue):
        kind = type(found).__name__
        holder = walked.rpartition(".")[0]
        raise UsageError(f"{target} is no TaskQueue but a {kind}. {_queues_of(parent, holder)}")
    return found


def _import(name: str, attribute: str) -> object:
    if "/" in name or name.startswith("."):  # a file, or a relative name: nothing to import
        raise UsageError(_missing(name, attribute))
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and f"{name}.".startswith(f"{error.name}."):
            raise UsageError(_missing(name, attribute)) from error
        raise UsageError(broken(name, error)) from error
    except (Exception, SystemExit) as error:  # code of the application: it may raise anything
        raise UsageError(broken(name, error)) from error


def _missing(name: str, attribute: str) -> str:
    hint = ""
    if "/" in name or name.startswith(".") or name.endswith(".py"):
        file = Path(name.removesuffix(".py"))
        below = not file.is_absolute() and ".." not in file.parts
        meant = ".".join(file.parts).strip(".") if below else file.name
        hint = f" Name the module, not the file: {meant or 'app'}:{attribute}."
    return (
        f"There is no module {name!r}, looked for in {os.getcwd()} and in this Python's packages "
        f"({sys.prefix}).{hint} Start the worker in the directory of your code."
    )


def _queues_of(found: object, name: str) -> str:
    values = getattr(found, "__dict__", {})
    queues = [key for key, value in values.items() if isinstance(value, TaskQueue)]
    if queues:
        return f"Queues there: {', '.join(sorted(queues))}."
    return f"There is no TaskQueue in {name} at all."
