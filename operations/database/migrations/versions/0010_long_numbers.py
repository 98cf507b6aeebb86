"""Room for callers' addresses, as over SIP, in place of numbers of 32 characters."""

import sqlalchemy as sa
from alembic import op

revision = "0010_long_numbers"
down_revision = "0009_uncounted_dials"

ROOM = 64


def upgrade() -> None:
    """Widen the column."""
    columns = sa.inspect(op.get_bind()).get_columns("callbacks")
    lengths = [
        getattr(column["type"], "length", None) for column in columns if column["name"] == "number"
    ]
    if lengths == [ROOM]:
        return
    with op.batch_alter_table("callbacks") as callbacks:  # SQLite cannot change a column in place
        callbacks.alter_column(
            "number",
            type_=sa.String(ROOM),
            existing_type=sa.String(32),
            existing_nullable=False,
        )
