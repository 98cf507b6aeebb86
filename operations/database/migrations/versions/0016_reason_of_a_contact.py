"""Add the reason why a contact is excluded or waits, and the version of its campaign's rules.

Contacts that are already excluded get the reason that other tables show. The rest were excluded by
their campaign's rules, and are checked again.
"""

import sqlalchemy as sa
from alembic import op

revision = "0016_reason_of_a_contact"
down_revision = "0014_verdicts"


def upgrade() -> None:
    """Add the columns, and fill them."""
    op.add_column("contacts", sa.Column("reason", sa.String(64), nullable=False, server_default=""))
    op.add_column("campaigns", sa.Column("rules", sa.String(32), nullable=False, server_default=""))
    excluded = "UPDATE contacts SET reason = '{}' WHERE state = 'excluded' AND reason = ''"
    listed = " AND number IN (SELECT number FROM do_not_call)"
    op.execute(excluded.format("do_not_call") + listed)
    op.execute(excluded.format("refused") + " AND outcome = 'refused'")
    op.execute(excluded.format("no_common_hour"))
    # Never dialled, and due only after the import: its hours had not begun.
    op.execute(
        "UPDATE contacts SET reason = 'outside_hours' WHERE state = 'waiting' AND dials = 0 "
        "AND due_s > imported_s "
        "AND id NOT IN (SELECT contact_id FROM callback_contacts WHERE contact_id IS NOT NULL)"
    )
