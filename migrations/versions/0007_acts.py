"""Acts: what operators did, as rows; and no failure is counted twice whose retry was moved.

Revision 0007, after 0006.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

FAILURES = r"""
CREATE VIEW failures AS
WITH failed AS (
    SELECT
        tasks.name,
        transitions.data ->> '$.error_type' AS error_type,
        coalesce(transitions.error, '') AS error,
        coalesce(transitions.data ->> '$.roots', transitions.error, '') AS roots,
        transitions.task_id,
        transitions.occurred_at,
        transitions.to_status = 'failed' AS final
    FROM transitions
    JOIN tasks ON tasks.id = transitions.task_id
    WHERE transitions.to_status IN ('failed', 'retry')
        AND transitions.from_status IS DISTINCT FROM 'retry'
),
prints AS (
    SELECT
        *,
        regexp_replace(
            regexp_replace(
                regexp_replace(
                    roots,
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
    """Create the table, and make the view anew: before, no waiting retry could be changed."""
    op.create_table(
        "acts",
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("verb", sa.String, nullable=False),
        sa.Column("who", sa.String, nullable=False),
        sa.Column("origin", sa.String, nullable=False),
        sa.Column("began_at", sa.DateTime, nullable=False),
        sa.Column("ended_at", sa.DateTime),
        sa.Column("selection", sa.String, nullable=False),
        sa.Column("detail", sa.String, nullable=False),
        sa.Column("reason", sa.String, nullable=False),
        sa.Column("changed", sa.BigInteger, nullable=False),
        sa.Column("first_seq", sa.BigInteger, nullable=False),
        sa.Column("last_seq", sa.BigInteger, nullable=False),
        sa.Column("undoes", sa.BigInteger),
    )
    op.execute("DROP VIEW failures")
    op.execute(FAILURES)


def downgrade() -> None:
    """Refuse: the backup copy made before the upgrade is the way back."""
    raise NotImplementedError("Restore the file <database>.backup-0006 instead.")
