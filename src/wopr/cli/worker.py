"""``wopr worker``: run the tasks of an application until told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import signal
import sys
import threading
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

from click.exceptions import Exit

from wopr.cli.common import AsJson
from wopr.cli.declared import Argument, Option
from wopr.cli.errors import NO, OK, UsageError
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
from wopr.cli.output import document
from wopr.cli.target import load_queue
from wopr.cli.web import Dashboard
from wopr.config.files import PREFIX
from wopr.config.settings import Settings
from wopr.queue.queue import TaskQueue
from wopr.service import logs
from wopr.service.reload import Reloader
from wopr.service.worker import WorkerRun

DEFAULT_WORKERS = 4

Target = Annotated[str, Argument(metavar="MODULE:QUEUE", help="The queue, as in app.tasks:queue.")]
Categories = Annotated[
    list[str] | None,
    Option(
        "--category",
        "-c",
        metavar="NAME:COUNT",
        help="Workers for a category; may be repeated. Without it, every category with "
        f"registered tasks gets {DEFAULT_WORKERS}.",
    ),
]
Reload = Annotated[
    bool,
    Option(
        "--reload",
        help="For development: start again when a Python file below the working directory changes.",
    ),
]


def worker(
    target: Target,
    category: Categories = None,
    grace: Grace = None,
    database: OwnDatabase = None,
    log_level: LogLevel = None,
    log_format: LogFormat = None,
    http: Http = None,
    web: Web = None,
    discover: Discover = None,
    allow_module: AllowModule = None,
    reload: Reload = False,
    as_json: AsJson = False,
) -> None:
    """Run the tasks of a queue until SIGTERM or Ctrl-C.

    The first signal drains: nothing more is claimed, running tasks get the grace time,
    the rest goes back to its queue at no cost. The second interrupts at once.

    The queue must be switched on (WOPR_TASKS_ENABLED=1), in the worker as elsewhere.
    Exit code 0 after a drain, 1 when a second signal forced the end.
    """
    wanted = [_parse(item) for item in category or ()]
    flags = given(database, grace, log_level, log_format, http, web, discover, allow_module)
    settings = settings_of(flags)
    logs.start(settings)
    if reload:
        command = _command(target, category or [], flags, as_json=as_json)
        raise Exit(asyncio.run(Reloader(command, Path.cwd()).run()))
    _pass_on(flags)
    with _ending_at_sigterm():
        queue = load_queue(target)
        _check(queue, target, database)
        queue.settings = settings = _effective(queue.settings, settings, flags)
        _discover(queue)
        counts = dict(wanted) if wanted else dict.fromkeys(_categories(queue), DEFAULT_WORKERS)
        if not counts:
            raise UsageError(
                f"{target} has no tasks registered, so there is nothing to run. Are the modules "
                "that define them imported there? Others: --discover 'shop.*.tasks'."
            )
        run = WorkerRun(queue, target, counts, settings, _dashboard(queue, settings))
        summary = run.run()
    if as_json:
        document(summary)
    code = NO if run.forced else OK
    run.leave(code)
    raise Exit(code)


def _pass_on(flags: dict[str, Any]) -> None:
    """Let the queue that the application builds know the options."""
    for name, value in flags.items():
        os.environ[f"{PREFIX}{name.upper()}"] = str(value)


def _dashboard(queue: TaskQueue, settings: Settings) -> Dashboard | None:
    return None if settings.web is None else Dashboard(queue, settings)


@contextlib.contextmanager
def _ending_at_sigterm() -> Iterator[None]:
    """End at once while nothing runs yet, also as the first process of a container.

    For that one the signal is ignored unless somebody handles it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: os._exit(OK))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _discover(queue: TaskQueue) -> None:
    """Import the modules with tasks that settings name, and those of Django's applications."""
    if os.environ.get("DJANGO_SETTINGS_MODULE") and find_spec("django") is not None:
        from wopr.integrations.djangoapps import discover

        discover(queue)
    queue.discover()


def _categories(queue: TaskQueue) -> list[str]:
    """Return the categories to work on; functions that tasks name are in the default one."""
    named = ["default"] if queue.settings.allow_modules else []
    return sorted({*queue.categories, *named})


def _effective(code: Settings, read: Settings, flags: dict[str, object]) -> Settings:
    """Return the settings of the queue, which its code may have given, under the flags."""
    settings = code.model_copy(update={name: getattr(read, name) for name in flags})
    if (settings.log_level, settings.log_format) != (read.log_level, read.log_format):
        logs.start(settings)
    return settings


def _command(
    target: str, categories: list[str], flags: dict[str, object], *, as_json: bool
) -> list[str]:
    """Return the command line of the worker that a reloader starts."""
    command = [sys.executable, "-m", "wopr", "worker", target]
    for item in categories:
        command += ["-c", item]
    for name, value in flags.items():
        command += [FLAGS[name], str(value)]
    return [*command, "--json"] if as_json else command


def _parse(item: str) -> tuple[str, int]:
    name, _, count = item.rpartition(":")
    if not name or not count.isdecimal() or not 1 <= int(count) <= 10_000:
        raise UsageError(
            f"-c {item} is not category:count with a count from 1 to 10,000. "
            f"For 4 workers write for example: -c {shlex.quote(name or item)}:4"
        )
    return name, int(count)


def _check(queue: TaskQueue, target: str, database: Path | None) -> None:
    if not queue.enabled:
        raise UsageError(
            f"{target} is switched off, so it would run nothing. Start the worker with "
            f"WOPR_TASKS_ENABLED=1, or build the queue with TaskQueue(enabled=True)."
        )
    if database is not None and queue.database != database.absolute():
        raise UsageError(
            f"{target} names its own database, {queue.database}: --database {database} can't "
            f"change it. Leave the option out."
        )
