"""Find and import the modules of an application that declare tasks."""

from __future__ import annotations

import importlib
import os
import pkgutil
import sys
import traceback
from collections.abc import Iterable, Iterator
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from wopr.domain.errors import InvalidCallError
from wopr.domain.frames import ours
from wopr.domain.modulenames import PATTERN, matches, patterns_in

GROUP = "wopr.tasks"
"""Entry points of installed packages that name modules with tasks."""
MOST_MODULES = 10_000
_LOADERS = {"importlib._bootstrap", "importlib._bootstrap_external"}


class _Module(NamedTuple):
    """A module that was found and not imported."""

    name: str
    folders: list[str]
    """Where the modules below it are, if any."""
    has_code: bool


def modules_of(patterns: Iterable[str]) -> dict[str, str]:
    """Return the modules that patterns match, each with the first pattern; imports none of them.

    Raises:
        InvalidCallError: a pattern is none, or matches no module or too many.
    """
    found: dict[str, str] = {}
    for pattern in patterns:
        try:
            checked = patterns_in(pattern)
        except ValueError as error:
            raise InvalidCallError(str(error)) from None
        names = [name for one in checked for name in _matching(one)]
        if not names:
            raise InvalidCallError(
                f"No module matches {pattern!r}, looked for in {os.getcwd()} and in this Python's "
                f"packages ({sys.prefix}). {PATTERN}."
            )
        for name in names:
            found.setdefault(name, pattern)
    return found


def installed() -> list[EntryPoint]:
    """Return the entry points of installed packages that name modules with tasks."""
    return sorted(entry_points(group=GROUP), key=lambda one: (one.name, one.value))


def imported(name: str, why: str) -> ModuleType:
    """Import a module, unless that was done; the program that runs is one already.

    Args:
        name: of the module.
        why: what asks for it, for the error.

    Raises:
        InvalidCallError: its import failed; the error names the module and says where.
    """
    main = sys.modules.get("__main__")
    try:
        if name not in sys.modules and main is not None and _is_program(name, main):
            return main
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:  # code of the application: it may raise anything
        raise InvalidCallError(f"{broken(name, error)}\nIt is imported for {why}.") from error


def broken(name: str, error: BaseException) -> str:
    """Say what the application's own code raised, and where: that is not wopr's to hide."""
    trace = error.__traceback__
    frames = [
        summary
        for summary, (frame, _) in zip(
            traceback.extract_tb(trace), traceback.walk_tb(trace), strict=True
        )
        if not _machinery(frame.f_globals.get("__name__", ""))
    ]
    lines = "".join(traceback.format_list(frames))
    reason = "".join(traceback.format_exception_only(error)).strip()
    return f"Importing {name!r} failed:\n{lines}{reason}"


def _machinery(module: str) -> bool:
    return ours(module) or module in {"importlib", *_LOADERS}


def _is_program(name: str, main: ModuleType) -> bool:
    """Whether a module is the program that runs, which another import would execute again."""
    spec = getattr(main, "__spec__", None)
    if spec is not None:  # python -m name
        return bool(spec.name == name)
    file = getattr(main, "__file__", None)
    if not isinstance(file, str) or Path(file).stem != name.rpartition(".")[2]:
        return False
    found = find_spec(name)
    origin = None if found is None else found.origin
    return origin is not None and os.path.exists(origin) and os.path.samefile(origin, file)


def _matching(pattern: str) -> Iterator[str]:
    """Yield the modules that a pattern matches, in the order of their names."""
    if "*" not in pattern:  # its import says whether there is one
        yield pattern
        return
    first, seen = pattern.partition(".")[0], 0
    folders = _folders(first)
    waiting = [] if folders is None else [_Module(first, folders, has_code=True)]
    while waiting:
        module = waiting.pop()
        seen += 1
        if seen > MOST_MODULES:
            raise InvalidCallError(
                f"{pattern!r} is about more than {MOST_MODULES:,} modules. Name the package that "
                "has the tasks."
            )
        if module.has_code and matches(pattern, module.name):
            yield module.name
        waiting += reversed([one for one in _below(module) if _leads(pattern, one.name)])


def _folders(name: str) -> list[str] | None:
    """Return where the modules of a top-level module are; ``None`` if there is no such module."""
    try:
        spec = find_spec(name)
    except ValueError:  # it is made by code and no import would find it
        return None
    return None if spec is None else list(spec.submodule_search_locations or ())


def _below(package: _Module) -> Iterator[_Module]:
    """Yield the modules of a package in the order of their names, without private ones."""
    coded = {one.name for one in pkgutil.iter_modules(package.folders)}
    found = set(coded)
    for folder in package.folders:
        if os.path.isdir(folder):
            with os.scandir(folder) as entries:  # packages may lack an __init__
                found |= {one.name for one in entries if one.name.isidentifier() and one.is_dir()}
    for name in sorted(found):
        if not name.startswith("_"):
            folders = [os.path.join(folder, name) for folder in package.folders]
            yield _Module(f"{package.name}.{name}", folders, has_code=name in coded)


def _leads(pattern: str, name: str) -> bool:
    """Whether a module matches a pattern, or one below it may."""
    parts, depth = pattern.split("."), name.count(".") + 1
    if "**" in parts[:depth]:
        return True
    return depth <= len(parts) and matches(".".join(parts[:depth]), name)
