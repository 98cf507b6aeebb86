"""The outbox of the mirror in a spreadsheet."""

import sqlalchemy as sa
from alembic import op

revision = "0005_sheets"
down_revision = "0004_crm"


def upgrade() -> None:
    """Create what is missing."""
    op.create_table(
        "sheet_rows",
        sa.Column("key", sa.String(400), primary_key=True),
        sa.Column("tab", sa.String(16), nullable=False),
        sa.Column("at_s", sa.Float, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("due_s", sa.Float, nullable=False),
        sa.Column("cells", sa.Text, nullable=False),
        if_not_exists=True,
    )
    op.create_index("sheet_rows_due", "sheet_rows", ["tab", "state", "due_s"], if_not_exists=True)
