"""Stores the resume states of calls outside the calls' processes."""

import asyncio
import json
import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from math import inf
from typing import Any, Final

from loguru import logger

from calls.resume import KEPT_S, MOMENTS, RETURN_S, ResumeState
from calls.resume_parts import MAX_BYTES, BadStateError, joined, parts_of, split
from transports.pool import CallPool, KeyValues

PREFIX: Final = "parked "
PART_S: Final = (
    1800.0  # how long a part is kept; longer than until it is stored again, and `KEPT_S`
)
PART_AGAIN_S: Final = 600.0
CHECK_EVERY_S: Final = 1.0  # whether a call was resumed


class StoredParts:
    """The parts of one call's state in the store, except for the small one; see `split`.

    Each process stores its parts under keys of its own, so that one that was frozen, and wakes when
    another has the call, changes nothing.
    """

    def __init__(self, key_values: KeyValues, place: str) -> None:
        self._key_values, self._place = key_values, place
        self._own = secrets.token_hex(4)
        self._sent: dict[int, tuple[float, Any]] = {}  # by part: when, and what

    async def keep(self, parts: Sequence[Any], *, now: float) -> str:
        """Store those that have changed or were stored long ago; return the name of the keys."""
        for number, part in enumerate(parts):
            at, sent = self._sent.get(number, (-inf, None))
            if part == sent and now - at < PART_AGAIN_S:
                continue
            self._sent[number] = now, part
            if (length := len(json.dumps(part))) > MAX_BYTES:
                logger.error("a call cannot move: a part of its state has {} bytes", length)
            else:
                await self._key_values.keep(self._key(number, self._own), part, for_s=PART_S)
        return self._own

    async def state(self, small: Any) -> ResumeState | None:
        """Return the state that a small part belongs to; `None` if it cannot be used."""
        try:
            keys = [self._key(number, small.get("at")) for number in range(parts_of(small))]
            return joined(small, [await self._key_values.read(key) for key in keys])
        except (BadStateError, LookupError) as error:
            logger.warning("a call begins anew, because its stored state is declined: {}", error)
            return None

    async def forget(self) -> None:
        """Delete our own."""
        for number in self._sent:
            await self._key_values.take(self._key(number, self._own))
        self._sent.clear()

    def _key(self, number: int, owner: Any) -> str:
        place = self._place.removeprefix(PREFIX)
        return f"part{number} {place}.{owner}"  # a kind for each number: kinds are limited


class ParkedCall:
    """Stores one call's resume state.

    Attributes:
        state: The stored state when the line connected; `None` for a new call.
    """

    def __init__(self, key_values: KeyValues, place: str, state: ResumeState | None = None) -> None:
        self.state = state
        self._key_values = key_values
        self._place = place
        self._parts = StoredParts(key_values, place)
        self._last: ResumeState | None = None

    async def keep(self, state: ResumeState, *, last: bool = False) -> None:
        """Store a state in place of the previous one; after the `last` one, store nothing more."""
        if self._last is None:
            self._last = state if last else None
            small, parts = split(state)
            small["at"] = await self._parts.keep(parts, now=state.kept_at)
            await self._keep(small)

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
            await self._keep(kept)
        return not self._is_last(kept)

    async def _keep(self, small: Mapping[str, Any]) -> None:
        moments = [name for name in MOMENTS if name in small]
        await self._key_values.keep(self._place, small, for_s=KEPT_S, moments=moments)

    def _is_last(self, kept: Any) -> bool:
        """Return whether a stored state is the last one that this call has stored."""
        return bool(kept and self._last and kept.get("entries", 0) == self._last.entries)

    async def forget(self) -> None:
        """Delete the stored state."""
        await self._key_values.take(self._place)
        await self._parts.forget()


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
        return ParkedCall(self._pool.key_values, f"{PREFIX}{self._kind} {token}")

    async def holds(self, token: str) -> bool:
        """Return whether a state is stored; it stays stored, for another `KEPT_S`."""
        kept = await self.take(token)
        if kept.state is not None:
            await kept.keep(kept.state)
        return kept.state is not None

    async def take(self, token: str) -> ParkedCall:
        """Remove a call's state from the store; return the call's store with that state.

        A state that cannot be used counts as none.
        """
        key_values, place = self._pool.key_values, f"{PREFIX}{self._kind} {token}"
        small = await key_values.take(place)
        state = await StoredParts(key_values, place).state(small) if small else None
        return ParkedCall(key_values, place, state)
