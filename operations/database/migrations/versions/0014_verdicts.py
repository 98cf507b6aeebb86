"""Add the verdict on each call and turn, which replaces two older columns.

Older calls and turns have no verdict: what their callers got was not judged. The old columns stay,
now with a default, because a process of the previous version may still write them.
"""

import sqlalchemy as sa
from alembic import op

revision = "0014_verdicts"
down_revision = "0013_do_not_call_words"


def upgrade() -> None:
    """Add the columns and the index, and give the old columns defaults."""
    for table in ("calls", "turns"):
        op.add_column(table, sa.Column("verdict", sa.String(16), nullable=False, server_default=""))
        op.add_column(table, sa.Column("why", sa.String(32), nullable=False, server_default=""))
    op.add_column("calls", sa.Column("hurt_at", sa.DateTime(timezone=True)))
    op.create_index("calls_hurt", "calls", ["hurt_at"])
    for table, name, kind, default in (
        ("turns", "within_budget", sa.Boolean(), sa.false()),
        ("alert_facts", "turns", sa.Integer(), "0"),
    ):
        with op.batch_alter_table(table) as batch:
            batch.alter_column(
                name, existing_type=kind, existing_nullable=False, server_default=default
            )
