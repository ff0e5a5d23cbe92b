"""How a worker logs: for people or as JSON, with the task, without secrets."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import threading
import warnings
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import structlog

from support.queues import DuckDBHome, ended, running
from wopr import Settings, current_task
from wopr.service import logs

logger = logging.getLogger("shop.orders")


class Logged:
    """A root logger as a new process has it, and what goes to standard error."""

    def __init__(self, capsys: pytest.CaptureFixture[str], patch: pytest.MonkeyPatch) -> None:
        self.root = logging.getLogger()
        self._capsys = capsys
        self._patch = patch
        self._bare = False

    def bare(self) -> None:
        """Take the test's own handlers away: they come after the fixtures."""
        if not self._bare:
            self._patch.setattr(self.root, "handlers", [])
            self._patch.setattr(threading, "excepthook", threading.__excepthook__)
            self._bare = True

    def start(self, **settings: Any) -> None:
        """Start logging as a worker with these settings does."""
        self.bare()
        logs.start(Settings(**settings))

    def lines(self) -> list[str]:
        """Return what was logged since the last time."""
        return self._capsys.readouterr().err.splitlines()

    def entries(self) -> list[dict[str, Any]]:
        """Return the same, read as JSON."""
        return [json.loads(line, parse_constant=pytest.fail) for line in self.lines()]


@pytest.fixture
def logged(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Logged]:
    found = Logged(capsys, monkeypatch)
    before = {name: logging.getLogger(name).level for name in (None, "wopr")}
    logging.captureWarnings(False)
    yield found
    logging.captureWarnings(False)
    for name, level in before.items():
        logging.getLogger(name).setLevel(level)
    structlog.reset_defaults()


def test_a_line_for_people_says_when_how_grave_who_and_what(logged: Logged) -> None:
    logged.start()
    logger.warning("paid %d", 7, extra={"customer": "Ada L.", "amount": 1.5})
    (line,) = logged.lines()
    when, rest = line[:29], line[30:]
    assert datetime.fromisoformat(when).utcoffset() is not None
    assert 'WARNING shop.orders: paid 7 customer="Ada L." amount=1.5' == rest


def test_a_line_for_people_has_no_json(logged: Logged) -> None:
    logged.start()
    logger.info("paid", extra={"order": {"id": 7, "items": ["a", "b"]}, "paid": True})
    assert logged.lines()[0].endswith(": paid order.id=7 order.items=a,b paid=yes")


def test_a_json_line_is_one_object(logged: Logged) -> None:
    logged.start(log_format="json")
    logger.info("päid %d\nin full", 7, extra={"items": (1, {"a"}), "rate": float("nan")})
    (line,) = logged.lines()
    assert line.isascii()
    entry = json.loads(line, parse_constant=pytest.fail)
    assert entry.pop("timestamp").endswith("+00:00")
    assert {
        "level": "INFO",
        "logger": "shop.orders",
        "event": "päid 7\nin full",
        "items": [1, ["a"]],
        "rate": "nan",
    } == entry


def test_an_exception_is_part_of_its_line(logged: Logged) -> None:
    logged.start(log_format="json")
    try:
        raise ValueError("password=hunter2 is wrong")
    except ValueError:
        logger.exception("no")
    logger.info("next", stack_info=True)
    first, second = logged.entries()
    assert first["exception"].startswith("Traceback")
    assert first["exception"].endswith("ValueError: password=*** is wrong")
    assert "test_logs.py" in second["stack"]


def test_the_traceback_of_a_worker_process_is_part_of_its_line(logged: Logged) -> None:
    logged.start(log_format="json")
    text = "Traceback …\nValueError: password=hunter2 is wrong"
    record = logger.makeRecord(logger.name, logging.ERROR, "", 0, "no", (), None)
    record.exc_text = text
    logger.handle(record)
    assert "Traceback …\nValueError: password=*** is wrong" == logged.entries()[0]["exception"]
    assert text == record.exc_text  # other handlers have it as well


