"""Add the table of requests to place a call.

Revision ID: 0011_orders
Revises: 0010_long_numbers
"""

import sqlalchemy as sa
from alembic import op

revision = "0011_orders"
down_revision = "0010_long_numbers"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "orders",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("at_s", sa.Float, nullable=False),
        sa.Column("source", sa.String(16), nullable=False),
        sa.Column("ordered_by", sa.String(200), nullable=False),
        sa.Column("number", sa.String(64), nullable=False),
        sa.Column("country", sa.String(3), nullable=False),
        sa.Column("cost_class", sa.String(16), nullable=False),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("reason", sa.String(64), nullable=False),
        sa.Column("until_s", sa.Float, nullable=False),
        sa.Column("ended_s", sa.Float),
        sa.Column("length_s", sa.Float),
    )
    op.create_index("orders_at", "orders", ["at_s"])
    op.create_index("orders_number", "orders", ["number", "at_s"])
