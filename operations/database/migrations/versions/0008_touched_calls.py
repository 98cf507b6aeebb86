"""The calls that a failing rung disturbed; a failed or moved attempt alone does not count."""

import sqlalchemy as sa
from alembic import op

revision = "0008_touched_calls"
down_revision = "0007_call_costs"


def upgrade() -> None:
    """Add what is missing."""
    connection = op.get_bind()
    if "touched" in {item["name"] for item in sa.inspect(connection).get_columns("calls")}:
        return
    column = sa.Column("touched", sa.Boolean, nullable=False, server_default=sa.false())
    op.add_column("calls", column)
    calls = sa.table("calls", *map(sa.column, ("touched", "failures", "failovers")))
    hurt = sa.or_(calls.c.failures > 0, calls.c.failovers > 0)
    connection.execute(calls.update().where(hurt).values(touched=sa.true()))
