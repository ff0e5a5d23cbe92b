"""Schedules: how many runs at once, and which planned times they missed.

Revision 0009, after 0008. What ``missed`` had counted before stays in it.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

MISSED_TIMES = """
CREATE VIEW missed_times AS
SELECT
    name AS schedule,
    unnest(from_json(missed_times, '["TIMESTAMP"]')) AS planned_at
FROM schedules
WHERE missed_times IS NOT NULL
"""


def upgrade() -> None:
    """Add the columns, and the view of the times."""
    op.add_column("schedules", sa.Column("max_running", sa.Integer))
    op.add_column("schedules", sa.Column("missed_times", sa.String))
    op.execute(MISSED_TIMES)


def downgrade() -> None:
    """Refuse: the backup copy made before the upgrade is the way back."""
    raise NotImplementedError("Restore the file <database>.backup-0008 instead.")