def test_what_follows_in_a_line_for_people_can_not_pass_for_another_line(logged: Logged) -> None:
    logged.start()
    logger.info("a\n2030-05-17T12:00:00.250Z INFO    wopr.worker: Stopped\x1b[2J\u202e")
    first, second = logged.lines()
    assert first.endswith("shop.orders: a")
    assert second == "    2030-05-17T12:00:00.250Z INFO    wopr.worker: Stopped[2J"


@pytest.mark.parametrize("log_format", ["console", "json"])
def test_secrets_are_masked_everywhere(logged: Logged, log_format: str) -> None:
    logged.start(log_format=log_format)
    logger.info(
        "token=hunter2 %s",
        {"password": "hunter2"},
        extra={"api_key": "hunter2", "headers": {"Cookie": "hunter2", "u": "x://u:hunter2@h"}},
    )
    (line,) = logged.lines()
    assert "hunter2" not in line
    assert 5 == line.count("***")


def test_a_secret_in_a_long_line_is_masked_before_anything_is_cut(logged: Logged) -> None:
    logged.start()
    logger.info("%s password=hunter2", "x" * 100_000)
    (line,) = logged.lines()
    assert line.endswith("x password=***")


def test_the_level_is_that_of_the_settings(logged: Logged) -> None:
    logged.start(log_level="warning")
    logger.info("not this")
    logger.warning("this")
    logging.getLogger("wopr.worker").info("nor this")
    assert ["this"] == [line.rpartition(" ")[2] for line in logged.lines()]


