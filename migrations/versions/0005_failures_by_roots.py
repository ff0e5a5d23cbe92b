"""What tells failures apart is what they go back to, where their own text does not say it.

Revision 0005, after 0004. The text of a group is the same whatever is in it.
"""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"
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
    """Make the view anew; in rows of before it finds what it found."""
    op.execute("DROP VIEW failures")
    op.execute(FAILURES)


def downgrade() -> None:
    """Refuse: the backup copy made before the upgrade is the way back."""
    raise NotImplementedError("Restore the file <database>.backup-0004 instead.")
