"""The dial of a call; in the ledger of dials, its call's cost and course."""

import sqlalchemy as sa
from alembic import op

revision = "0007_call_costs"
down_revision = "0006_results"


def upgrade() -> None:
    """Add what is missing."""
    looking = sa.inspect(op.get_bind())
    of_calls = {item["name"] for item in looking.get_columns("calls")}
    if "dial_id" not in of_calls:
        op.add_column(
            "calls", sa.Column("dial_id", sa.String(64), nullable=False, server_default="")
        )
    op.create_index("calls_dial", "calls", ["dial_id"], if_not_exists=True)
    of_dials = {item["name"] for item in looking.get_columns("dials")}
    for column in (
        sa.Column("providers_cost", sa.Float),
        sa.Column("unpriced", sa.Boolean),
        sa.Column("abandoned", sa.Boolean),
    ):
        if column.name not in of_dials:
            op.add_column("dials", column)
