"""The options of ``wopr worker`` that stand before every other source of a setting."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import ValidationError

from wopr.cli.common import DATABASE_VARIABLE
from wopr.cli.declared import Option
from wopr.cli.errors import UsageError
from wopr.cli.kinds import FileName
from wopr.config.settings import Settings, wrong
from wopr.domain.address import database_of
from wopr.domain.errors import InvalidSettingError

FLAGS = {
    "database": "--database",
    "shutdown_seconds": "--grace",
    "log_level": "--log-level",
    "log_format": "--log-format",
    "http": "--http",
    "web": "--web",
    "discover": "--discover",
    "allow_modules": "--allow-module",
}

OwnDatabase = Annotated[
    Path | None,
    Option(
        "--database",
        "-d",
        type=FileName(database_of),
        metavar="PATH",
        help=f"The database, for a queue that takes it from {DATABASE_VARIABLE}.",
    ),
]
Grace = Annotated[
    float | None,
    Option(
        "--grace",
        min=0,
        metavar="SECONDS",
        help="How long running tasks may go on after the first signal. "
        "Default: WOPR_TASKS_SHUTDOWN_SECONDS, or 10.",
    ),
]
LogLevel = Annotated[
    str | None,
    Option(
        "--log-level",
        metavar="LEVEL",
        help="DEBUG, INFO, WARNING, ERROR or CRITICAL. Default: WOPR_TASKS_LOG_LEVEL, or INFO.",
    ),
]
LogFormat = Annotated[
    str | None,
    Option(
        "--log-format",
        metavar="FORMAT",
        help="console, json, or auto: console on a terminal, else json. "
        "Default: WOPR_TASKS_LOG_FORMAT, or console.",
    ),
]
Http = Annotated[
    str | None,
    Option(
        "--http",
        metavar="HOST:PORT",
        help="Answer /health, /ready and /metrics there. Default: WOPR_TASKS_HTTP, or nowhere.",
    ),
]

Web = Annotated[
    str | None,
    Option(
        "--web",
        metavar="HOST:PORT",
        help="Serve the dashboard and the REST API there. Default: WOPR_TASKS_WEB, or nowhere.",
    ),
]


Discover = Annotated[
    list[str] | None,
    Option(
        "--discover",
        metavar="MODULES",
        help="Import the modules that match, like 'shop.*.tasks', for their tasks; may be "
        "repeated. Default: WOPR_TASKS_DISCOVER.",
    ),
]


AllowModule = Annotated[
    list[str] | None,
    Option(
        "--allow-module",
        metavar="MODULES",
        help="Let tasks name functions of modules that match, like 'shop.*.jobs', which are "
        "imported for them; may be repeated. Default: WOPR_TASKS_ALLOW_MODULES, or none.",
    ),
]


def given(
    database: Path | None,
    grace: float | None,
    log_level: str | None,
    log_format: str | None,
    http: str | None,
    web: str | None,
    discover: list[str] | None,
    allow_module: list[str] | None,
) -> dict[str, Any]:
    """Return the options that were given, by the names of their settings."""
    found, allowed = (None if one is None else ",".join(one) for one in (discover, allow_module))
    values = (database, grace, log_level, log_format, http, web, found, allowed)
    return {name: value for name, value in zip(FLAGS, values, strict=True) if value is not None}


def settings_of(flags: dict[str, Any]) -> Settings:
    """Return all settings, with the options before everything else.

    Raises:
        UsageError: a value is wrong; the message says which, and where it stands.
        SettingsFileError: a file with settings can't be read.
    """
    try:
        return Settings(**flags)
    except InvalidSettingError as error:
        if not isinstance(error.__cause__, ValidationError):
            raise
        said = wrong(error.__cause__, {name: FLAGS[name] for name in flags})
        raise UsageError(said) from error
