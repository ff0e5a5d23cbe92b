"""The state machine: one table."""

from __future__ import annotations

import json

import pytest

from wopr import TaskPriority, TaskStatus
from wopr.domain.status import CLAIMABLE, LIVE, TERMINAL, TRANSITIONS, Move, mermaid

PENDING, STARTED, RETRY = TaskStatus.PENDING, TaskStatus.STARTED, TaskStatus.RETRY
SUCCESS, FAILED, CANCELLED = TaskStatus.SUCCESS, TaskStatus.FAILED, TaskStatus.CANCELLED


def test_the_six_statuses_are_the_texts_on_the_wire() -> None:
    assert '["pending", "started", "success", "failed", "cancelled", "retry"]' == json.dumps(
        list(TaskStatus)
    )
    assert "pending" == str(PENDING) == f"{PENDING}"


def test_priorities_compare_by_urgency() -> None:
    assert TaskPriority.LOW < TaskPriority.NORMAL < TaskPriority.HIGH < TaskPriority.CRITICAL


def test_every_status_is_terminal_or_live() -> None:
    assert {SUCCESS, FAILED, CANCELLED} == TERMINAL
    assert {PENDING, STARTED, RETRY} == LIVE
    assert {PENDING, RETRY} == CLAIMABLE


def test_only_by_hand_a_task_leaves_its_end_and_only_failed_or_cancelled() -> None:
    assert {(FAILED, Move.RENEW): PENDING, (CANCELLED, Move.RESTORE): PENDING} == {
        step: after for step, after in TRANSITIONS.items() if step[0] in TERMINAL
    }


@pytest.mark.parametrize("status", sorted(LIVE))
def test_every_live_task_can_be_cancelled(status: TaskStatus) -> None:
    assert CANCELLED is TRANSITIONS[status, Move.CANCEL]


def test_every_status_can_be_reached_from_a_new_task() -> None:
    reached: set[TaskStatus | None] = {None}
    while (
        new := {after for (before, _), after in TRANSITIONS.items() if before in reached} - reached
    ):
        reached |= new
    assert {None, *TaskStatus} == reached


def test_every_move_is_used_and_leads_to_one_status_or_changes_none() -> None:
    moves = set(Move) - {Move.SAVE}  # that one writes whatever row its caller has
    assert moves == {move for _, move in TRANSITIONS}
    for move in moves:
        steps = {(before, after) for (before, used), after in TRANSITIONS.items() if used is move}
        assert 1 == len({after for _, after in steps}) or all(one == two for one, two in steps)


def test_the_diagram_shows_every_move_once() -> None:
    lines = mermaid().splitlines()
    assert "stateDiagram-v2" == lines[0]
    assert "    [*] --> PENDING: add" in lines
    assert "    STARTED --> RETRY: retry" in lines
    assert "    CANCELLED --> [*]" in lines
    assert 1 + len(TRANSITIONS) + len(TERMINAL) == len(set(lines)) == len(lines)
