"""The tables of what calls came to, and of callbacks that became contacts."""

from typing import Final

from sqlalchemy import Column, Float, Index, Integer, String, Table, Text

from operations.database.tables import METADATA

CODE_LENGTH: Final = 64  # of an outcome, a reason, a campaign's name

CALL_RESULTS: Final = Table(
    "call_results",
    METADATA,
    Column("call_id", String(64), primary_key=True),
    Column("number", String(64), nullable=False),  # of the other party; may be empty
    Column("campaign", String(CODE_LENGTH), nullable=False),
    Column("outcome", String(CODE_LENGTH), nullable=False),
    Column("summary", Text, nullable=False),
    Column("callback_at_s", Float),  # since 1970, as are all below; none: no time was named
    Column("notes", Text, nullable=False),
    Column("made_by", String(16), nullable=False),  # model, facts
    Column("why", String(CODE_LENGTH), nullable=False),  # no model did it
    Column("provider", String(CODE_LENGTH), nullable=False),
    Column("ended_s", Float, nullable=False),
    Index("call_results_ended", "ended_s"),
    Index("call_results_number", "number"),
)

CALLBACK_CONTACTS: Final = Table(  # a row for each callback that was given to a campaign, once
    "callback_contacts",
    METADATA,
    Column("call_id", String(64), primary_key=True),
    Column("number", String(64), nullable=False),
    Column("campaign", String(CODE_LENGTH), nullable=False),
    Column("contact_id", Integer),  # none: it became no contact
    Column("outcome", String(16), nullable=False),  # added, moved, do_not_call, no_number
    Column("due_s", Float, nullable=False),  # since 1970, as is the next
    Column("made_s", Float, nullable=False),
    Index("callback_contacts_number", "number"),
)
