"""Decisions are pure: a record, an event and a time give a transition or nothing."""

from __future__ import annotations

from datetime import timedelta

import pytest

from support.records import NOW, claimed, failed, follow, record, succeeded
from wopr import TaskStatus
from wopr.domain import decide
from wopr.domain.outcome import Failed, Interrupted, Succeeded
from wopr.domain.status import TRANSITIONS, Move
from wopr.domain.task import TaskRecord

STATES = {
    TaskStatus.PENDING: record,
    TaskStatus.STARTED: claimed,
    TaskStatus.RETRY: lambda: failed(delay=2.0),
    TaskStatus.SUCCESS: succeeded,
    TaskStatus.FAILED: failed,
    TaskStatus.CANCELLED: lambda: follow(one := record(), decide.move(one, Move.CANCEL, NOW)),
}
PLAIN = [Move.CANCEL, Move.RENEW, Move.INTERRUPT]


@pytest.mark.parametrize("status", list(TaskStatus))
@pytest.mark.parametrize("name", PLAIN)
def test_a_move_is_made_only_where_the_table_has_it(status: TaskStatus, name: Move) -> None:
    one = STATES[status]()
    assert status is one.status
    transition = decide.move(one, name, NOW)
    expected = TRANSITIONS.get((status, name))
    assert expected == (transition.to_status if transition else None)


@pytest.mark.parametrize("status", list(TaskStatus))
def test_only_waiting_tasks_are_claimed_and_each_claim_is_an_attempt(status: TaskStatus) -> None:
    one = STATES[status]()
    before = one.attempt
    transition = decide.claim(one, "w", NOW)
    if status in {TaskStatus.PENDING, TaskStatus.RETRY}:
        assert transition is not None
        assert (TaskStatus.STARTED, before + 1, "w") == (
            transition.to_status,
            transition.attempt,
            transition.worker,
        )
    else:
        assert transition is None


@pytest.mark.parametrize("outcome", [Succeeded("1"), Failed("e", "E", "t"), Interrupted()])
@pytest.mark.parametrize("status", [s for s in TaskStatus if s is not TaskStatus.STARTED])
def test_an_outcome_of_a_task_that_does_not_run_changes_nothing(
    status: TaskStatus, outcome: Succeeded | Failed | Interrupted
) -> None:
    one = STATES[status]()
    assert decide.settle(one, one.attempt, outcome, 1.0) is None


@pytest.mark.parametrize("attempt", [0, 1, 3])
def test_an_outcome_of_another_attempt_changes_nothing(attempt: int) -> None:
    one = claimed(failed(delay=0.0))
    assert 2 == one.attempt
    assert decide.settle(one, attempt, Succeeded("1"), 1.0) is None
    assert decide.settle(one, 2, Succeeded("1"), 1.0) is not None


def test_the_end_is_the_start_plus_the_time_it_took() -> None:
    transition = decide.settle(claimed(), 1, Succeeded("1"), 2.5)
    assert transition is not None
    assert NOW + timedelta(seconds=2.5) == transition.occurred_at


def test_a_failure_with_a_delay_is_due_that_long_after_its_end() -> None:
    transition = decide.settle(claimed(), 1, Failed("E: x", "E", "trace", 8.0), 2.0)
    assert transition is not None
    assert transition.data is not None
    assert (TaskStatus.RETRY, 1, NOW + timedelta(seconds=10)) == (
        transition.to_status,
        transition.data["retry_count"],
        transition.data["run_at"],
    )
    assert ("E: x", "E", "trace") == (
        transition.error,
        transition.data["error_type"],
        transition.data["traceback"],
    )


def test_a_failure_without_a_delay_is_final() -> None:
    transition = decide.settle(claimed(), 1, Failed("E: x", "E", "trace"), 2.0)
    assert transition is not None
    assert TaskStatus.FAILED is transition.to_status


def test_an_endless_delay_ends_within_the_calendar() -> None:
    transition = decide.settle(claimed(), 1, Failed("E", "E", "t", 1e11), 0.0)
    assert transition is not None
    assert transition.data is not None
    assert NOW + timedelta(days=3650) == transition.data["run_at"]


def test_an_interruption_puts_the_task_back_and_says_why() -> None:
    transition = decide.settle(claimed(), 1, Interrupted("deploy"), 1.0)
    assert transition is not None
    assert (TaskStatus.PENDING, "deploy") == (transition.to_status, transition.reason)


def _crash(one: TaskRecord, most: int) -> TaskRecord:
    return follow(one, decide.recover(one, most, NOW))


def test_recovery_counts_crashes_until_the_limit() -> None:
    one = _crash(claimed(), 3)
    assert (TaskStatus.PENDING, 1) == (one.status, one.crashes)
    one = _crash(claimed(one), 3)
    assert (TaskStatus.PENDING, 2) == (one.status, one.crashes)
    one = _crash(claimed(one), 3)
    assert (TaskStatus.FAILED, 3, "CrashLoop") == (one.status, one.crashes, one.error_type)
    assert one.error is not None
    assert f"wopr tasks retry {one.id}" in one.error


def test_what_was_due_is_due_when_it_is_given_back_although_the_clock_was_set_back() -> None:
    set_back = NOW - timedelta(hours=2)
    for due, again in ((NOW, set_back), (set_back, set_back), (None, None)):
        one = claimed()
        one.run_at = due
        assert again == follow(one, decide.recover(one, 3, set_back)).run_at
    one = claimed()
    one.run_at = NOW
    back = follow(one, decide.move(one, Move.INTERRUPT, set_back, reason="shutdown"))
    assert (TaskStatus.PENDING, set_back) == (back.status, back.run_at)


def test_with_a_limit_of_one_the_first_crash_is_final() -> None:
    assert TaskStatus.FAILED is _crash(claimed(), 1).status


@pytest.mark.parametrize("status", [s for s in TaskStatus if s is not TaskStatus.STARTED])
def test_only_running_tasks_are_recovered(status: TaskStatus) -> None:
    assert decide.recover(STATES[status](), 3, NOW) is None
