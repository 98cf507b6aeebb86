"""The tables from before versions were counted: callbacks, alerts, provider health.

Each is created only if missing: an old database may have some of them.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001_base"
down_revision = None


def upgrade() -> None:
    """Create what is missing."""
    _callbacks()
    _board()
    _alerts()


def _callbacks() -> None:
    op.create_table(
        "callbacks",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("call_id", sa.String(64), nullable=False, unique=True),
        sa.Column("number", sa.String(32), nullable=False),
        sa.Column("reason", sa.String(300), nullable=False),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("done_at", sa.DateTime(timezone=True)),
        if_not_exists=True,
    )


def _board() -> None:
    op.create_table(
        "provider_health",
        sa.Column("place", sa.String(200), primary_key=True),
        sa.Column("aspect", sa.String(16), primary_key=True),
        sa.Column("holder", sa.String(32), nullable=False),
        sa.Column("at_s", sa.Float, nullable=False),
        sa.Column("value", sa.String(16), nullable=False),
        sa.Column("until_s", sa.Float, nullable=False),
        sa.Column("retired", sa.Boolean, nullable=False),
        if_not_exists=True,
    )
    op.create_table(
        "provider_probers",
        sa.Column("place", sa.String(200), primary_key=True),
        sa.Column("holder", sa.String(32), nullable=False),
        sa.Column("until_s", sa.Float, nullable=False),
        if_not_exists=True,
    )


def _alerts() -> None:
    op.create_table(
        "alert_facts",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("at_s", sa.Float, nullable=False),
        sa.Column("holder", sa.String(32), nullable=False),
        sa.Column("turns", sa.Integer, nullable=False),
        sa.Column("fact", sa.Text, nullable=False),
        if_not_exists=True,
    )
    op.create_table(
        "alerts",
        sa.Column("key", sa.String(300), primary_key=True),
        sa.Column("severity", sa.String(16), nullable=False),
        sa.Column("began_s", sa.Float, nullable=False),
        sa.Column("ended_s", sa.Float),
        sa.Column("alert", sa.Text, nullable=False),
        if_not_exists=True,
    )
    op.create_table(
        "alert_sendings",
        sa.Column("key", sa.String(300), primary_key=True),
        sa.Column("channel", sa.String(32), primary_key=True),
        sa.Column("wanted", sa.Integer, nullable=False),
        sa.Column("sent", sa.Integer, nullable=False),
        sa.Column("handle", sa.String(100), nullable=False),
        sa.Column("due_s", sa.Float, nullable=False),
        if_not_exists=True,
    )
    op.create_table(
        "alert_rounds",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("rounds", sa.Integer, nullable=False),
        if_not_exists=True,
    )
