"""Store the words of a request not to be called.

Revision ID: 0013_do_not_call_words
Revises: 0011_orders
"""

import sqlalchemy as sa
from alembic import op

revision = "0013_do_not_call_words"
down_revision = "0011_orders"
branch_labels = depends_on = None


def upgrade() -> None:
    """Add the column."""
    words = sa.Column("words", sa.String(300), nullable=False, server_default="")
    op.add_column("do_not_call", words)
