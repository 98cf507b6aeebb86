"""The table of the spreadsheet's mirror: what is still to be written there, and what was."""

from typing import Final

from sqlalchemy import Column, Float, Index, String, Table, Text

from operations.database.tables import METADATA

SHEET_ROWS: Final = Table(
    "sheet_rows",
    METADATA,
    Column("key", String(400), primary_key=True),  # stands in the first column of the sheet, too
    Column("tab", String(16), nullable=False),  # calls, alerts
    Column("at_s", Float, nullable=False),  # when it happened; seconds since 1970, as is due_s
    Column("state", String(16), nullable=False),  # waiting, sending (its fate is unknown), sent
    Column("due_s", Float, nullable=False),  # not before
    Column("cells", Text, nullable=False),  # JSON, the row; empty once it is sent
    Index("sheet_rows_due", "tab", "state", "due_s"),
)
