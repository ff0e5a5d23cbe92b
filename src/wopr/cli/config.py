"""``wopr config``: look at the settings."""

from __future__ import annotations

from typing import Annotated

from wopr.cli import tables
from wopr.cli.common import AsJson
from wopr.cli.declared import Group, Option
from wopr.cli.flags import (
    FLAGS,
    AllowModule,
    Discover,
    Grace,
    Http,
    LogFormat,
    LogLevel,
    OwnDatabase,
    Web,
    given,
    settings_of,
)
from wopr.cli.output import complain, document, table
from wopr.config.files import unknown_variables
from wopr.config.settings import Settings, origins
from wopr.domain.masking import masked

app = Group("config", help="Look at the settings.")

Origin = Annotated[bool, Option("--origin", help="Say where each value comes from.")]


@app.command()
def show(
    origin: Origin = False,
    database: OwnDatabase = None,
    grace: Grace = None,
    log_level: LogLevel = None,
    log_format: LogFormat = None,
    http: Http = None,
    web: Web = None,
    discover: Discover = None,
    allow_module: AllowModule = None,
    as_json: AsJson = False,
) -> None:
    """Show every setting as a worker would have it that is started here, with these options.

    The first of these that has it counts: an option, WOPR_TASKS_<NAME> in the environment,
    .env, wopr.toml, [tool.wopr] in pyproject.toml, the default. Files are those of the
    working directory. Settings that a program gives in its code are not known here.
    """
    flags = given(database, grace, log_level, log_format, http, web, discover, allow_module)
    settings = settings_of(flags)
    where = origins({name: FLAGS[name] for name in flags})
    values = {name: masked(getattr(settings, name), name) for name in where}
    unknown = list(unknown_variables(Settings.model_fields))
    if as_json:
        document(
            {
                "settings": {
                    name: {"value": value, "origin": where[name]} if origin else value
                    for name, value in values.items()
                },
                "warnings": unknown,
            }
        )
        return
    if origin:
        rows = [(name, value, where[name]) for name, value in values.items()]
        table(tables.ORIGINS, rows)
    else:
        table(tables.SETTINGS, list(values.items()))
    for warning in unknown:
        complain(f"Warning: {warning}")
