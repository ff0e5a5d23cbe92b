"""All calls, in the order of the API's document. Both clients have them, so they can't differ."""

from __future__ import annotations

from typing import Any

from wopr.client import acts, controls, overview, tasks
from wopr.client.calling import Call
from wopr.client.events import EVENTS
from wopr.client.requests import Row


class Calls:
    """The calls of the API, by its own names."""

    enqueue = tasks.enqueue
    enqueue_many = tasks.enqueue_many
    list_functions = tasks.list_functions
    get_schema = tasks.get_schema
    list_tasks = tasks.list_tasks
    get_task = tasks.get_task
    get_result = tasks.get_result
    result = tasks.result
    get_history = tasks.get_history
    get_logs = tasks.get_logs
    explain = tasks.explain
    preview_act = acts.preview_act
    act = acts.act
    act_progress = acts.act_progress
    list_acts = acts.list_acts
    undo = acts.undo
    cancel_task = acts.cancel_task
    retry_task = acts.retry_task
    run_task_again = acts.run_task_again
    enqueue_flow = overview.enqueue_flow
    list_flows = overview.list_flows
    get_flow = overview.get_flow
    cancel_flow = overview.cancel_flow
    status = overview.status
    stats = overview.stats
    workers = overview.workers
    past = overview.past
    explain_group = overview.explain_group
    series = overview.series
    eta = overview.eta
    list_categories = controls.list_categories
    pause_category = controls.pause_category
    resume_category = controls.resume_category
    pause_name = controls.pause_name
    resume_name = controls.resume_name
    list_pauses = controls.list_pauses
    list_limits = controls.list_limits
    set_limit = controls.set_limit
    remove_limit = controls.remove_limit
    list_revocations = controls.list_revocations
    revoke = controls.revoke
    unrevoke = controls.unrevoke
    add_workers = controls.add_workers
    list_schedules = controls.list_schedules
    add_schedule = controls.add_schedule
    preview_schedule = controls.preview_schedule
    preview_plan = controls.preview_plan
    pause_schedule = controls.pause_schedule
    resume_schedule = controls.resume_schedule
    run_schedule = controls.run_schedule
    get_schedule = controls.get_schedule
    change_schedule = controls.change_schedule
    remove_schedule = controls.remove_schedule
    list_alerts = controls.list_alerts
    set_alert = controls.set_alert
    remove_alert = controls.remove_alert
    sql = overview.sql


ROWS: dict[str, Row[Any]] = {
    name: found.row
    for name, found in vars(Calls).items()
    if isinstance(found, Call) and found.row is not None
} | {"events": EVENTS}
"""What each of them is in the API."""
