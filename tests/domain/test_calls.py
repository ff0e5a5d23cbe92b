"""Calls are checked before anything is written."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from tenacity import stop_after_attempt, wait_fixed

from support.queues import NOON, SteppableClock
from wopr import InvalidCallError, OnConflict, QueryError, TaskPriority
from wopr.calls.options import CALL_OPTIONS, Options
from wopr.calls.registry import Registry, TaskDefinition
from wopr.calls.tasks import new_task
from wopr.domain.checks import (
    check_count,
    check_id,
    check_label,
    check_moment,
    check_priority,
    check_query,
    check_seconds,
)
from wopr.domain.codec import PayloadLimits
from wopr.domain.retry import RetryPolicy
from wopr.domain.task import UNLIMITED_RETRIES


def definition(**changes: Any) -> TaskDefinition:
    """Return a registered task."""
    settings: dict[str, Any] = {
        "name": "echo",
        "category": "c",
        "priority": 2,
        "max_retries": None,
        "retry": RetryPolicy.of(None),
        "timeout": None,
        **changes,
    }
    return Registry(PayloadLimits()).add(lambda n=0: n, **settings)


def made(given: TaskDefinition | None = None, **options: Any) -> Any:
    """Return the new task of a call."""
    return new_task(given or definition(), (7,), {}, SteppableClock(), options)


def test_a_call_without_options_is_as_its_task_is() -> None:
    new = made(definition(category="mail", priority=4, max_retries=5))
    assert ("echo", "mail", 4, 5, "[7]", "{}", None, None, OnConflict.SKIP, None) == (
        new.name,
        new.category,
        new.priority,
        new.max_retries,
        new.args,
        new.kwargs,
        new.run_at,
        new.unique_key,
        new.on_conflict,
        new.options,
    )


def test_the_options_of_a_call_win() -> None:
    new = made(
        definition(category="mail", max_retries=5),
        category="post",
        priority=TaskPriority.LOW,
        max_retries=0,
        unique_key="k",
        on_conflict=OnConflict.RAISE,
        delay=10,
    )
    assert ("post", 1, 0, "k", OnConflict.RAISE, NOON.replace(tzinfo=None)) == (
        new.category,
        new.priority,
        new.max_retries,
        new.unique_key,
        new.on_conflict,
        new.run_at - timedelta(seconds=10),
    )


@pytest.mark.parametrize(
    ("of_task", "of_call", "expected"),
    [
        ({}, {}, 0),
        ({"retry": RetryPolicy.of(wait_fixed(1))}, {}, 0),
        ({"retry": RetryPolicy.of(stop_after_attempt(3))}, {}, UNLIMITED_RETRIES),
        ({"retry": RetryPolicy.of(stop_after_attempt(3)), "max_retries": 1}, {}, 1),
        ({}, {"retry": stop_after_attempt(3)}, UNLIMITED_RETRIES),
        ({"max_retries": 4}, {"retry": stop_after_attempt(3)}, 4),
        ({"max_retries": 4}, {"max_retries": 2}, 2),
    ],
)
def test_the_budget_is_the_call_s_then_the_task_s_then_the_policy_s(
    of_task: dict[str, Any], of_call: dict[str, Any], expected: int
) -> None:
    assert expected == made(definition(**of_task), **of_call).max_retries


def test_the_options_are_those_that_the_types_promise() -> None:
    assert set(Options.__annotations__) == CALL_OPTIONS
    with pytest.raises(InvalidCallError, match="There is no option 'priorty'"):
        made(priorty=1)


@pytest.mark.parametrize("text", ["a", "x" * 200, "ü ☃", "'; --"])
def test_labels_are_kept_as_they_are(text: str) -> None:
    assert text == check_label(text, "a name")


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(0, 0.0), (5, 5.0), (0.25, 0.25), (timedelta(minutes=2), 120.0), (3.2e9, 3.2e9)],
)
def test_durations_are_seconds(value: float | timedelta, seconds: float) -> None:
    assert seconds == check_seconds(value, "delay", zero="allow")
    assert float is type(check_seconds(value, "delay", zero="allow"))


@pytest.mark.parametrize("value", [-1, math.nan, math.inf, True, "1", None, timedelta(-1), 3.3e9])
def test_other_durations_are_refused(value: object) -> None:
    with pytest.raises(InvalidCallError, match="delay must be a number of seconds"):
        check_seconds(value, "delay", zero="allow")


def test_zero_is_no_timeout() -> None:
    with pytest.raises(InvalidCallError, match="timeout must be more than 0 seconds"):
        check_seconds(0, "timeout", zero="refuse")


def test_moments_become_naive_utc() -> None:
    berlin = timezone(timedelta(hours=2))
    expected = datetime(2030, 1, 1, 10)  # naive, as records hold it
    assert expected == check_moment(datetime(2030, 1, 1, 12, tzinfo=berlin))
    assert expected == check_moment(datetime(2030, 1, 1, 10, tzinfo=UTC))


@pytest.mark.parametrize("check", [check_priority, check_moment, check_id])
def test_a_message_names_the_value_and_its_type(check: Callable[[object], object]) -> None:
    with pytest.raises(InvalidCallError, match=r"float 1\.5"):
        check(1.5)


@pytest.mark.parametrize(("value", "good"), [(0, True), (9, True), (10, False), (-1, False)])
def test_counts_have_bounds(value: int, good: bool) -> None:
    if good:
        assert value == check_count(value, "limit", most=9)
    else:
        with pytest.raises(InvalidCallError, match="limit must be a whole number from 0 to 9"):
            check_count(value, "limit", most=9)


def test_ids_have_one_form() -> None:
    canonical = "0190cafe-0000-7000-8000-00000000abcd"
    assert canonical == check_id(canonical.upper()) == check_id(canonical.replace("-", ""))
    assert "my own id" == check_id("my own id")


def test_parameters_of_a_query_may_nest_but_not_for_ever() -> None:
    loop: list[object] = []
    loop.append(loop)
    assert "select ?" == check_query("select ?", [[1, [2]], {"a": (3,)}])
    with pytest.raises(QueryError, match="nested too deeply, or contains itself"):
        check_query("select ?", [loop])
