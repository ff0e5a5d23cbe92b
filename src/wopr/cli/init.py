"""``wopr init``: write the project of a worker, ready to run, to test and to deploy."""

from __future__ import annotations

import keyword
import re
import sys
from pathlib import Path
from typing import Annotated

from wopr import __version__
from wopr.cli.common import AsJson
from wopr.cli.declared import Argument, Option
from wopr.cli.errors import UsageError
from wopr.cli.output import document, say

TEMPLATES = Path(__file__).parents[1] / "_project"
SUFFIX = ".tmpl"
"""Of each template, so that no tool takes one for source of this package."""

_NAME = re.compile(r"[a-z]([a-z0-9_-]*[a-z0-9])?")
_TAKEN = {
    *("wopr", "httpx", "tenacity", "pydantic", "pydantic_settings"),  # what the project imports
    *("pytest", "pytest_asyncio", "hatchling", "test", "tests", "fake_api", "conftest"),
}

Name = Annotated[
    str,
    Argument(metavar="NAME", help="Of the project and, with _ for -, of its package."),
]
Where = Annotated[
    Path | None,
    Option(
        "--path",
        metavar="DIR",
        help="The directory to write it to: a new or an empty one. Default: NAME, here.",
    ),
]


def init(name: Name, path: Where = None, as_json: AsJson = False) -> None:
    """Write a new project: a worker that calls an HTTP API on schedule.

    With settings, tasks, schedules, a client, tests, a Dockerfile and a compose file.
    """
    package = _package_of(name)
    folder = path or Path(name)
    files = _rendered(package)
    _check_empty(folder)
    try:
        for relative, text in files.items():
            target = folder / relative
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"{error.filename or folder} can't be written: {error.strerror}. Make room or rights "
            f"for it, or name another directory with --path; {folder} may be incomplete."
        ) from error
    if as_json:
        document({"path": folder.absolute(), "package": package, "files": sorted(files)})
        return
    say(f"Wrote {len(files)} files to {folder}. Next, there:")
    say("1. python -m pip install -e '.[test]' && python -m pytest")
    say("2. cp .env.example .env, and say in it where the API is: BUSINESS_API_URL")
    say(f"3. wopr worker {package}.app:queue, or: docker compose up --build")


def _package_of(name: str) -> str:
    """Return the package of a project.

    Raises:
        UsageError: the name can't be one.
    """
    package = name.replace("-", "_")
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} is no name for a project. It begins with a small letter, goes on with small "
            "letters, digits, - and _, and ends with a letter or digit, like my-worker."
        )
    if keyword.iskeyword(package) or package in sys.stdlib_module_names or package in _TAKEN:
        raise UsageError(
            f"{name!r} can't be the name of the project: Python's {package!r} is something else, "
            f"and importing the project's package would find that. Choose another, like "
            f"{name}-worker."
        )
    return package


def _check_empty(folder: Path) -> None:
    """Refuse a directory that somebody uses.

    Raises:
        UsageError: it is one, or no directory at all.
    """
    try:
        used = next(folder.iterdir(), None)
    except FileNotFoundError:
        return
    except OSError as error:
        raise UsageError(
            f"{folder} can't be used: {error.strerror}. Name a new directory with --path."
        ) from error
    if used is not None:
        raise UsageError(
            f"{folder} is not empty: it holds {used.name}, for example. Nothing was written. Name "
            "a new or an empty directory with --path."
        )


def _rendered(package: str) -> dict[str, str]:
    """Return the text of each file of the project, by its path."""
    words = {
        "project_name": package,
        "project-name": package.replace("_", "-"),
        "WOPR_VERSION": __version__,
    }
    files: dict[str, str] = {}
    for template in TEMPLATES.rglob(f"*{SUFFIX}"):
        path = template.relative_to(TEMPLATES).as_posix().removesuffix(SUFFIX)
        text = template.read_text(encoding="utf-8")
        for word, value in words.items():
            path, text = path.replace(word, value), text.replace(word, value)
        files[path] = text
    return dict(sorted(files.items()))
