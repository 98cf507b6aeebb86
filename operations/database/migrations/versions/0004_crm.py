"""The outbox of a CRM."""

import sqlalchemy as sa
from alembic import op

revision = "0004_crm"
down_revision = "0003_campaigns"


def upgrade() -> None:
    """Create what is missing."""
    op.create_table(
        "crm_reports",
        sa.Column("key", sa.String(100), primary_key=True),
        sa.Column("number", sa.String(64), nullable=False),
        sa.Column("report", sa.Text, nullable=False),
        sa.Column("made_s", sa.Float, nullable=False),
        sa.Column("due_s", sa.Float, nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("done_s", sa.Float),
        if_not_exists=True,
    )
    op.create_index("crm_reports_owed", "crm_reports", ["done_s", "due_s"], if_not_exists=True)
