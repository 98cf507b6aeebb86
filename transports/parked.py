"""Stores the resume states of calls outside the calls' processes."""

import asyncio
import secrets
from contextlib import suppress
from typing import Any, Final

from calls.resume import KEPT_S, MOMENTS, RETURN_S, ResumeState
from transports.pool import CallPool, KeyValues

CHECK_EVERY_S: Final = 1.0  # whether a call was resumed


class ParkedCall:
    """Stores one call's resume state.

    Attributes:
        state: The stored state when the line connected; `None` for a new call.
    """

    def __init__(self, key_values: KeyValues, place: str, state: ResumeState | None = None) -> None:
        self.state = state
        self._key_values = key_values
        self._place = place
        self._last: ResumeState | None = None

    async def keep(self, state: ResumeState, *, last: bool = False) -> None:
        """Store a state in place of the previous one; after the `last` one, store nothing more."""
        if self._last is None:
            self._last = state if last else None
            await self._key_values.keep(self._place, state.as_json(), for_s=KEPT_S, moments=MOMENTS)

    async def wait_for_return(self) -> bool:
        """Wait up to `RETURN_S` for a caller whose line was lost; return whether the call resumed.

        A call that resumes takes our state out of the store, and later stores its own. If the
        caller does not return, our state is deleted, so that a later call is a new one. If the
        store does not answer, the call counts as resumed; if it was not, the record shows that it
        has no end.
        """
        # One miss is not enough: a call that is refused for lack of a seat puts the state back.
        misses = 0  # in a row
        for _ in range(round(RETURN_S / CHECK_EVERY_S)):
            await asyncio.sleep(CHECK_EVERY_S)
            with suppress(LookupError):
                found = self._is_last(await self._key_values.read(self._place))
                misses = 0 if found else misses + 1
            if misses > 1:
                return True
        kept = await self._key_values.take(self._place)
        if kept and not self._is_last(kept):  # the resumed call's own state: put it back
            await self._key_values.keep(self._place, kept, for_s=KEPT_S, moments=MOMENTS)
        return not self._is_last(kept)

    def _is_last(self, kept: Any) -> bool:
        """Return whether a stored state is the last one that this call has stored."""
        return bool(kept and self._last and kept["entries"] == self._last.entries)

    async def forget(self) -> None:
        """Delete the stored state."""
        await self._key_values.take(self._place)


class Parked:
    """The stored resume states of one kind of line, by the token of the line."""

    def __init__(self, pool: CallPool, kind: str) -> None:
        """Use the pool's store for one kind of line."""
        self._pool = pool
        self._kind = kind

    @staticmethod
    def token() -> str:
        """Return a new token for a page."""
        return secrets.token_urlsafe(24)

    def place(self, token: str) -> ParkedCall:
        """Return the store of a new call's state."""
        return ParkedCall(self._pool.key_values, f"parked {self._kind} {token}")

    async def holds(self, token: str) -> bool:
        """Return whether a state is stored; it stays stored, for another `KEPT_S`."""
        kept = await self.take(token)
        if kept.state is not None:
            await kept.keep(kept.state)
        return kept.state is not None

    async def take(self, token: str) -> ParkedCall:
        """Remove a call's state from the store; return the call's store with that state."""
        place = f"parked {self._kind} {token}"
        kept = await self._pool.key_values.take(place)
        return ParkedCall(
            self._pool.key_values, place, ResumeState.from_json(kept) if kept else None
        )
