"""The verdict on each call and turn, in place of two columns that counted in their own way.

Calls and turns of before have no verdict: what their callers heard was not judged.
"""

import sqlalchemy as sa
from alembic import op

revision = "0014_verdicts"
down_revision = "0013_do_not_call_words"


def upgrade() -> None:
    """Add the columns and the index, and drop what they replace."""
    for table in ("calls", "turns"):
        op.add_column(table, sa.Column("verdict", sa.String(16), nullable=False, server_default=""))
        op.add_column(table, sa.Column("why", sa.String(32), nullable=False, server_default=""))
    op.add_column("calls", sa.Column("hurt_at", sa.DateTime(timezone=True)))
    op.create_index("calls_hurt", "calls", ["hurt_at"])
    op.drop_column("calls", "touched")
    op.drop_column("turns", "within_budget")
    op.drop_column("alert_facts", "turns")
