"""The table of what a customer register is still to be told."""

from typing import Final

from sqlalchemy import Column, Float, Index, Integer, String, Table, Text

from operations.database.tables import METADATA

CRM_REPORTS: Final = Table(
    "crm_reports",
    METADATA,
    Column("key", String(100), primary_key=True),
    Column("number", String(64), nullable=False),
    Column("report", Text, nullable=False),  # JSON, the whole of it
    Column("made_s", Float, nullable=False),  # since 1970, as are all below
    Column("due_s", Float, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("done_s", Float),  # none: still owed
    Index("crm_reports_owed", "done_s", "due_s"),
)
