"""The tables: the single description from which migrations are checked."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Double,
    Integer,
    MetaData,
    String,
    Table,
    Uuid,
    text,
)

metadata = MetaData()

tasks = Table(
    "tasks",
    metadata,
    Column("id", Uuid, nullable=False, primary_key=False),
    Column("seq", BigInteger, nullable=False),
    Column("name", String, nullable=False),
    Column("category", String, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("status", String, nullable=False, server_default=text("'pending'")),
    Column("attempt", Integer, nullable=False, server_default=text("0")),
    Column("retry_count", Integer, nullable=False, server_default=text("0")),
    Column("max_retries", Integer, nullable=False),
    Column("crashes", Integer, nullable=False, server_default=text("0")),
    Column("args", String, nullable=False),
    Column("kwargs", String, nullable=False),
    Column("options", String),
    Column("unique_key", String),
    Column("run_at", DateTime),
    Column("created_at", DateTime, nullable=False),
    Column("started_at", DateTime),
    Column("completed_at", DateTime),
    Column("elapsed_seconds", Double),
    Column("worker", String),
    Column("result", String),
    Column("error", String),
    Column("error_type", String),
    Column("progress", Double, nullable=False, server_default=text("0")),
    Column("progress_message", String, nullable=False, server_default=text("''")),
    Column("version", BigInteger, nullable=False),
    Column("waiting", Boolean, server_default=text("false")),
    Column("depends_on", String),
    Column("flow_id", Uuid),
    Column("schedule", String),
    Column("scheduled_for", DateTime),
    Column("progress_data", String),
)
"""One row per task: the fold of its transitions up to ``version``."""

transitions = Table(
    "transitions",
    metadata,
    Column("seq", BigInteger, nullable=False),
    Column("task_id", Uuid, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("from_status", String),
    Column("to_status", String, nullable=False),
    Column("occurred_at", DateTime, nullable=False),
    Column("worker", String),
    Column("reason", String, nullable=False),
    Column("error", String),
    Column("data", String),
)
"""The log: append-only, written before anything is acknowledged."""

results = Table(
    "results",
    metadata,
    Column("seq", BigInteger, nullable=False),
    Column("task_id", Uuid, nullable=False),
    Column("result", String, nullable=False),
)
"""The results of more than 4 KiB: ``tasks.result`` is NULL for them, and ``seq`` is the
``version`` of their task's row."""

schedules = Table(
    "schedules",
    metadata,
    Column("name", String, nullable=False),
    Column("task", String, nullable=False),
    Column("category", String, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("max_retries", Integer, nullable=False),
    Column("args", String, nullable=False),
    Column("kwargs", String, nullable=False),
    Column("options", String),
    Column("trigger", String, nullable=False),
    Column("misfire", String, nullable=False),
    Column("misfire_limit", Integer, nullable=False),
    Column("misfire_grace", Double, nullable=False),
    Column("overlap", String, nullable=False),
    Column("jitter", Double, nullable=False),
    Column("start_at", DateTime),
    Column("end_at", DateTime),
    Column("run_on_start", Boolean, nullable=False),
    Column("depends_on", String),
    Column("run_as", String),
    Column("origin", String, nullable=False),
    Column("paused_at", DateTime),
    Column("paused_reason", String),
    Column("next_fire_at", DateTime),
    Column("last_fire_at", DateTime),
    Column("last_task_id", Uuid),
    Column("missed", BigInteger, nullable=False),
    Column("skipped", BigInteger, nullable=False),
    Column("created_at", DateTime, nullable=False),
    Column("updated_at", DateTime, nullable=False),
    Column("max_running", Integer),
    Column("missed_times", String),
)
"""One row per schedule: the plan, and where it stands."""

rules = Table(
    "rules",
    metadata,
    Column("kind", String, nullable=False),
    Column("name", String, nullable=False),
    Column("value", String, nullable=False),
    Column("updated_at", DateTime, nullable=False),
)
"""One row per limit, pause, revocation, alert and access token that was set at run time."""

acts = Table(
    "acts",
    metadata,
    Column("number", BigInteger, nullable=False),
    Column("verb", String, nullable=False),
    Column("who", String, nullable=False),
    Column("origin", String, nullable=False),
    Column("began_at", DateTime, nullable=False),
    Column("ended_at", DateTime),
    Column("selection", String, nullable=False),
    Column("detail", String, nullable=False),
    Column("reason", String, nullable=False),
    Column("changed", BigInteger, nullable=False),
    Column("first_seq", BigInteger, nullable=False),
    Column("last_seq", BigInteger, nullable=False),
    Column("undoes", BigInteger),
)
"""One row per act of an operator: who did what to which tasks or rules, and when."""

task_logs = Table(
    "task_logs",
    metadata,
    Column("task_id", Uuid, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("number", Integer, nullable=False),
    Column("logged_at", DateTime, nullable=False),
    Column("level", String, nullable=False),
    Column("logger", String, nullable=False),
    Column("message", String, nullable=False),
)
"""The lines that tasks logged; they go with their task."""

refused_records = Table(
    "refused_records",
    metadata,
    Column("position", BigInteger, nullable=False),
    Column("record", String, nullable=False),
    Column("error", String, nullable=False),
    Column("refused_at", DateTime, nullable=False),
)
"""Records of the journal that DuckDB refused; empty unless wopr has a fault."""

meta = Table(
    "meta",
    metadata,
    Column("key", String, nullable=False),
    Column("value", String, nullable=False),
)
"""Facts about the file itself.

``database``: its identity, which its journal carries too; ``applied``: the position of the
last record of the journal that the tables hold; ``seq``: the highest number that a transition
ever had; ``journal``: the generation of the segment that was begun when the file was opened,
empty after a clean end. ``folded``, of a file that no journal was ever kept for: the newest
seq that ``tasks`` surely holds.
"""

VIEWS: dict[str, str] = {
    "history": "every transition with the name and category of its task, and what it carried",
    "task_times": "per task: how long it waited, ran and took in all, from when it was due",
    "latency": "p50, p95 and p99 of those times by category, name and hour of completion",
    "backlog": "the live tasks by category, priority and status, with the age of the oldest",
    "dependencies": "one row per task and task that it depends on, with the state of both",
    "flows": "per flow: how many tasks it has, how many ended and how, and when",
    "missed_times": "the newest planned times that schedules missed, one row each",
    "schedule_runs": "the tasks that schedules enqueued: planned, due, started and ended",
    "failures": "failed attempts grouped by name, type and text of the error without its numbers",
}
"""The views for people, created by the migrations: names and columns are stable."""
