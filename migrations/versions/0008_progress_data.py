"""What a running task reports beside its progress: a JSON object in the row of the task.

Revision 0008, after 0007.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; the tasks that there are have reported nothing."""
    op.add_column("tasks", sa.Column("progress_data", sa.String))


def downgrade() -> None:
    """Refuse: the backup copy made before the upgrade is the way back."""
    raise NotImplementedError("Restore the file <database>.backup-0007 instead.")
