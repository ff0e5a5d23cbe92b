"""The journal: what DuckDB refuses of it is set aside in a table of its own.

Revision 0004, after 0003. It also makes an older wopr refuse the file: that one would not
know of the journal beside it.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "refused_records",
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.Column("record", sa.String, nullable=False),
        sa.Column("error", sa.String, nullable=False),
        sa.Column("refused_at", sa.DateTime, nullable=False),
    )


def downgrade() -> None:
    """Refuse: the backup copy made before the upgrade is the way back."""
    raise NotImplementedError("Restore the file <database>.backup-0003 instead.")
