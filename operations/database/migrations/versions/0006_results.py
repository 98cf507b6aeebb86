"""The results of calls, and the callbacks that became contacts."""

import sqlalchemy as sa
from alembic import op

revision = "0006_results"
down_revision = "0005_sheets"


def upgrade() -> None:
    """Create what is missing."""
    op.create_table(
        "call_results",
        sa.Column("call_id", sa.String(64), primary_key=True),
        sa.Column("number", sa.String(64), nullable=False),
        sa.Column("campaign", sa.String(64), nullable=False),
        sa.Column("outcome", sa.String(64), nullable=False),
        sa.Column("summary", sa.Text, nullable=False),
        sa.Column("callback_at_s", sa.Float),
        sa.Column("notes", sa.Text, nullable=False),
        sa.Column("made_by", sa.String(16), nullable=False),
        sa.Column("why", sa.String(64), nullable=False),
        sa.Column("provider", sa.String(64), nullable=False),
        sa.Column("ended_s", sa.Float, nullable=False),
        if_not_exists=True,
    )
    op.create_index("call_results_ended", "call_results", ["ended_s"], if_not_exists=True)
    op.create_index("call_results_number", "call_results", ["number"], if_not_exists=True)
    op.create_table(
        "callback_contacts",
        sa.Column("call_id", sa.String(64), primary_key=True),
        sa.Column("number", sa.String(64), nullable=False),
        sa.Column("campaign", sa.String(64), nullable=False),
        sa.Column("contact_id", sa.Integer),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("due_s", sa.Float, nullable=False),
        sa.Column("made_s", sa.Float, nullable=False),
        if_not_exists=True,
    )
    op.create_index("callback_contacts_number", "callback_contacts", ["number"], if_not_exists=True)
