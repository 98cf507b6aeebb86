"""Add the machines that share the database, and requests to delete files on them."""

import sqlalchemy as sa
from alembic import op

revision = "0018_machines"
down_revision = "0017_inbox"


def upgrade() -> None:
    """Create both tables."""
    op.create_table(
        "machines",
        sa.Column("name", sa.String(32), primary_key=True),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_table(
        "erasure_requests",
        sa.Column("machine", sa.String(32), primary_key=True),
        sa.Column("number", sa.String(64), primary_key=True),
        sa.Column("calls", sa.JSON(), nullable=False),
        sa.Column("paths", sa.JSON(), nullable=False),
        sa.Column("why", sa.String(300), nullable=False),
    )
