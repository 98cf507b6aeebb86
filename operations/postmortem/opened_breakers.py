"""How breakers that are not closed left that state, however long ago."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Select, and_, func, or_, select

from fallbacks.breaker import State
from operations.database.edge import Store, reading
from operations.database.record_tables import BREAKER_MOVES
from operations.record.reader import MOST, BreakerMoveRow, ask


class OpenedBreakers(Store):
    """Raises `StorageError` when the database does not answer."""

    async def before(self, at: datetime) -> Sequence[BreakerMoveRow]:
        """Return, of each breaker that was not closed at a moment, how it left that state."""
        async with reading(self._database) as connection:
            return await ask(connection, _opening_moves(at), BreakerMoveRow)


def _opening_moves(at: datetime) -> Select[Any]:
    """Ask for the first move of each breaker behind the last that closed it, before a moment."""
    moves = BREAKER_MOVES.c
    breaker = (moves.stage, moves.provider, moves.holder)
    last = select(*breaker, func.max(moves.at).label("closed_at")).group_by(*breaker)
    closed = last.where(moves.after == State.CLOSED.value, moves.at < at).subquery()
    same = and_(*(each == closed.c[each.name] for each in breaker))
    later = or_(closed.c.closed_at.is_(None), moves.at > closed.c.closed_at)
    behind = select(func.min(moves.id)).join_from(BREAKER_MOVES, closed, same, isouter=True)
    first = behind.where(moves.at < at, later).group_by(*breaker)
    return select(BREAKER_MOVES).where(moves.id.in_(first)).order_by(moves.at).limit(MOST)
