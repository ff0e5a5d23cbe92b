"""What the behavioural suite does not ask of each home: rows of docs/reference/homes.md."""

from __future__ import annotations

import pytest

from support.postgres import empty_database, programs
from support.queues import PostgresHome

POSTGRES: dict[str, str] = {
    "test_a_storage_offers_the_four_calls_of_the_first_version": "storage",
    "test_many_may_wait_for_one_task": "memory",
    "test_a_snooze_lasts_its_span_when_the_clock_is_set_back": "clock",
    "test_an_attempt_that_cleans_up_counts_once_when_the_limits_change": "stopped",
    "test_a_cancelled_function_counts_until_it_has_ended_but_its_worker_is_free": "stopped",
    "test_a_task_that_is_declared_while_workers_run_is_limited_too": "memory",
    "test_a_task_declared_late_starts_once_its_limit_is_stored_whatever_was_in_the_way": "memory",
    "test_keys_take_turns_when_that_is_asked_for": "order",
    "test_a_retried_task_whose_parents_were_cleaned_up_runs_again": "memory",
    "test_a_child_without_a_function_can_be_cancelled_and_stays_so": "memory",
    "test_what_is_enqueued_without_workers_is_held_in_part_and_runs_in_order": "memory",
    "test_a_backlog_runs_after_a_restart_in_order": "memory",
    "test_delayed_tasks_of_one_moment_all_run": "memory",
    "test_categories_and_priorities_share_what_there_is": "memory",
    "test_keyed_limits_hold_no_more_and_give_it_back_when_they_go": "memory",
    "test_attempts_that_fail_come_back_and_are_not_too_much": "memory",
    "test_tasks_put_back_in_their_queue_by_hand_are_not_too_much": "memory",
    "test_tasks_that_wait_for_another_are_held_in_part_and_all_run": "memory",
    "test_draining_ends_beside_it": "workers",
    "test_a_pause_whose_caller_gives_up_is_the_same_on_disk_and_in_memory": "memory",
    "test_a_resume_whose_caller_gives_up_is_the_same_on_disk_and_in_memory": "memory",
    "test_overlap_skip_waits_for_the_end_of_the_earlier_run": "scheduler",
    "test_a_thousand_due_together_are_all_enqueued": "scheduler",
    "test_a_queue_without_schedules_has_no_timer": "scheduler",
    "test_shutdown_stops_the_scheduler_before_it_drains": "scheduler",
    "test_a_failed_run_that_is_retried_by_hand_is_live_again": "memory",
    "test_limits_and_aging_leave_it_at_the_front": "order",
    "test_memory_stays_bounded_when_very_many_tasks_become_due": "memory",
    "test_a_limit_says_which_key_and_how_many_it_holds": "status",
    "test_an_interrupted_act_says_how_far_it_came_and_goes_on": "memory",
    "test_running_again_goes_on_without_running_any_twice": "memory",
    "test_a_condition_in_sql_is_one_or_is_refused": "sql",
}
"""Tests, by name, that need what a queue on PostgreSQL has not, and the anchor of its row."""

POSTGRES_FILES: dict[str, str] = {}
"""The same for whole files."""

ALWAYS = frozenset(
    {
        *("test_contract", "test_unique", "test_results", "test_sync"),
        *("test_controls", "test_verbs", "test_acts", "test_status"),
        *("test_dependencies", "test_dependency_races", "test_follow_ups"),
        *("test_flows", "test_restart"),
        *("test_limits", "test_declared_limits", "test_limit_races"),
        *("test_order", "test_later", "test_at_front"),
        *("test_running", "test_retries", "test_timeouts", "test_again"),
        *("test_recovery", "test_unfit"),
        "test_firing",
    }
)
"""The files whose tests run on PostgreSQL each time; the others do with ``--postgres``."""


def is_asked(item: pytest.Item, *, everything: bool) -> bool:
    """Whether a test is asked of its home, now."""
    params = item.callspec.params if isinstance(item, pytest.Function) and _has_params(item) else {}
    if params.get("home") != "postgres":
        return True
    name, file = getattr(item, "originalname", item.name), item.path.stem
    if name in POSTGRES or file in POSTGRES_FILES or programs() is None:
        return False
    return everything or file in ALWAYS


def _has_params(item: pytest.Function) -> bool:
    return hasattr(item, "callspec")


def on_postgres(monkeypatch: pytest.MonkeyPatch) -> PostgresHome:
    """Return a queue's empty database on a server that counts as one that has run for long."""
    from wopr.fleet import looking

    monkeypatch.setattr(looking, "LEASE_SECONDS", 0.0)  # else the dead would be given time
    return PostgresHome(empty_database())
