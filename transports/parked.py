"""Resume states of calls, kept outside the call's own process."""

import secrets
from typing import Final

from calls.resume import ResumeState
from transports.pool import CallPool, KeyValues

PARKED_S: Final = 30.0  # a caller who returns later starts a new call
# After a process's last report: time to notice that a worker hangs, and to start another.
KEPT_S: Final = 60.0


class ParkedCall:
    """Storage of one call's resume state.

    Attributes:
        state: The stored state when the line connected; `None` for a new call.
    """

    def __init__(self, key_values: KeyValues, place: str, state: ResumeState | None = None) -> None:
        self.state = state
        self._key_values = key_values
        self._place = place

    async def keep(self, state: ResumeState) -> None:
        """Store the state in place of the former one."""
        for_s = KEPT_S if state.call_id else PARKED_S
        await self._key_values.keep(self._place, state.as_json(), for_s=for_s)

    async def forget(self) -> None:
        """Delete the stored state."""
        await self._key_values.take(self._place)


class Parked:
    """Resume states by the token of their line; each is taken once."""

    def __init__(self, pool: CallPool, kind: str) -> None:
        """Store the calls of one kind of line."""
        self._pool = pool
        self._kind = kind

    @staticmethod
    def token() -> str:
        """Return a new token for a page."""
        return secrets.token_urlsafe(24)

    def place(self, token: str) -> ParkedCall:
        """Return the storage of a new call."""
        return ParkedCall(self._pool.key_values, f"parked {self._kind} {token}")

    async def holds(self, token: str) -> bool:
        """Return whether a state is stored, and leave it there."""
        kept = await self.take(token)
        if kept.state is not None:
            await kept.keep(kept.state)
        return kept.state is not None

    async def take(self, token: str) -> ParkedCall:
        """Take the stored state of a call out; return its storage."""
        place = f"parked {self._kind} {token}"
        kept = await self._pool.key_values.take(place)
        return ParkedCall(
            self._pool.key_values, place, ResumeState.from_json(kept) if kept else None
        )
