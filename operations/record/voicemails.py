"""The messages that callers left, as rows: who left one, what it says, whether it was dealt with.

The recording is the truth, and is on the disk before its caller is told that it is kept; its row is
written soon after. So a row that a process died over is made again of the file.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import case, select, update

from operations.database.edge import Store, reading, writing
from operations.database.record_tables import CALLS, VOICEMAILS
from operations.database.sql_board import INSERTS
from operations.database.storable import storable

THEIRS: Final = case((CALLS.c.direction == "outbound", CALLS.c.called), else_=CALLS.c.caller)
"""The number of the side that is not ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptVoicemail:
    """A recording as the disk has it."""

    call_id: str
    path: str
    length_s: float
    at: datetime


class Voicemails(Store):
    """Every method raises `StorageError` when it cannot."""

    def __init__(self, url: str) -> None:
        """Keep the voicemails in the database at `url`."""
        super().__init__(url)
        self._insert = INSERTS[self._database.url.get_backend_name()]

    async def known(self, call_ids: Collection[str]) -> Mapping[str, bool]:
        """Return those of these calls that have a row, and whether it has a text."""
        own = VOICEMAILS.c.call_id.in_(sorted(call_ids))
        async with reading(self._database) as connection:
            wanted = select(VOICEMAILS.c.call_id, VOICEMAILS.c.transcript).where(own)
            rows = (await connection.execute(wanted)).all()
        return {row.call_id: bool(row.transcript) for row in rows}

    async def add(self, found: Iterable[KeptVoicemail]) -> None:
        """Make the rows that are missing; the caller's number is the call's."""
        async with writing(self._database) as connection:
            for each in found:
                theirs = select(THEIRS).where(CALLS.c.id == each.call_id)
                number = (await connection.execute(theirs)).scalar_one_or_none() or ""
                added = self._insert(VOICEMAILS).values(
                    call_id=each.call_id,
                    number=number,
                    path=each.path,
                    length_s=each.length_s,
                    at=each.at,
                    transcript="",
                )
                await connection.execute(added.on_conflict_do_nothing())

    async def write_text(self, call_id: str, text: str) -> None:
        """Keep what a message says."""
        own = update(VOICEMAILS).where(VOICEMAILS.c.call_id == call_id)
        async with writing(self._database) as connection:
            await connection.execute(own.values(transcript=storable(text)))

    async def done(self, call_id: str, *, at: datetime) -> bool:
        """Note that somebody has dealt with it; False: nobody waited under this call."""
        open_one = (VOICEMAILS.c.call_id == call_id) & VOICEMAILS.c.done_at.is_(None)
        async with writing(self._database) as connection:
            changed = update(VOICEMAILS).where(open_one).values(done_at=at)
            return (await connection.execute(changed)).rowcount > 0
