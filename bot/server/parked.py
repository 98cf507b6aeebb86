"""Keeps what another process needs to go on with a call, outside the call's own process."""

import secrets
from typing import Final

from bot.workers.pool import KeyValues, WorkerPool
from calls.resume import ResumeState

PARKED_S: Final = 30.0  # a caller who comes back later has begun a new matter
# After a process's last report: time to notice that a worker hangs, and to load another.
KEPT_S: Final = 60.0


class ParkedCall:
    """Where one call's resume state is kept.

    Attributes:
        state: Found there when the call's line came; `None` if the call begins.
    """

    def __init__(self, shelf: KeyValues, place: str, state: ResumeState | None = None) -> None:
        self.state = state
        self._shelf = shelf
        self._place = place

    async def keep(self, state: ResumeState) -> None:
        """Put the state in the place of the one before."""
        for_s = KEPT_S if state.call_id else PARKED_S
        await self._shelf.keep(self._place, state.as_json(), for_s=for_s)

    async def forget(self) -> None:
        """Keep nothing any more."""
        await self._shelf.take(self._place)


class Parked:
    """Calls by the name of their line; each is taken up once."""

    def __init__(self, pool: WorkerPool, kind: str) -> None:
        """Keep calls of one kind of line."""
        self._pool = pool
        self._kind = kind

    @staticmethod
    def token() -> str:
        """Return a new token for a page."""
        return secrets.token_urlsafe(24)

    def place(self, token: str) -> ParkedCall:
        """Return where a call that begins is kept."""
        return ParkedCall(self._pool.shelf, f"parked {self._kind} {token}")

    async def holds(self, token: str) -> bool:
        """Return whether a call that can go on is kept, and leave it there."""
        kept = await self.take(token)
        if kept.state is not None:
            await kept.keep(kept.state)
        return kept.state is not None

    async def take(self, token: str) -> ParkedCall:
        """Return where a call is kept, with what was found there."""
        place = f"parked {self._kind} {token}"
        kept = await self._pool.shelf.take(place)
        return ParkedCall(self._pool.shelf, place, ResumeState.from_json(kept) if kept else None)
