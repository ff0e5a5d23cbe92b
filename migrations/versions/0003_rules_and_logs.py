"""Rules that are set at run time, and the lines that tasks log.

Revision 0003, after 0002.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the two tables."""
    op.create_table(
        "rules",
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("value", sa.String, nullable=False),
        sa.Column("updated_at", sa.DateTime, nullable=False),
    )
    op.create_table(
        "task_logs",
        sa.Column("task_id", sa.Uuid, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("logged_at", sa.DateTime, nullable=False),
        sa.Column("level", sa.String, nullable=False),
        sa.Column("logger", sa.String, nullable=False),
        sa.Column("message", sa.String, nullable=False),
    )


def downgrade() -> None:
    """Refuse: the backup copy made before the upgrade is the way back."""
    raise NotImplementedError("Restore the file <database>.backup-0002 instead.")
