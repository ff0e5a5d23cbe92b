"""Every table of the command, with rows to show, on terminals of several widths.

``python -m support.shown`` in ``tests`` writes what they look like to ``tests/cli/tables.txt``.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Sequence
from pathlib import Path
from unittest import mock

from wopr.cli import tables
from wopr.cli.fitting import Kind, Table
from wopr.cli.output import table

LOOKS = Path(__file__).parents[1] / "cli" / "tables.txt"
WIDTHS = (45, 80, 200)
PREFIX = 18

TABLES: dict[str, Table] = {
    name: form for name, form in vars(tables).items() if isinstance(form, Table)
}

_TIME = "2030-05-17 14:00:00+02:00"
_VALUES: dict[str, tuple[object, object]] = {
    "status": ("success", "cancelled"),
    "from": ("started", "pending"),
    "to": ("success", "cancelled"),
    "priority": ("NORMAL", "CRITICAL"),
    "category": ("mail", "報告書を作成する部署"),
    "name": ("send_mail", "毎月の報告書を全部の顧客に送る"),
    "task": ("send_mail", "shop.billing.tasks.send_invoices_of_the_month"),
    "state": ("planned", "no worker process"),
    "when": ("every 5 min", "cron 0 3 * * mon-fri Europe/Berlin"),
    "verb": ("cancel", "set-priority"),
    "level": ("warning", "error"),
    "note": ("ran 3.2 s", "ConnectionError: 10.0.0.7 did not answer within 30 s"),
    "error": ("", "ConnectionError: 10.0.0.7 did not answer within 30 s"),
    "reason": ("by hand", "the price list of the year was wrong"),
    "rate": ("10 per 1 min", "1000 per 1 h 30 min"),
    "setting": ("window", "notification_handler_timeout"),
    "value": ("8", "/srv/queues/of/the/shop/wopr_tasks.duckdb"),
    "origin": ("default", "/srv/queues/of/the/shop/pyproject.toml"),
    "worker": ("host-7-mail-1", "host-with-a-long-name-12345-mail-12"),
    "who": ("ada", "somebody@example.org"),
}
"""What columns of these names show: something usual, and something wide."""
_OTHERS = {
    **dict.fromkeys(("time", "created", "completed", "since", "next", "last", "began"), _TIME),
    **dict.fromkeys(("ended", "last claim", "heartbeat"), _TIME),
}


def rows_of(form: Table, count: int) -> list[list[object]]:
    """Return rows, every other one with wide values."""
    return [
        [_value(form, at, number) for at in range(len(form.columns))] for number in range(count)
    ]


def _value(form: Table, at: int, number: int) -> object:
    column = form.columns[at]
    if column.kind is Kind.ID or (form is tables.PROBLEMS and column.name == "task"):
        return f"01890000-0000-7{number:03x}-8000-000000000000"
    if form in (tables.ACTS, tables.WORKERS) and column.name in ("to", "from"):
        return ("name=send_mail", "category=報告書を作成する部署 status=failed")[number % 2]
    if column.name == "when" and form is tables.ALERTS:
        return ("slow", "schedule_missed")[number % 2]
    if column.name == "ended" and form is tables.FLOWS:
        return number
    if column.name in _OTHERS:
        return _OTHERS[column.name]
    if column.name in _VALUES:
        return _VALUES[column.name][number % 2]
    if column.kind is Kind.TEXT:
        return (column.name, f"a rather long value of {column.name}")[number % 2]
    return number * 1_000


def printed(form: Table, rows: Sequence[Sequence[object]], width: int) -> list[str]:
    """Return the lines of a table on a terminal of so many columns."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), mock.patch.dict(os.environ, {"COLUMNS": str(width)}):
        table(form, rows, prefix=PREFIX)
    return out.getvalue().splitlines()


def look(name: str) -> str:
    """Return what a table looks like on all terminals."""
    form = TABLES[name]
    shown = [[f"== {name}, {width}", *printed(form, rows_of(form, 2), width)] for width in WIDTHS]
    return "".join(f"{line}\n" for lines in shown for line in lines)


if __name__ == "__main__":
    LOOKS.write_text("".join(map(look, TABLES)), encoding="utf-8")
