"""Why work does not flow: facts in, reasons out, the most harmful first."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from wopr.domain.controls import Pause
from wopr.domain.facts import Behind, Disk, Facts, Failing, Held, Live, Reached, Usual
from wopr.domain.reason import Reason, Severity
from wopr.domain.schedule import Schedule
from wopr.domain.spoken import local
from wopr.domain.standing import Standing
from wopr.domain.triggers import Cron
from wopr.domain.why import NO_DISK, reasons

NOON = datetime(2030, 5, 17, 12)
LATE = NOON - timedelta(minutes=10)
FINE = Facts(
    now=NOON,
    database="/srv/tasks.duckdb",
    owner=7,
    workers={"mail": 2},
    registered=frozenset({"send"}),
    live=(Live("mail", "send", 5, 3, 1, LATE),),
)
NIGHTLY = Schedule(
    name="nightly",
    task="send",
    category="mail",
    priority=2,
    max_retries=0,
    args="[]",
    kwargs="{}",
    trigger=Cron("0 3 * * *"),
    next_fire_at=datetime(2030, 5, 18, 3, tzinfo=UTC),
)
BROKEN = Failing("send", "ValueError", "bad <n>", 6, 0, LATE, "0189", "bad 7")
GB = 1_000_000_000


def found(**changes: Any) -> tuple[Reason, ...]:
    return reasons(replace(FINE, **changes))


def test_where_work_flows_there_is_no_reason() -> None:
    assert () == reasons(FINE)


@pytest.mark.parametrize(
    ("changes", "kind", "severity", "tasks", "command"),
    [
        ({"workers": {}}, "no worker process", "stopped", 3, "wopr worker module:queue"),
        ({"workers": {}, "live": ()}, "no worker process", "warning", 0, "wopr worker"),
        ({"stopping": True}, "shutting down", "stopped", 3, None),
        (
            {"registered": frozenset({"other"})},
            *("unregistered", "held", 3, "wopr tasks list --name send"),
        ),
        ({"workers": {"sums": 1}}, "no workers", "held", 3, "wopr worker module:queue -c mail:4"),
        (
            {"pauses": (Pause(category="mail", reason="Monday", since=NOON),)},
            *("paused", "held", 3, "wopr resume mail"),
        ),
        (
            {"pauses": (Pause(task="send", since=NOON),)},
            *("paused", "held", 3, "wopr resume --task send"),
        ),
        (
            {"pauses": (Pause(category="empty", since=NOON),)},
            *("paused", "warning", 0, "wopr resume empty"),
        ),
        ({"refused": (Held("It is broken.", ("send",)),)}, "refused", "held", 3, None),
        ({"unfit": {"send": 2}}, "does not fit", "held", 2, "wopr tasks list --name send"),
        ({"stuck": (("01", "mail", "for ever."),)}, "stuck", "held", 1, "wopr tasks cancel 01"),
        ({"standing_back": frozenset({"mail"})}, "foreground", "warning", 3, None),
        (
            {"limits": (Reached("mail/k", "mail", "k", "7", 9, "1 of at most 1 run"),)},
            *("limited", "warning", 9, "wopr limits list"),
        ),
        ({"disk": Disk("/srv", NO_DISK - 1, GB)}, "disk", "stopped", 0, "wopr cleanup"),
        ({"disk": Disk("/srv", NO_DISK + 1, GB)}, "disk", "warning", 0, "wopr cleanup"),
        ({"behind": Behind(5, 60.0, None)}, "journal behind", "warning", 0, None),
        ({"behind": Behind(5, 1.0, "disk full")}, "journal behind", "held", 0, "wopr doctor"),
        ({"refused_records": 1}, "refused record", "held", 0, "wopr doctor"),
        ({"storage": "no answer"}, "storage", "held", 0, "wopr doctor"),
        ({"unanswered": ("who knows",)}, "unanswered", "warning", 0, None),
        ({"usual": {"mail": Usual(60, 20)}}, "backlog", "warning", 3, "wopr workers list"),
        ({"failing": (BROKEN,)}, "failing", "warning", 0, "wopr tasks history 0189 --traceback"),
        (
            {"schedules": ((NIGHTLY, Standing("no scheduler", "")),)},
            *("no scheduler", "held", 0, "wopr config show --origin"),
        ),
        (
            {
                "schedules": ((NIGHTLY, Standing("planned", "")),),
                "missing": {"nightly": (NOON.replace(tzinfo=UTC),)},
            },
            *("missed", "warning", 0, "wopr schedules run nightly"),
        ),
        (
            {"schedules": ((NIGHTLY, Standing("unregistered", "why")),)},
            *("schedule", "warning", 0, "wopr schedules show nightly"),
        ),
    ],
)
def test_what_holds_work_back_is_a_reason_with_what_mends_it(
    changes: dict[str, Any], kind: str, severity: str, tasks: int, command: str | None
) -> None:
    [reason] = found(**changes)
    assert (kind, severity, tasks) == (reason.kind, reason.severity.value, reason.tasks)
    assert (reason.command or "").startswith(command or "")
    assert (command is None) == (reason.command is None)


@pytest.mark.parametrize(
    "changes",
    [
        {"disk": Disk("/srv", 10 * GB, GB)},
        {"behind": Behind(100_000, 1.0, None)},
        {"limits": (Reached("mail/k", "mail", "k", "7", 0, "1 of at most 1 run"),)},
        {"usual": {"mail": Usual(300, 20)}},  # 600 s are less than three times as long
        {"usual": {"mail": Usual(60, 19)}},  # nobody knows what is usual
        {"usual": {"sums": Usual(1, 1000)}},
        {"failing": (replace(BROKEN, recent=4),)},
        {"failing": (replace(BROKEN, recent=20, before=7 * 24 * 10),)},  # twice as often as ever
        {"schedules": ((NIGHTLY, Standing("planned", "")),)},
        {"registered": frozenset({"send", "more"})},
        {"workers": {"mail": 1, "idle": 0}},
    ],
)
def test_what_is_as_usual_is_no_reason(changes: dict[str, Any]) -> None:
    assert () == found(**changes)


@pytest.mark.parametrize(("running", "said"), [(1, False), (2, True)])
def test_more_workers_are_advised_where_each_that_there_is_runs_a_task(
    running: int,
    said: bool,
) -> None:
    live = (Live("mail", "send", 5, 3, running, LATE),)
    [reason] = found(usual={"mail": Usual(60, 20)}, live=live)
    assert said == reason.text.endswith(
        "Each of its 2 workers runs a task: more of them would help."
    )


def test_a_backlog_that_nobody_works_on_is_told_once() -> None:
    for workers in ({}, {"sums": 1}):
        [reason] = found(usual={"mail": Usual(60, 20)}, workers=workers)
        assert reason.kind in {"no worker process", "no workers"}


def test_without_a_worker_process_a_schedule_that_waits_is_what_does_not_run() -> None:
    [reason] = found(workers={}, live=(), schedules=((NIGHTLY, Standing("no scheduler", "")),))
    assert ("no worker process", Severity.STOPPED) == (reason.kind, reason.severity)


def test_a_process_that_only_looks_does_not_call_every_name_unregistered() -> None:
    kinds = [one.kind for one in found(workers={}, registered=frozenset())]
    assert ["no worker process"] == kinds


def test_the_most_harmful_comes_first_then_what_holds_most() -> None:
    few, many = Live("few", "few", 1, 1, 0, LATE), Live("many", "many", 9, 9, 0, LATE)
    told = found(
        live=(few, many),
        pauses=(Pause(category="mail", since=NOON),),
        behind=Behind(1, 60.0, None),
        disk=Disk("/srv", 0, GB),
    )
    assert [
        ("disk", None),
        ("unregistered", "many"),
        ("unregistered", "few"),
        ("no workers", None),
        ("no workers", None),
        ("journal behind", None),
        ("paused", None),
    ] == [(one.kind, one.about.get("name")) for one in told]
    assert ["many", "few"] == [one.about["category"] for one in told if one.kind == "no workers"]


def test_a_reason_says_who_how_many_since_when_and_the_rest() -> None:
    [reason] = found(registered=frozenset({"other"}))
    assert "3 due tasks of the name 'send'" in reason.text
    assert "(10 min)" in reason.text
    assert LATE.replace(tzinfo=UTC) == reason.since
    assert {"name": "send"} == reason.about


def test_a_pause_says_by_whom_from_where_since_when_and_why() -> None:
    pause = Pause(
        category="mail", reason="Monday", since=NOON, by="ada", origin="wopr, pid 3 on hal"
    )
    [reason] = found(pauses=(pause,))
    assert f"paused since {local(NOON)} by ada (wopr, pid 3 on hal): Monday." in reason.text
    assert ("ada", "wopr, pid 3 on hal") == (reason.about["by"], reason.about["origin"])
    [older] = found(pauses=(Pause(category="mail", reason="Monday", since=NOON),))
    assert f"paused since {local(NOON)}: Monday." in older.text


def test_a_name_is_quoted_for_the_shell() -> None:
    [reason] = found(live=(Live("mail", "a b; rm", 1, 1, 0, LATE),))
    assert "wopr tasks list --name 'a b; rm'" == reason.command


def test_the_same_reason_has_the_same_key_however_many_it_holds() -> None:
    [one] = found(workers={"sums": 1})
    [other] = found(workers={"sums": 1}, live=(Live("mail", "send", 500, 500, 0, NOON),))
    assert one.key == other.key
    [third] = found(live=(Live("letters", "send", 1, 1, 0, LATE),))
    assert third.key != one.key
