"""What is told from the members of a flow alone."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from wopr import TaskStatus
from wopr.flows import FlowProgress
from wopr.flows.members import Member, cause_of, first_to_cancel, outputs_of, progress_of

NOON = datetime(2030, 1, 1, 12)
OK, FAILED, CANCELLED = TaskStatus.SUCCESS, TaskStatus.FAILED, TaskStatus.CANCELLED
PENDING, STARTED, RETRY = TaskStatus.PENDING, TaskStatus.STARTED, TaskStatus.RETRY


def a(name: str, status: TaskStatus, *parents: str, second: int = 0, **more: Any) -> Member:
    """Make a member whose id is its name; one that ended did so at the second."""
    values = {"attempt": 0, "waiting": False, "key": None, "listed": False, "stays": False, **more}
    ended = NOON + timedelta(seconds=second) if status in (OK, FAILED, CANCELLED) else None
    return Member(name, name, status, completed_at=ended, depends_on=parents, **values)


def names(members: list[Member]) -> list[str]:
    return [one.id for one in members]


# -- progress ---------------------------------------------------------------------


def test_progress_counts_every_status() -> None:
    members = [
        a("1", OK),
        a("2", OK),
        a("3", FAILED),
        a("4", CANCELLED),
        a("5", STARTED),
        a("6", RETRY),
        a("7", PENDING),
        a("8", PENDING, waiting=True),
    ]
    progress = progress_of(members)
    assert FlowProgress(8, 4, 2, 1, 1, 1, 1) == progress
    assert 50.0 == progress.percent


# -- results ----------------------------------------------------------------------


def test_the_last_task_has_the_result() -> None:
    found, listed = outputs_of([a("1", OK), a("2", OK, "1"), a("3", OK, "1", "2")])
    assert (["3"], False) == (names(found), listed)


def test_one_last_task_can_be_marked_to_be_a_list() -> None:
    found, listed = outputs_of([a("1", OK), a("2", OK, "1", listed=True)])
    assert (["2"], True) == (names(found), listed)


def test_several_last_tasks_are_a_list() -> None:
    found, listed = outputs_of([a("1", OK), a("2", OK, "1"), a("3", OK, "1")])
    assert (["2", "3"], True) == (names(found), listed)


# -- who is to blame ----------------------------------------------------------------


def test_the_first_to_fail_is_the_cause_not_what_followed() -> None:
    members = [
        a("1", OK),
        a("2", FAILED, "1", second=5, attempt=1),
        a("3", FAILED, "1", second=3, attempt=1),
        a("4", CANCELLED, "2", "3", second=4),
        a("5", CANCELLED, "4", second=4),
    ]
    cause = cause_of(members, ["5"])
    assert cause is not None
    assert "3" == cause.id


def test_one_that_was_cancelled_itself_is_the_cause() -> None:
    members = [a("1", OK), a("2", CANCELLED, "1"), a("3", CANCELLED, "2")]
    cause = cause_of(members, ["3"])
    assert cause is not None
    assert "2" == cause.id


def test_one_that_ran_in_spite_of_a_failed_parent_has_itself_to_blame() -> None:
    members = [a("1", FAILED, attempt=1), a("2", FAILED, "1", second=2, attempt=1)]
    cause = cause_of(members, ["2"])
    assert cause is not None
    assert "2" == cause.id


def test_a_failure_that_nothing_of_the_result_comes_from_is_no_cause() -> None:
    members = [a("1", FAILED), a("2", OK)]
    assert None is cause_of(members, ["2"])


def test_a_parent_outside_of_the_flow_ends_the_search() -> None:
    cause = cause_of([a("1", CANCELLED, "stranger")], ["1"])
    assert cause is not None
    assert "1" == cause.id


# -- what to cancel first --------------------------------------------------------------


def test_those_without_live_parents_go_first_and_take_the_others_along() -> None:
    members = [
        a("1", OK),
        a("2", STARTED, "1"),
        a("3", PENDING, "2"),
        a("4", RETRY),
        a("5", PENDING, "3", "4"),
    ]
    assert ["2", "4"] == names(first_to_cancel(members))


def test_one_that_would_run_anyway_goes_before_its_parents() -> None:
    members = [a("1", STARTED), a("2", PENDING, "1", stays=True), a("3", PENDING, "2")]
    assert ["2"] == names(first_to_cancel(members))


def test_of_those_that_would_run_anyway_the_lowest_goes_first() -> None:
    members = [
        a("1", STARTED),
        a("2", PENDING, "1", stays=True),
        a("3", PENDING, "2"),
        a("4", PENDING, "3", stays=True),
        a("5", PENDING, "1", stays=True),
    ]
    assert ["4", "5"] == names(first_to_cancel(members))


def test_nothing_is_left_to_cancel_of_what_has_ended() -> None:
    assert [] == first_to_cancel([a("1", OK), a("2", FAILED, "1", stays=True)])


def test_cancelling_in_rounds_ends_whatever_the_shape() -> None:
    members = [a(str(n), PENDING, *([str(n - 1)] if n else []), stays=n % 3 == 0) for n in range(9)]
    rounds = []
    while chosen := names(first_to_cancel(members)):
        rounds.append(chosen)
        members = [a(one.id, CANCELLED) if one.id in chosen else one for one in members]
    assert ["6"] == rounds[0]
    assert {str(n) for n in range(9)} == {name for chosen in rounds for name in chosen}
