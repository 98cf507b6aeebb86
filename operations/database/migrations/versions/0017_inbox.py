"""Add when notices of callbacks and messages were sent."""

import sqlalchemy as sa
from alembic import op

revision = "0017_inbox"
down_revision = "0016_reason_of_a_contact"


def upgrade() -> None:
    """Add a column to both tables."""
    for table in ("callbacks", "voicemails"):
        op.add_column(table, sa.Column("told_at", sa.DateTime(timezone=True)))
