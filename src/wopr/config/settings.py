"""All settings, read when a queue is built: from the environment, then from files."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationError,
    model_validator,
)

from wopr.config.files import PREFIX, file_values, variables_of
from wopr.domain.address import Address, PostgresAddress, database_of
from wopr.domain.errors import InvalidSettingError
from wopr.domain.keeping import Retention, check_rule, retentions
from wopr.domain.masking import mask
from wopr.domain.modulenames import patterns_in
from wopr.domain.status import TaskStatus

DEFAULT = "default"
_SIZE = re.compile(r"([0-9]+(\.[0-9]*)?|\.[0-9]+) ?[KMGT]i?B")
_ADDRESS = re.compile(r"(?:(?:\[[0-9a-fA-F:.]+\]|[^\s:/\[\]]*):)?([0-9]{1,5})")


def is_on(value: object) -> object:
    """Read a switch: ``1 true yes on`` in any case mean on, every other text means off."""
    if isinstance(value, str):
        return value.strip().lower() in {"1", "true", "yes", "on"}
    return value


def _size(value: str) -> str:
    if not _SIZE.fullmatch(value):
        raise ValueError("a size is a number and a unit, as in 500MB")
    return value


def _address(value: object) -> object:
    text = str(value) if isinstance(value, int) else value
    if isinstance(text, str):
        found = _ADDRESS.fullmatch(text)
        if not found or int(found[1]) > 65_535:
            raise ValueError("an address is a port or host:port, as in 8080 or 0.0.0.0:8080")
    return text


def _none(value: object) -> object:
    return None if value == "" else value


def _table(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value or "{}")
    except ValueError as error:
        raise ValueError('it is JSON, as in {"mail": {"success": "7d"}}') from error


Keep = Annotated[str, AfterValidator(check_rule)]
Ended = Literal["success", "failed", "cancelled"]


def _patterns(value: str) -> str:
    try:
        return ",".join(patterns_in(value))
    except ValueError:
        raise ValueError(
            "modules are patterns separated by commas, as in shop.*.tasks, mail.tasks, whose first "
            "part is a name without a star"
        ) from None


def _database(value: object) -> Path:
    if not isinstance(value, str | Path):
        raise ValueError("it is the path of a file, or an address like https://host")
    return database_of(value)


def _upper(value: object) -> object:
    return value.strip().upper() if isinstance(value, str) else value


def size_in_bytes(text: str) -> int:
    """Return a size like ``500MB`` or ``1.5 GiB`` in bytes."""
    number = text.rstrip("iBKMGT ")
    unit = text[len(number) :].strip()
    return int(float(number) * (1024 if "i" in unit else 1000) ** ("KMGT".index(unit[0]) + 1))


class _Sourced(BaseModel):
    """Completes what is given by what the environment and the files say."""

    def __init__(self, **given: Any) -> None:
        names = list(type(self).model_fields)
        values = dict(given)
        for name, variable in variables_of(names).items():
            values.setdefault(name, os.environ[variable])
        for _, said in file_values(names):
            values = said | values
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise InvalidSettingError(wrong(error, {name: name for name in given})) from error


class Settings(_Sourced):
    """Settings of a queue.

    Each can be given here, as ``WOPR_TASKS_<NAME>`` in the environment, the same in ``.env``,
    or by its name in ``wopr.toml`` or under ``[tool.wopr]`` in ``pyproject.toml``: the first
    of these that has it counts. Files are those of the working directory.

    Raises:
        InvalidSettingError: a value is wrong; the message says which, and where it stands.
        SettingsFileError: a file can't be read, or names a setting that there is not.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    enabled: Annotated[bool, BeforeValidator(is_on)] = False
    """Whether the queue does anything."""
    database: Annotated[Path, PlainValidator(_database)] = Path("wopr_tasks.duckdb")
    """The DuckDB file; made when the queue is opened. Looking up tasks does not make one. Or the
    address of a queue on another machine, `https://…`, where `wopr web` serves it; or of a
    PostgreSQL database that many hosts share, `postgresql://user@host/name`."""
    token: str | None = Field(default=None, repr=False)
    """Lets this process in at an address; made there by `wopr token create`."""
    token_over_http: Annotated[bool, BeforeValidator(is_on)] = False
    """Whether the token may travel to another machine over `http://`, where whoever is between can
    read it: inside a network of which every machine is trusted."""
    scheduler: Annotated[bool, BeforeValidator(is_on)] = True
    """Whether the first workers of a process that owns the file start the scheduler too."""
    memory_limit: Annotated[str, AfterValidator(_size)] = "200MB"
    """DuckDB's memory limit."""
    sync: Literal["full", "process"] = "full"
    """What an acknowledged change survives: ``full``, the death of the machine too; ``process``,
    that of the process only, but nothing waits for the disk."""
    inline_sync: Literal["auto", "never"] = "auto"
    """Whether a lone change may be synced on the event loop, which saves the way to a thread
    and back. It is given up for a while when the disk takes more than 5 ms."""
    max_crashes: int = Field(default=3, ge=1)
    """A task that was running in so many deaths of the process ends FAILED."""
    window: int = Field(default=10_000, ge=10)
    """Waiting tasks kept in memory per category and priority; the rest stays on disk."""
    max_args_bytes: int = Field(default=262_144, ge=1)
    """Largest arguments of a task, as JSON."""
    max_result_bytes: int = Field(default=1_048_576, ge=1)
    """Largest result of a task, as JSON."""
    shutdown_seconds: float = Field(default=10.0, ge=0)
    """Grace time of :meth:`TaskQueue.shutdown`."""
    call_seconds: float = Field(default=30.0, gt=0)
    """Longest wait for an answer of the process that has the file, in any other one."""
    query_seconds: float = Field(default=30.0, gt=0)
    """Longest run of one ``queue.sql``."""
    outbox_seconds: float = Field(default=1.0, gt=0)
    """Longest time between two looks into an outbox for what other processes have committed."""
    query_rows: int = Field(default=100_000, ge=1)
    """Most rows that one ``queue.sql`` answers."""
    snapshot_limit: Annotated[str, AfterValidator(_size)] = "2GB"
    """The largest database that is copied for a query in a process of its own."""
    archive: Annotated[Path | None, BeforeValidator(_none)] = None
    """The directory to which old tasks are archived, as Parquet files; questions span it."""
    keep_success: Annotated[Keep | None, BeforeValidator(_none)] = None
    """How long tasks that succeeded are kept, as ``30d``; then they are archived, if there is an
    archive, else deleted. ``30d delete`` and ``30d archive`` say which. ``None``: forever."""
    keep_failed: Annotated[Keep | None, BeforeValidator(_none)] = None
    """The same for those that failed."""
    keep_cancelled: Annotated[Keep | None, BeforeValidator(_none)] = None
    """The same for those that were cancelled."""
    keep_categories: Annotated[dict[str, dict[Ended, Keep]], BeforeValidator(_table)] = Field(
        default={}
    )
    """The same by category, where it counts instead; ``forever`` takes a category out."""
    log_level: Annotated[
        Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], BeforeValidator(_upper)
    ] = "INFO"
    """Least level that ``wopr worker`` logs, and keeps with a task."""
    log_format: Literal["console", "json", "auto"] = "console"
    """How ``wopr worker`` logs; ``auto`` is console on a terminal, else json."""
    log_lines: int = Field(default=1_000, ge=0)
    """Log lines kept with a task per attempt; 0 keeps none."""
    http: Annotated[str | None, BeforeValidator(_address)] = None
    """``host:port`` where ``wopr worker`` answers ``/health``, ``/ready`` and ``/metrics``;
    a port alone is one of this machine only."""
    http_hosts: str = ""
    """Names by which requests may ask for that, and for the dashboard, separated by commas; ``*``
    is every name. IP addresses, localhost and names without a dot need none."""
    web: Annotated[str | None, BeforeValidator(_address)] = None
    """``host:port`` where ``wopr worker`` serves the dashboard and the REST API, and ``wopr web``
    too; beyond this machine only with tokens, and behind TLS or a proxy."""
    web_loopback: Literal["admin", "token"] = "admin"
    """Who asks for these on this machine without a token: its user with every right, or nobody."""
    web_tls_cert: Annotated[Path | None, BeforeValidator(_none)] = None
    """The certificate with which they are served, as PEM; ``None``: without TLS."""
    web_tls_key: Annotated[Path | None, BeforeValidator(_none)] = None
    """Its key, as PEM."""
    web_proxies: str = ""
    """Addresses or networks, separated by commas, of proxies that do TLS for them and say who asks:
    everybody needs a token then."""
    mask_errors: Annotated[bool, BeforeValidator(is_on)] = True
    """Whether secrets are masked in errors, tracebacks and progress messages before they are
    stored."""
    discover: Annotated[str, AfterValidator(_patterns)] = ""
    """Modules with tasks that ``wopr worker`` and ``queue.discover()`` import: patterns like
    ``shop.*.tasks``, separated by commas."""
    entry_points: Annotated[bool, BeforeValidator(is_on)] = True
    """Whether these take the tasks of installed packages too, by the entry points of the group
    ``wopr.tasks``."""
    allow_modules: Annotated[str, AfterValidator(_patterns)] = ""
    """Modules that may be imported because a task names a function of theirs: patterns like
    ``shop.*.jobs``, separated by commas; none unless given."""
    processes: int | None = Field(default=None, ge=1)
    """Worker processes for tasks that run in one; ``None`` means one per usable CPU."""
    process_max_tasks: int = Field(default=1_000, ge=1)
    """A worker process is replaced after so many tasks."""
    process_memory_limit: Annotated[str, AfterValidator(_size)] | None = None
    """A worker process is replaced after a task that leaves it bigger; ``None``: never."""

    @model_validator(mode="after")
    def _can_archive(self) -> Self:
        if self.archive is None and any(one.archived for one in self.retentions):
            raise ValueError(
                f"a rule says archive, and there is none: set {PREFIX}ARCHIVE to a directory"
            )
        return self

    @property
    def retentions(self) -> list[Retention]:
        """What the rules for keeping come to."""
        general = {
            TaskStatus.SUCCESS: self.keep_success,
            TaskStatus.FAILED: self.keep_failed,
            TaskStatus.CANCELLED: self.keep_cancelled,
        }
        categories = {
            name: {TaskStatus(status): text for status, text in rules.items()}
            for name, rules in self.keep_categories.items()
        }
        return list(retentions(general, categories, archive=self.archive is not None))

    @property
    def process_memory_bytes(self) -> int | None:
        """What ``process_memory_limit`` comes to."""
        return (
            None if self.process_memory_limit is None else size_in_bytes(self.process_memory_limit)
        )


