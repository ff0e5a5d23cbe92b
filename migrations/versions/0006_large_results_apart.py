"""Large results lie apart from their tasks' rows: to change a row, its neighbours are read.

Revision 0006, after 0005. The results that are there stay where they are: each row has its
own, or else the table has it. Compacting the file moves the large ones.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "results",
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("task_id", sa.Uuid, nullable=False),
        sa.Column("result", sa.String, nullable=False),
    )


def downgrade() -> None:
    """Refuse: the backup copy made before the upgrade is the way back."""
    raise NotImplementedError("Restore the file <database>.backup-0005 instead.")
