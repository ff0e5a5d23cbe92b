"""The files in the working directory that settings are read from.

Only the working directory, never one above it. A file that does not mention wopr is
not looked at any closer: ``.env`` and ``pyproject.toml`` belong to other programs too.
"""

from __future__ import annotations

import difflib
import functools
import os
from collections.abc import Iterable, Iterator, Mapping
from io import StringIO
from pathlib import Path
from typing import Any

from wopr.domain.errors import SettingsFileError

PREFIX = "WOPR_TASKS_"
ENV_FILE = ".env"
TOML_FILE = "wopr.toml"
PROJECT_FILE = "pyproject.toml"


def variables_of(names: Iterable[str]) -> dict[str, str]:
    """Return for each setting that the environment gives the variable that does, in any case."""
    given = {variable.upper(): variable for variable in os.environ}
    found = ((name, given.get(f"{PREFIX}{name}".upper())) for name in names)
    return {name: variable for name, variable in found if variable is not None}


def file_values(names: list[str]) -> list[tuple[Path, dict[str, Any]]]:
    """Return what the files say, the strongest first.

    Raises:
        SettingsFileError: a file can't be read, or names a setting that there is not.
    """
    said: list[tuple[Path, dict[str, Any]]] = []
    env = {name.upper(): value for name, value in (_checked_env() or {}).items()}
    ours = {name: env[key] for name in names if (key := f"{PREFIX}{name}".upper()) in env}
    if ours:
        said.append((Path(ENV_FILE), ours))
    for file in (TOML_FILE, PROJECT_FILE):
        path = Path(file)
        table = _table(path)
        _check_names(table, names, path)
        if table:
            said.append((path, table))
    return said


def unknown_variables(names: Iterable[str]) -> Iterator[str]:
    """Yield a sentence for each ``WOPR_TASKS_…`` that is no setting, and so has no effect."""
    known = {name.upper() for name in names}
    env_file = [(key, f" in {Path(ENV_FILE).absolute()}") for key in _checked_env() or ()]
    for variable, where in [(key, " in the environment") for key in os.environ] + env_file:
        name = variable.upper().removeprefix(PREFIX)
        if name != variable.upper() and name not in known:
            near = _near(name, known, PREFIX)
            yield f"{variable}{where} is no setting and has no effect.{near}"


def _read(path: Path, word: str) -> str | None:
    """Return the text of a file if there is one and it holds the word, in any case.

    Raises:
        SettingsFileError: it can't be read.
    """
    try:
        if not path.is_file():  # also a directory: some people's .env is a virtual environment
            return None
        data = path.read_bytes()
    except OSError as error:
        raise SettingsFileError(
            f"{path.absolute()} can't be read ({error.strerror}), so the settings that may be in "
            "it are unknown. Make it readable for this user, or start in another directory."
        ) from error
    if word.encode() not in data.lower().replace(b"\0", b""):  # as UTF-16 has them
        return None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise SettingsFileError(
            f"{path.absolute()}, line {line}: byte {data[error.start]:#04x} is not UTF-8. "
            "Save the file as UTF-8."
        ) from error


def _checked_env() -> Mapping[str, str | None] | None:
    """Return what ``.env`` says, or ``None`` if it is not there or does not mention us.

    Raises:
        SettingsFileError: a line of it can't be read: it might hold one of ours; or one of ours
            has no value.
    """
    path = Path(ENV_FILE)
    text = _read(path, PREFIX.lower())
    if text is None:
        return None
    from dotenv import dotenv_values
    from dotenv.parser import parse_stream

    for binding in parse_stream(StringIO(text)):
        if binding.error or (_ours(binding.key) and binding.value is None):
            raise SettingsFileError(
                f"{path.absolute()}, line {binding.original.line}: this is not NAME=value. "
                "Write the = and the value, close its quotes, or put a # before it."
            )
    return dotenv_values(stream=StringIO(text))


def _ours(variable: str | None) -> bool:
    return variable is not None and variable.upper().startswith(PREFIX)


def _table(path: Path) -> dict[str, Any]:
    """Return the settings in a TOML file; empty if it is not there or has none.

    Raises:
        SettingsFileError: it is no TOML.
    """
    own = path.name == TOML_FILE
    text = _read(path, "" if own else "wopr")
    if text is None:
        return {}
    import tomllib

    try:
        table = _parsed(text)
        if not own:
            table = table.get("tool", {}).get("wopr", {})
    except (tomllib.TOMLDecodeError, AttributeError) as error:
        raise SettingsFileError(
            f"{path.absolute()} is no TOML: {error}. Correct that line."
        ) from error
    if not isinstance(table, dict):
        raise SettingsFileError(
            f"{path.absolute()}: tool.wopr is no table. Write [tool.wopr] and below it for "
            'example database = "tasks.duckdb".'
        )
    return table


@functools.lru_cache(maxsize=4)
def _parsed(text: str) -> dict[str, Any]:
    """Parse TOML; not again for each queue. Nobody may change what it returns."""
    import tomllib

    return tomllib.loads(text)


def _check_names(table: dict[str, Any], names: list[str], path: Path) -> None:
    for name in table:
        if name not in names:
            raise SettingsFileError(
                f"{path.absolute()}: there is no setting {name!r}.{_near(name, names)} "
                f"There are {', '.join(names)}."
            )


def _near(name: str, known: Iterable[str], prefix: str = "") -> str:
    """Return a hint at a name that was meant, if one is near."""
    for found in difflib.get_close_matches(name, known, n=1):
        return f" Did you mean {prefix}{found}?"
    return ""
