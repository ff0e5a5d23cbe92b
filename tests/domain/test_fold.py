"""The row of a task is the fold of its transitions, through storage and back."""

from __future__ import annotations

import json
import random
from datetime import timedelta

import pytest

from support.records import NOW, claimed, failed, follow, random_moves, record, succeeded
from wopr import TaskStatus
from wopr.domain import decide
from wopr.domain.fold import IN_LOG_ONLY, apply
from wopr.domain.outcome import Succeeded
from wopr.domain.status import Move
from wopr.domain.task import COLUMNS, TaskRecord
from wopr.domain.transition import Transition, decode_data, encode_data


def as_stored(transition: Transition) -> Transition:
    """Return a transition as it comes back from the log."""
    again = Transition(
        transition.task_id,
        Move.ADD,  # the move itself is not stored
        transition.from_status,
        transition.to_status,
        transition.attempt,
        transition.occurred_at,
        transition.worker,
        transition.reason,
        transition.error,
        decode_data(encode_data(transition.data)),
    )
    again.seq = transition.seq
    return again


@pytest.mark.parametrize("seed", range(60))
def test_folding_the_stored_log_gives_the_same_row(seed: int) -> None:
    live, log = random_moves(random.Random(seed), 30)
    again = record()
    for transition in log[1:]:
        apply(again, as_stored(transition))
    assert dict(zip(COLUMNS, live.row(), strict=True)) == dict(
        zip(COLUMNS, again.row(), strict=True)
    )


@pytest.mark.parametrize("value", ['ä\u2028"\\\ud800', "", 0, -7, True, None, 1.5, ["a", {"b": 1}]])
def test_what_a_transition_changes_is_written_as_json_writes_it(value: object) -> None:
    data = {"error_type": value, "crashes": 2}
    assert json.dumps(data, separators=(",", ":")) == encode_data(data)


def test_a_row_loads_into_the_same_record() -> None:
    one = failed(delay=2.0)
    again = TaskRecord.from_row(one.row())
    assert one.row() == again.row()
    assert one.row() == again.stored
    assert TaskStatus.RETRY is again.status


def test_a_claim_starts_the_clock_and_the_progress_anew() -> None:
    one = failed(delay=0.0)
    one.progress, one.progress_message = 40.0, "half"
    claimed(one, "w2")
    assert (TaskStatus.STARTED, NOW, None, "w2", 0.0, "") == (
        one.status,
        one.started_at,
        one.completed_at,
        one.worker,
        one.progress,
        one.progress_message,
    )
    assert "OSError: no" == one.error  # the last error stays in sight until the next outcome


def test_a_success_clears_the_error_and_completes_the_progress() -> None:
    one = succeeded(failed(delay=0.0))
    assert ("42", None, None, 100.0, NOW + timedelta(seconds=1)) == (
        one.result,
        one.error,
        one.error_type,
        one.progress,
        one.completed_at,
    )


def test_an_interruption_forgets_the_worker_and_costs_nothing() -> None:
    one = claimed()
    follow(one, decide.move(one, Move.INTERRUPT, NOW))
    assert (TaskStatus.PENDING, None, None, 0, 0, 1) == (
        one.status,
        one.worker,
        one.started_at,
        one.retry_count,
        one.crashes,
        one.attempt,
    )


def test_a_renewal_forgets_the_failed_run_but_not_its_number() -> None:
    one = failed(failed(delay=5.0))
    one.crashes = 2
    follow(one, decide.move(one, Move.RENEW, NOW))
    forgotten = ("result", "error", "error_type", "started_at", "completed_at", "run_at", "worker")
    assert [None] * len(forgotten) == [getattr(one, name) for name in forgotten]
    assert (TaskStatus.PENDING, 0, 0, 2) == (
        one.status,
        one.retry_count,
        one.crashes,
        one.attempt,
    )


def test_tracebacks_are_history_and_no_column() -> None:
    assert {"traceback", "roots", "act", "before"} == IN_LOG_ONLY
    assert IN_LOG_ONLY.isdisjoint(COLUMNS)
    assert not hasattr(failed(), "traceback")


def test_the_version_is_the_seq_of_the_last_transition() -> None:
    _, log = random_moves(random.Random(1), 10)
    again = record()
    for transition in log[1:]:
        apply(again, transition)
        assert transition.seq == again.version


def test_the_result_of_a_function_that_returns_nothing_is_kept() -> None:
    one = claimed(record())
    done = decide.settle(one, one.attempt, Succeeded("null"), 1.0)
    assert done is not None
    apply(one, as_stored(done))
    assert "null" == one.result
