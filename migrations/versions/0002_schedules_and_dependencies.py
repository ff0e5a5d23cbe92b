"""Schedules, and tasks that wait for others.

Revision 0002, after 0001.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TASK_TIMES = """
CREATE VIEW task_times AS
WITH attempts AS (
    SELECT
        task_id,
        attempt,
        min(occurred_at) FILTER (to_status = 'started') AS started_at,
        max(occurred_at) FILTER (from_status = 'started' AND to_status <> 'started') AS ended_at
    FROM transitions
    WHERE to_status = 'started' OR from_status = 'started'
    GROUP BY task_id, attempt
),
runs AS (
    SELECT
        task_id,
        count(started_at) AS attempts,
        min(started_at) AS first_started_at,
        sum(epoch(ended_at - started_at)) AS run_seconds
    FROM attempts
    GROUP BY task_id
),
due AS (
    SELECT task_id, CAST(data ->> '$.run_at' AS TIMESTAMP) AS run_at
    FROM transitions
    WHERE from_status IS NULL
),
edges AS (
    SELECT id AS task_id, CAST(unnest(CAST(depends_on AS JSON[])) ->> '$' AS UUID) AS parent_id
    FROM tasks
    WHERE depends_on IS NOT NULL
),
freed AS (
    SELECT edges.task_id, max(parents.completed_at) AS freed_at
    FROM edges
    JOIN tasks AS parents ON parents.id = edges.parent_id
    GROUP BY edges.task_id
),
times AS (
    SELECT
        tasks.*,
        greatest(
            tasks.created_at,
            due.run_at,
            -- A parent may end after what depends on it: one that failed at once, or runs anyway.
            CASE
                WHEN freed.freed_at IS NOT NULL
                THEN least(freed.freed_at, runs.first_started_at, tasks.completed_at)
            END
        ) AS due_at,
        coalesce(runs.attempts, 0) AS attempts,
        coalesce(runs.first_started_at, tasks.started_at) AS first_started_at,
        coalesce(runs.run_seconds, tasks.elapsed_seconds) AS run_seconds
    FROM tasks
    LEFT JOIN runs ON runs.task_id = tasks.id
    LEFT JOIN due ON due.task_id = tasks.id
    LEFT JOIN freed ON freed.task_id = tasks.id
)
SELECT
    id AS task_id,
    name,
    category,
    priority,
    status,
    attempts,
    created_at,
    due_at,
    first_started_at,
    completed_at,
    epoch(first_started_at - due_at) AS wait_seconds,
    run_seconds,
    epoch(completed_at - due_at) AS total_seconds
FROM times
"""

LATENCY = """
CREATE VIEW latency AS
SELECT
    category,
    name,
    date_trunc('hour', completed_at) AS hour,
    count(*) AS tasks,
    quantile_cont(wait_seconds, 0.50) AS wait_p50,
    quantile_cont(wait_seconds, 0.95) AS wait_p95,
    quantile_cont(wait_seconds, 0.99) AS wait_p99,
    quantile_cont(run_seconds, 0.50) AS run_p50,
    quantile_cont(run_seconds, 0.95) AS run_p95,
    quantile_cont(run_seconds, 0.99) AS run_p99,
    quantile_cont(total_seconds, 0.50) AS total_p50,
    quantile_cont(total_seconds, 0.95) AS total_p95,
    quantile_cont(total_seconds, 0.99) AS total_p99
FROM task_times
WHERE status IN ('success', 'failed')
GROUP BY category, name, hour
"""

BACKLOG = """
CREATE VIEW backlog AS
WITH clock AS (
    SELECT make_timestamp(epoch_us(now())) AS utc
)
SELECT
    category,
    priority,
    status,
    count(*) AS tasks,
    count(*) FILTER (coalesce(run_at, created_at) <= utc AND waiting IS NOT TRUE) AS due,
    count(*) FILTER (waiting) AS waiting,
    min(created_at) AS oldest_created_at,
    epoch(max(utc) - min(created_at)) AS oldest_age_seconds
