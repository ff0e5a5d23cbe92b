"""${message}

Revision ${up_revision}, after ${down_revision | comma,n}.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
${imports if imports else ""}
revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = ${repr(branch_labels)}
depends_on = ${repr(depends_on)}


def upgrade() -> None:
    """Bring a file of the revision before to this one."""
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    """Refuse: a file goes back by its backup, which the upgrade made."""
    raise NotImplementedError(
        "wopr files are not downgraded: put back <file>.backup-<revision>, made by the upgrade."
    )
