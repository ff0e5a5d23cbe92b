"""The first tables: tasks, the log of transitions, facts about the file, and views for people.

Revision 0001, the first one.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
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
times AS (
    SELECT
        tasks.*,
        greatest(tasks.created_at, due.run_at) AS due_at,
        coalesce(runs.attempts, 0) AS attempts,
        coalesce(runs.first_started_at, tasks.started_at) AS first_started_at,
        coalesce(runs.run_seconds, tasks.elapsed_seconds) AS run_seconds
    FROM tasks
    LEFT JOIN runs ON runs.task_id = tasks.id
    LEFT JOIN due ON due.task_id = tasks.id
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

HISTORY = """
CREATE VIEW history AS
SELECT
    transitions.seq,
    transitions.task_id,
    tasks.name,
    tasks.category,
    transitions.attempt,
    transitions.from_status,
    transitions.to_status,
    transitions.occurred_at,
    transitions.worker,
    transitions.reason,
    transitions.error,
    transitions.data ->> '$.error_type' AS error_type,
    transitions.data ->> '$.traceback' AS traceback,
    CAST(transitions.data -> '$.result' AS VARCHAR) AS result,
    transitions.data
FROM transitions
LEFT JOIN tasks ON tasks.id = transitions.task_id
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
    count(*) FILTER (coalesce(run_at, created_at) <= utc) AS due,
    min(created_at) AS oldest_created_at,
    epoch(max(utc) - min(created_at)) AS oldest_age_seconds
FROM tasks
CROSS JOIN clock
WHERE status IN ('pending', 'started', 'retry')
GROUP BY category, priority, status
"""

FAILURES = r"""
CREATE VIEW failures AS
WITH failed AS (
    SELECT
        tasks.name,
        transitions.data ->> '$.error_type' AS error_type,
        coalesce(transitions.error, '') AS error,
        transitions.task_id,
        transitions.occurred_at,
        transitions.to_status = 'failed' AS final
    FROM transitions
    JOIN tasks ON tasks.id = transitions.task_id
    WHERE transitions.to_status IN ('failed', 'retry')
),
prints AS (
    SELECT
        *,
        regexp_replace(
            regexp_replace(
                regexp_replace(
                    error,
                    '[0-9a-fA-F]{8}-([0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}', '<uuid>', 'g'
                ),
                '0[xX][0-9a-fA-F]+|\b[0-9a-fA-F]*([0-9][a-fA-F]|[a-fA-F][0-9])[0-9a-fA-F]*\b',
                '<hex>', 'g'
            ),
            '[0-9]+', '<n>', 'g'
        ) AS fingerprint
    FROM failed
)
SELECT
    name,
    error_type,
    fingerprint,
    count(*) AS failures,
    count(*) FILTER (final) AS final_failures,
    count(DISTINCT task_id) AS tasks,
    min(occurred_at) AS first_seen,
    max(occurred_at) AS last_seen,
    arg_max(task_id, occurred_at) AS sample_task_id,
    arg_max(error, occurred_at) AS sample_error
FROM prints
GROUP BY name, error_type, fingerprint
"""


def upgrade() -> None:
    """Create everything."""
    create_tasks()
    create_transitions()
    meta = op.create_table(
        "meta",
        sa.Column("key", sa.String, nullable=False),
        sa.Column("value", sa.String, nullable=False),
    )
    op.bulk_insert(meta, [{"key": "folded", "value": "0"}])
    for view in (HISTORY, TASK_TIMES, LATENCY, BACKLOG, FAILURES):
        op.execute(view.strip())


def create_tasks() -> None:
    """Create the table of tasks. No index: see the measured facts about indexes.

    No generated column either: DuckDB can't replay a later ALTER of the table from its
    log when such a column calls a function, so a crash right after a migration would
    leave a file that does not open.
    """
    op.create_table(
        "tasks",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("category", sa.String, nullable=False),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("status", sa.String, nullable=False, server_default=sa.text("'pending'")),
        sa.Column("attempt", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("retry_count", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("max_retries", sa.Integer, nullable=False),
        sa.Column("crashes", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("args", sa.String, nullable=False),
        sa.Column("kwargs", sa.String, nullable=False),
        sa.Column("options", sa.String),
        sa.Column("unique_key", sa.String),
        sa.Column("run_at", sa.DateTime),
        sa.Column("created_at", sa.DateTime, nullable=False),
        sa.Column("started_at", sa.DateTime),
        sa.Column("completed_at", sa.DateTime),
        sa.Column("elapsed_seconds", sa.Double),
        sa.Column("worker", sa.String),
        sa.Column("result", sa.String),
        sa.Column("error", sa.String),
        sa.Column("error_type", sa.String),
        sa.Column("progress", sa.Double, nullable=False, server_default=sa.text("0")),
        sa.Column("progress_message", sa.String, nullable=False, server_default=sa.text("''")),
        sa.Column("version", sa.BigInteger, nullable=False),
    )


def create_transitions() -> None:
    """Create the log."""
    op.create_table(
        "transitions",
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("task_id", sa.Uuid, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("from_status", sa.String),
        sa.Column("to_status", sa.String, nullable=False),
        sa.Column("occurred_at", sa.DateTime, nullable=False),
        sa.Column("worker", sa.String),
        sa.Column("reason", sa.String, nullable=False),
        sa.Column("error", sa.String),
        sa.Column("data", sa.String),
    )


def downgrade() -> None:
    """Refuse: nothing comes before the first revision."""
    raise NotImplementedError("This is the first schema; delete the file to start over.")