def test_what_a_handler_of_the_application_shows_is_not_shown_twice(
    logged: Logged, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker of a Django project with DEBUG wrote each line of django.* twice."""
    logged.start()
    own = logging.StreamHandler(sys.stderr)
    own.setLevel(logging.WARNING)
    own.addFilter(lambda record: "quiet" not in record.getMessage())
    own.setFormatter(logging.Formatter("own: %(message)s"))
    monkeypatch.setattr(logging.getLogger("shop"), "handlers", [own])
    for message in ("once", "quiet"):
        logger.warning(message)
    logger.info("below its level")
    logging.getLogger("elsewhere").warning("not its logger")
    first, *others = logged.lines()
    assert "own: once" == first
    assert ["quiet", "below its level", "not its logger"] == [
        line.rpartition(": ")[2] for line in others
    ]


def test_starting_again_changes_level_and_format(logged: Logged) -> None:
    logged.start(log_level="ERROR")
    logged.start(log_level="INFO", log_format="json")
    logger.info("once")
    assert ["once"] == [entry["event"] for entry in logged.entries()]
    assert 1 == len(logged.root.handlers)


@pytest.mark.parametrize("terminal", [True, False])
def test_auto_is_json_unless_on_a_terminal(
    logged: Logged, monkeypatch: pytest.MonkeyPatch, terminal: bool
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)
    logged.start(log_format="auto")
    logger.info("seen")
    (line,) = logged.lines()
    assert terminal is not line.startswith("{")


def test_a_warning_is_a_line(logged: Logged) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logged.start(log_format="json")
        warnings.warn("token=hunter2 is old", DeprecationWarning, stacklevel=1)
    (entry,) = logged.entries()
    assert ("WARNING", "py.warnings") == (entry["level"], entry["logger"])
    assert "DeprecationWarning: token=*** is old" in entry["event"]


def test_an_error_that_ends_a_thread_is_a_line(logged: Logged) -> None:
    def fail() -> None:
        raise ValueError("password=hunter2 is wrong")

    logged.start(log_format="json")
    for function in (fail, sys.exit):
        thread = threading.Thread(target=function, name="poller")
        thread.start()
        thread.join()
    (entry,) = logged.entries()
    assert ("ERROR", "wopr.worker", "Thread poller ended with an error.") == (
        entry["level"],
        entry["logger"],
        entry["event"],
    )
    assert entry["exception"].endswith("ValueError: password=*** is wrong")


def test_an_application_keeps_its_own_hook_for_threads(
    logged: Logged, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged.bare()
    own = list.append
    monkeypatch.setattr(threading, "excepthook", own)
    logged.start()
    assert threading.excepthook is own


def test_an_application_with_handlers_of_its_own_keeps_them(logged: Logged) -> None:
    logged.bare()
    own = logging.NullHandler()
    logged.root.addHandler(own)
    logged.root.setLevel("ERROR")
    logged.start(log_level="DEBUG")
    assert ([own], logging.ERROR) == (logged.root.handlers, logged.root.level)
    assert logging.DEBUG == logging.getLogger("wopr").level


def test_a_line_that_can_not_be_formatted_says_so(logged: Logged) -> None:
    logged.start(log_format="json")
    logger.info("%d items token=hunter2", "many", extra={"customer": 7})
    (line,) = logged.lines()
    event = json.loads(line)["event"]
    assert event.startswith("'%d items token=***")
    assert "can't be formatted: TypeError" in event


def test_a_message_without_a_text_is_one_all_the_same(logged: Logged) -> None:
    class Silent:
        def __repr__(self) -> str:
            raise ValueError("no text")

    logged.start(log_format="json")
    logger.info(Silent())
    assert "an unprintable " in logged.entries()[0]["event"]


def test_an_extra_named_like_a_part_of_the_line_replaces_nothing(logged: Logged) -> None:
    logged.start(log_format="json")
    logger.info("real", extra={"event": "false", "level": "CRITICAL", "task_id": "other"})
    entry = logged.entries()[0]
    assert ("real", "INFO", "other") == (entry["event"], entry["level"], entry["task_id"])
    assert ("false", "CRITICAL") == (entry["extra_event"], entry["extra_level"])


def test_structlog_of_the_application_logs_there_too(logged: Logged) -> None:
    logged.start(log_format="json")
    log = structlog.get_logger("shop.stock").bind(shelf=3)
    log.info("counted", password="hunter2", items=[1])
    log.debug("not this")
    try:
        raise ValueError("wrong")
    except ValueError:
        log.exception("no")
    counted, failed = logged.entries()
    assert ("shop.stock", "INFO", "counted") == (
        counted["logger"],
        counted["level"],
        counted["event"],
    )
    assert (3, [1], "***") == (counted["shelf"], counted["items"], counted["password"])
    assert failed["exception"].endswith("ValueError: wrong")


def test_an_application_that_configured_structlog_keeps_its_own(logged: Logged) -> None:
    structlog.configure(processors=[structlog.processors.JSONRenderer()])
    logged.start()
    assert 1 == len(structlog.get_config()["processors"])


async def test_the_task_is_on_every_line_that_it_logs(logged: Logged, tmp_path: Path) -> None:
    logged.start(log_format="json")
    queue = DuckDBHome(tmp_path / "tasks.duckdb").queue()

    @queue.task(name="pay", category="money", max_retries=1)
    async def pay() -> None:
        logger.info("of the application", extra={"task_id": "another"})
        await asyncio.to_thread(logger.info, "in a thread of its own")
        current_task().logger.info("of the task")
        if current_task().attempt == 1:
            raise ValueError

    @queue.task(name="print", category="money")
    def in_thread() -> None:
        logger.info("in the task's thread")

    async with running(queue, money=1):
        first = await pay.options(retry=None).enqueue()
        second = await in_thread.enqueue()
        await ended(queue, first.id, second.id)
    logger.info("outside")
    entries = logged.entries()
    keys = ("event", "task_id", "task_name", "category", "attempt")
    ours = [entry for entry in entries if entry["logger"] in {"shop.orders", "wopr.task"}]
    assert [
        ("of the application", first.id, "pay", "money", 1),
        ("in a thread of its own", first.id, "pay", "money", 1),
        ("of the task", first.id, "pay", "money", 1),
        ("of the application", first.id, "pay", "money", 2),
        ("in a thread of its own", first.id, "pay", "money", 2),
        ("of the task", first.id, "pay", "money", 2),
        ("in the task's thread", second.id, "print", "money", 1),
        ("outside", None, None, None, None),
    ] == sorted(
        (tuple(entry.get(key) for key in keys) for entry in ours),
        key=lambda line: (line[1] != first.id, line[1] is None, line[4] or 0),
    )
    assert {"another"} == {entry["extra_task_id"] for entry in ours if "extra_task_id" in entry}
