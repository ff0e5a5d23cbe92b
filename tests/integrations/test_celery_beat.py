"""Schedules as entries of ``celery beat``, and the settings of a Celery app."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest
from celery import Celery
from celery.schedules import crontab
from celery.schedules import schedule as interval

from support.identities import auth_with
from wopr import (
    Crontab,
    InvalidScheduleSpecificationError,
    InvalidSettingError,
    Month,
    Overlap,
    TaskQueue,
    Weekday,
)
from wopr.auth import protected
from wopr.domain.triggers import Cron
from wopr.handlers import TaskHandler, schedule, task
from wopr.integrations.celery import CeleryConfig, beat_schedule

MONDAY_NOON = datetime(2030, 5, 20, 12, 0, tzinfo=UTC)


@pytest.fixture
def app() -> Iterator[Celery]:
    made = Celery("shop", broker="memory://", set_as_current=False)
    made.conf.timezone = "UTC"
    yield made
    made.close()


def entry(app: Celery, **options: Any) -> dict[str, Any]:
    """Return the entry of one schedule."""
    queue = TaskQueue(enabled=False)

    @queue.schedule(name="nightly", **options)
    @queue.task(name="sweep", category="upkeep")
    def sweep(days: int = 7, *, loud: bool = False) -> None: ...

    entries = beat_schedule(app, queue)
    assert ["nightly"] == list(entries)
    found: dict[str, Any] = entries["nightly"]
    return found


def test_an_entry_has_the_task_its_arguments_and_the_queue_of_its_category(app: Celery) -> None:
    found = entry(app, interval=timedelta(minutes=5), args=[3], kwargs={"loud": True})
    assert interval(run_every=timedelta(minutes=5)) == found.pop("schedule")
    assert {
        "task": "sweep",
        "args": [3],
        "kwargs": {"loud": True},
        "options": {"queue": "upkeep"},
    } == found


def test_methods_of_handlers_have_entries_too(app: Celery) -> None:
    @TaskHandler(name="upkeep")
    class Upkeep:
        @schedule(every=60)
        def sweep(self) -> None: ...

        @task
        @schedule(at=time(3, 30))
        async def backup(self) -> None: ...

    queue = TaskQueue(enabled=False)
    queue.register_handler(Upkeep)
    found = beat_schedule(app, queue)
    assert {
        "upkeep.sweep": interval(run_every=timedelta(minutes=1)),
        "upkeep.backup": crontab(hour=3, minute=30),
    } == {name: one["schedule"] for name, one in found.items()}


@pytest.mark.parametrize("weekday", list(Weekday))
def test_each_weekday_is_the_same_there(app: Celery, weekday: Weekday) -> None:
    """Monday, 0 for us, went out as 0 once, which is Sunday for Celery."""
    found = entry(app, crontab=Crontab(weekday=weekday, hour=12))["schedule"]
    assert isinstance(found, crontab)
    ours = Cron.of(Crontab(weekday=weekday, hour=12)).next_after(MONDAY_NOON - timedelta(hours=1))
    assert ours is not None
    assert {(ours.weekday() + 1) % 7} == found.day_of_week


@pytest.mark.parametrize(
    ("options", "fields"),
    [
        (
            {"crontab": Crontab(month=(Month.JANUARY, Month.JULY), day=1)},
            ("0", "0", "1", "1,7", "*"),
        ),
        ({"crontab": Crontab(day=13, weekday=Weekday.FRIDAY)}, ("0", "0", "13", "*", "5")),
        ({"cron": "*/20 8-10 * * MON-FRI"}, ("0,20,40", "8,9,10", "*", "*", "1,2,3,4,5")),
        ({"cron": "30 9 * * 0,7"}, ("30", "9", "*", "*", "0")),
        ({"cron": "0 0 * * 0-6"}, ("0", "0", "*", "*", "*")),
        ({"cron": "0 0 1-31 * MON"}, ("0", "0", "*", "*", "*")),  # either: so every day
        ({"cron": "@hourly"}, ("0", "*", "*", "*", "*")),
    ],
)
def test_a_crontab_has_the_same_numbers_there(
    app: Celery, options: dict[str, Any], fields: tuple[str, ...]
) -> None:
    names = ("minute", "hour", "day_of_month", "month_of_year", "day_of_week")
    assert crontab(**dict(zip(names, fields, strict=True))) == entry(app, **options)["schedule"]


def test_a_zone_is_kept_if_it_is_that_of_the_app_and_refused_if_not(app: Celery) -> None:
    with pytest.raises(InvalidScheduleSpecificationError) as caught:
        entry(app, at=time(3, 0), tz="Europe/Berlin")
    assert "'Europe/Berlin', and all entries of this Celery app are of 'UTC'" in str(caught.value)
    app.conf.timezone = "Europe/Berlin"
    found = entry(app, at=time(3, 0), tz="Europe/Berlin")["schedule"]
    found.app = app
    assert "Europe/Berlin" == str(found.tz)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"at": time(3, 0, 30)}, "celery beat knows minutes, and it fires at 03:00:30"),
        ({"cron": "30 0 3 * * *"}, "has seconds"),
        ({"cron": "0 0 1 * MON"}, "if the day of month or the weekday matches"),
        ({"cron": "0 0 L * *"}, "L, LW or #"),
        ({"cron": "0 0 * * MON#2"}, "L, LW or #"),
        ({"run_at": MONDAY_NOON}, "knows intervals and crontabs"),
        ({"every": 60, "jitter": 5}, "it has jitter="),
        ({"every": 60, "overlap": Overlap.ALLOW}, "it has overlap="),
        ({"every": 60, "end_at": MONDAY_NOON}, "it has end_at="),
        ({"every": 60, "tags": ["nightly"]}, "it has tags"),
    ],
)
def test_what_celery_beat_can_not_follow_is_refused_with_the_reason(
    app: Celery, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(InvalidScheduleSpecificationError) as caught:
        entry(app, **options)
    assert "Schedule 'nightly' can't go to Celery" in str(caught.value)
    assert words in str(caught.value)


def test_a_protected_task_is_refused_as_an_entry_has_no_identity(app: Celery) -> None:
    queue = TaskQueue(enabled=False, auth=auth_with())

    @queue.schedule(every=60)
    @queue.task(name="drop")
    @protected
    def drop() -> None: ...

    with pytest.raises(InvalidScheduleSpecificationError, match="has no identity to run as"):
        beat_schedule(app, queue)


# -- settings ---------------------------------------------------------------------


def test_the_settings_have_their_names_and_defaults() -> None:
    found = CeleryConfig.from_env({"WOPR_CELERY__BROKER_URL": "memory://"})
    assert CeleryConfig(broker_url="memory://") == found
    assert (None, "wopr", "json", "json", ("json",), "UTC", True) == (
        found.result_backend,
        found.app_name,
        found.task_serializer,
        found.result_serializer,
        found.accept_content,
        found.timezone,
        found.enable_utc,
    )


def test_every_setting_reaches_the_app() -> None:
    values = {
        "BROKER_URL": "memory://",
        "RESULT_BACKEND": "cache+memory://",
        "APP_NAME": "shop",
        "TASK_SERIALIZER": "msgpack",
        "RESULT_SERIALIZER": "yaml",
        "ACCEPT_CONTENT": '["json", "msgpack"]',
        "TIMEZONE": "Europe/Berlin",
        "ENABLE_UTC": "false",
    }
    prefix = "OTHER_CELERY__"  # names that another bridge has left in the environment
    app = CeleryConfig.from_env(
        {prefix + key: value for key, value in values.items()}, prefix
    ).app()
    conf = app.conf
    assert ("shop", "memory://", "cache+memory://") == (
        app.main,
        conf.broker_url,
        conf.result_backend,
    )
    assert ("msgpack", "yaml", ["json", "msgpack"], "Europe/Berlin", False) == (
        conf.task_serializer,
        conf.result_serializer,
        conf.accept_content,
        conf.timezone,
        conf.enable_utc,
    )


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("BROKER_URL", "", "WOPR_CELERY__BROKER_URL is not set"),
        ("TIMEZONE", "Mars/Olympus", "WOPR_CELERY__TIMEZONE can't be used"),
        ("TASK_SERIALIZER", "xml", "WOPR_CELERY__TASK_SERIALIZER is 'xml'"),
        ("ACCEPT_CONTENT", "json", "is a JSON list of names"),
        ("ACCEPT_CONTENT", '["yaml"]', 'has to have "json"'),
        ("ENABLE_UTC", "perhaps", "is true or false"),
    ],
)
def test_a_setting_that_can_not_be_is_refused_by_its_name(
    name: str, value: str, words: str
) -> None:
    values = {"BROKER_URL": "memory://", name: value}
    with pytest.raises(InvalidSettingError) as caught:
        CeleryConfig.from_env({f"WOPR_CELERY__{key}": one for key, one in values.items()})
    assert words in str(caught.value)