FROM tasks
CROSS JOIN clock
WHERE status IN ('pending', 'started', 'retry')
GROUP BY category, priority, status
"""

DEPENDENCIES = """
CREATE VIEW dependencies AS
WITH edges AS (
    SELECT
        id AS task_id,
        name,
        status,
        waiting,
        options ->> '$.on_parent_failure' AS on_parent_failure,
        CAST(unnest(CAST(depends_on AS JSON[])) ->> '$' AS UUID) AS parent_id
    FROM tasks
    WHERE depends_on IS NOT NULL
)
SELECT
    edges.task_id,
    edges.name,
    edges.status,
    edges.waiting,
    coalesce(edges.on_parent_failure, 'cancel') AS on_parent_failure,
    edges.parent_id,
    parents.name AS parent_name,
    parents.status AS parent_status
FROM edges
LEFT JOIN tasks AS parents ON parents.id = edges.parent_id
"""

FLOWS = """
CREATE VIEW flows AS
SELECT
    flow_id,
    count(*) AS tasks,
    count(*) FILTER (status IN ('success', 'failed', 'cancelled')) AS ended,
    count(*) FILTER (status = 'success') AS succeeded,
    count(*) FILTER (status = 'failed') AS failed,
    count(*) FILTER (status = 'cancelled') AS cancelled,
    count(*) FILTER (status = 'started') AS running,
    count(*) FILTER (waiting) AS waiting,
    min(created_at) AS created_at,
    min(started_at) AS first_started_at,
    CASE WHEN count(*) = count(completed_at) THEN max(completed_at) END AS completed_at
FROM tasks
WHERE flow_id IS NOT NULL
GROUP BY flow_id
"""

SCHEDULE_RUNS = """
CREATE VIEW schedule_runs AS
SELECT
    schedule,
    scheduled_for,
    id AS task_id,
    name,
    category,
    status,
    created_at,
    started_at,
    completed_at,
    epoch(created_at - scheduled_for) AS late_seconds,
    elapsed_seconds AS run_seconds,
    error
FROM tasks
WHERE schedule IS NOT NULL
"""


def upgrade() -> None:
    """Add what schedules and dependencies need; the views follow."""
    for view in ("latency", "task_times", "backlog"):
        op.execute(f"DROP VIEW {view}")
    for column in (
        sa.Column("waiting", sa.Boolean, server_default=sa.text("false")),
        sa.Column("depends_on", sa.String),
        sa.Column("flow_id", sa.Uuid),
        sa.Column("schedule", sa.String),
        sa.Column("scheduled_for", sa.DateTime),
    ):
        op.add_column("tasks", column)
    create_schedules()
    for view in (TASK_TIMES, LATENCY, BACKLOG, DEPENDENCIES, FLOWS, SCHEDULE_RUNS):
        op.execute(view.strip())


def create_schedules() -> None:
    """Create the table of schedules."""
    op.create_table(
        "schedules",
        sa.Column("name", sa.String, nullable=False),
        sa.Column("task", sa.String, nullable=False),
        sa.Column("category", sa.String, nullable=False),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("max_retries", sa.Integer, nullable=False),
        sa.Column("args", sa.String, nullable=False),
        sa.Column("kwargs", sa.String, nullable=False),
        sa.Column("options", sa.String),
        sa.Column("trigger", sa.String, nullable=False),
        sa.Column("misfire", sa.String, nullable=False),
        sa.Column("misfire_limit", sa.Integer, nullable=False),
        sa.Column("misfire_grace", sa.Double, nullable=False),
        sa.Column("overlap", sa.String, nullable=False),
        sa.Column("jitter", sa.Double, nullable=False),
        sa.Column("start_at", sa.DateTime),
        sa.Column("end_at", sa.DateTime),
        sa.Column("run_on_start", sa.Boolean, nullable=False),
        sa.Column("depends_on", sa.String),
        sa.Column("run_as", sa.String),
        sa.Column("origin", sa.String, nullable=False),
        sa.Column("paused_at", sa.DateTime),
        sa.Column("paused_reason", sa.String),
        sa.Column("next_fire_at", sa.DateTime),
        sa.Column("last_fire_at", sa.DateTime),
        sa.Column("last_task_id", sa.Uuid),
        sa.Column("missed", sa.BigInteger, nullable=False),
        sa.Column("skipped", sa.BigInteger, nullable=False),
        sa.Column("created_at", sa.DateTime, nullable=False),
        sa.Column("updated_at", sa.DateTime, nullable=False),
    )


def downgrade() -> None:
    """Refuse: the backup copy made before the upgrade is the way back."""
    raise NotImplementedError("Restore the file <database>.backup-0001 instead.")