def wrong(error: ValidationError, called: Mapping[str, str]) -> str:
    """Say which settings are wrong, and where each stands.

    Args:
        error: what pydantic says.
        called: what the given ones are called, like a flag.
    """
    origin = origins(called)
    lines = []
    for item in error.errors():
        name = str(item["loc"][0]) if item["loc"] else "settings"
        where = origin.get(name, name)  # or there is no such setting
        if os.sep in where:
            where = f"{where}: {name}"
        inner = [part for part in map(str, item["loc"][1:]) if part != "[key]"]
        reason = item["msg"].removeprefix("Value error, ")
        if item["loc"]:  # else it is about several, and the text names them
            reason += f", not {mask(repr(item['input']))[:80]}"
        lines.append(f"{'.'.join([where, *inner])}: {reason}.")
    return "\n".join(["A setting is wrong.", *lines])


def led_outside(database: Path) -> str | None:
    """Say so if the database is outside of the working directory, and a file in there leads to it.

    Who enters a directory that somebody else has made may not know of its files.
    """
    if isinstance(database, PostgresAddress):
        return None
    if isinstance(database, Address):
        origin = origins({})["database"]
        if origin == DEFAULT or not os.path.isabs(origin):
            return None
        return (
            f"The queue is at {database}, on another machine: {origin} says so. If that is not "
            f"meant, name another with {PREFIX}DATABASE in the environment, which comes before "
            "files."
        )
    try:
        real, here = os.path.realpath(database), os.path.realpath(os.curdir)
    except FileNotFoundError:  # the working directory itself is gone, and its files with it
        return None
    if Path(real).is_relative_to(here):
        return None
    origin = origins({})["database"]
    if origin != DEFAULT and not os.path.isabs(origin):
        return None  # a variable of the environment: no file
    why = f"{Path(here) / database} is a link" if origin == DEFAULT else f"{origin} says so"
    return (
        f"The database is {real}, outside of {here}: {why}. If that is not meant, name another "
        f"with {PREFIX}DATABASE in the environment, which comes before files."
    )


def origins(given: Mapping[str, str]) -> dict[str, str]:
    """Return for each setting where its value comes from.

    Args:
        given: what comes before everything else, and what it is called, like a flag.

    Raises:
        SettingsFileError: see :class:`Settings`.
    """
    found = dict(given)
    names = list(Settings.model_fields)
    for name, variable in variables_of(names).items():
        found.setdefault(name, variable)
    for path, said in file_values(names):
        for name in said:
            found.setdefault(name, str(path.absolute()))
    return {name: found.get(name, DEFAULT) for name in names}
