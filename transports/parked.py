"""Stores the resume states of calls outside the calls' processes.

Each call has an epoch, which rises when a process takes the call up. A process with an earlier
epoch can store nothing more for the call, and so learns that the call is not its own any longer.
"""

import asyncio
import json
import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from math import inf
from typing import Any, Final

from loguru import logger

from calls.resume import MOMENTS, RESUMABLE_S, RETURN_S, UNSAVED_ENTRIES, ResumeState
from calls.resume_parts import MAX_STATE_BYTES, BadStateError, join_parts, parts_of, split
from transports.pool import CallPool, KeepOutcome, KeyValues

PREFIX: Final = "parked "
PART_S: Final = (
    1800.0  # how long a part is kept; longer than until it is stored again, and `RESUMABLE_S`
)
PART_AGAIN_S: Final = 600.0
RESUMED_CHECK_S: Final = 1.0  # whether a call was resumed


class StoredParts:
    """The parts of one call's state in the store, except for the small one; see `split`.

    Each process stores its parts under keys of its own, so that one that was frozen, and wakes when
    another has the call, changes nothing.

    Attributes:
        own: The name of our keys.
    """

    def __init__(self, key_values: KeyValues, place: str) -> None:
        self._key_values, self._place = key_values, place
        self.own = secrets.token_hex(4)
        # By part: when it was sent, what it was, and where it is kept.
        self._sent: dict[int, tuple[float, Any, KeepOutcome]] = {}

    async def keep(self, parts: Sequence[Any], *, now: float, last: bool) -> KeepOutcome:
        """Store those that have changed, were stored long ago or may be stored nowhere.

        For the `last` state, also those that may be on this machine only.

        Returns the outcome for all parts, `KEPT` if each is kept; after the first `UNKNOWN`, the
        rest is not sent.
        """
        outcome = KeepOutcome.KEPT
        for number, part in enumerate(parts):
            at, sent, kept = self._sent.get(number, (-inf, None, KeepOutcome.UNKNOWN))
            is_kept = kept is KeepOutcome.KEPT or (kept is KeepOutcome.KEPT_HERE and not last)
            if part != sent or now - at >= PART_AGAIN_S or not is_kept:
                self._sent[number] = now, part, KeepOutcome.UNKNOWN
                kept = await self._store_part(number, part)
                self._sent[number] = now, part, kept
            outcome = max(outcome, kept)
            if outcome is KeepOutcome.UNKNOWN:
                break
        return outcome

    async def _store_part(self, number: int, part: Any) -> KeepOutcome:
        """Store one; one that is too long for the store counts as kept here."""
        if (length := len(json.dumps(part))) > MAX_STATE_BYTES:
            logger.error("a call cannot move: a part of its state has {} bytes", length)
            return KeepOutcome.KEPT_HERE
        return await self._key_values.keep(self._key_of_part(number, self.own), part, for_s=PART_S)

    async def state(self, small: Any) -> ResumeState | None:
        """Return the state that a small part belongs to; log why and return `None` if unusable."""
        try:
            keys = [self._key_of_part(number, small.get("at")) for number in range(parts_of(small))]
            return join_parts(small, [await self._key_values.read(key) for key in keys])
        except (BadStateError, LookupError) as error:
            logger.warning("a call begins anew, because its stored state is declined: {}", error)
            return None

    async def forget(self) -> None:
        """Delete our own parts; those that another process stored stay until they expire."""
        for number in self._sent:
            await self._key_values.take(self._key_of_part(number, self.own))
        self._sent.clear()

    def _key_of_part(self, number: int, owner: Any) -> str:
        place = self._place.removeprefix(PREFIX)
        return f"part{number} {place}.{owner}"  # a kind for each number: kinds are limited


class CallTakenError(Exception):
    """Another process has taken the call up in the meantime."""


class ParkedCall:
    """Stores one call's resume state.

    Attributes:
        state: The stored state when the line connected; `None` for a new call.
        is_on_one_machine: Whether the store of several machines was away since the call began here,
            so that no other machine has a state of it.
        is_here_only: Whether a part of the latest state is, or may be, on this machine only.
    """

    def __init__(
        self,
        key_values: KeyValues,
        place: str,
        state: ResumeState | None = None,
        *,
        epoch: int | None = 1,
    ) -> None:
        """Store a call under the key `place`, in this epoch; `None` if it is not known."""
        self.state = state
        self._taken = asyncio.Event()
        self._key_values = key_values
        self._place = place
        self._parts = StoredParts(key_values, place)
        self._epoch = epoch
        self._last_stored = False
        self._changing = asyncio.Lock()  # held while the state is stored or deleted
        self._reached_store = self.is_on_one_machine = self.is_here_only = False

    async def keep(self, state: ResumeState, *, last: bool = False) -> bool:
        """Store a state in place of the previous one; after the `last` one, store nothing more.

        If a part of the last one is not stored, or may be here only, it is not the last one.
        Waits for a state that is being stored. Returns False if another process has the call.
        """
        async with self._changing:
            if self._last_stored:
                return not self._taken.is_set()
            small, parts = split(state)
            small["at"] = self._parts.own
            kept = await self._parts.keep(parts, now=state.kept_at, last=last)
            is_ours = await self._store_small_part(small, parts=kept)
            self._last_stored = last and not self.is_here_only
            return is_ours

    async def is_ours(self, *, otherwise: bool = True) -> bool:
        """Return whether no other process has taken the call up; `otherwise` if it is not known."""
        is_ours = await self._is_ours()
        return otherwise if is_ours is None else is_ours

    async def wait_for_store(self, *, within_s: float) -> None:
        """Wait until the store says whose the call is, or log that it did not for `within_s`."""
        for _ in range(round(within_s / RESUMED_CHECK_S)):
            if await self._is_ours() is not None:
                return
            await asyncio.sleep(RESUMED_CHECK_S)
        logger.warning("a lost line's call is left to the carrier: the store is away")

    async def _is_ours(self) -> bool | None:
        """Return whether no other process has a later epoch; `None` if the store does not say."""
        if self._taken.is_set():
            return False
        try:
            epoch = await self._key_values.epoch(self._place)
        except LookupError:
            return None
        if self._epoch is None:  # the call began here without the store
            return None if epoch else True
        if epoch > self._epoch:
            self._taken.set()
        return not self._taken.is_set()

    async def wait_until_taken(self) -> None:
        """Return once another use of the store has shown that another process has the call."""
        await self._taken.wait()

    async def wait_for_return(self) -> bool:
        """Wait up to `RETURN_S` for a caller whose line was lost; return whether the call resumed.

        If the caller does not return, our state is deleted, so that a later call is a new one.
        """
        for _ in range(round(RETURN_S / RESUMED_CHECK_S)):
            await asyncio.sleep(RESUMED_CHECK_S)
            if not await self.is_ours():
                return True
        return not await self.forget()

    async def forget(self) -> bool:
        """Delete our parts and the stored state; return False if another process has the call."""
        async with self._changing:
            await self._parts.forget()
            return await self._store_small_part(None)

    async def _store_small_part(
        self, small: Mapping[str, Any] | None, *, parts: KeepOutcome = KeepOutcome.KEPT
    ) -> bool:
        """Store the small part of a state whose other `parts` are kept there; `None` to delete it.

        Returns False if another process has the call; that is remembered, and ends
        `wait_until_taken`.
        """
        if self._taken.is_set():
            return False
        outcome = parts
        if parts is not KeepOutcome.UNKNOWN:  # without them, it would replace a complete state
            moments = [name for name in MOMENTS if small and name in small]
            outcome = await self._key_values.keep(
                self._place, small, for_s=RESUMABLE_S, moments=moments, epoch=self._epoch
            )
        self.is_here_only = max(parts, outcome) > KeepOutcome.KEPT
        self._reached_store |= outcome is KeepOutcome.KEPT
        if outcome is not KeepOutcome.UNKNOWN:
            is_here = outcome is KeepOutcome.KEPT_HERE
            self.is_on_one_machine = is_here and not self._reached_store
        if not outcome:
            self._taken.set()
        return bool(outcome)


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
        """Return the store of a new call's state, whose token no call has had."""
        return ParkedCall(self._pool.key_values, self._key_of_token(token))

    async def holds(self, token: str) -> bool:
        """Return whether a state is stored, as far as the store answers."""
        with suppress(LookupError):
            return bool(await self._pool.key_values.read(self._key_of_token(token)))
        return False

    async def look(self, token: str) -> ResumeState | None:
        """Return a stored state, which stays as it is; `None` if there is none, or no answer."""
        place = self._key_of_token(token)
        with suppress(LookupError):
            small = await self._pool.key_values.read(place)
            return await StoredParts(self._pool.key_values, place).state(small) if small else None
        return None

    async def epoch(self, token: str) -> int | None:
        """Return the epoch of a call; `None` if the store does not answer."""
        with suppress(LookupError):
            return await self._pool.key_values.epoch(self._key_of_token(token))
        return None

    async def take(self, token: str, *, epoch: int | None = None) -> ParkedCall:
        """Take a call up in the next epoch; return the call's store with its state.

        From now on, no earlier process can store the call. A state that cannot be used counts as
        none. A usable one is stored again at once, with higher entry numbers: if this process dies
        before it stores a state, the next one does not use its numbers again.

        Args:
            token: The token of the line.
            epoch: The epoch in which the call was promised to us; `None` if it does not matter.

        Raises:
            CallTakenError: Another process has taken the call up since `epoch`.
        """
        place, key_values = self._key_of_token(token), self._pool.key_values
        taken = await key_values.take_up(place, epoch=epoch)
        if taken is None:
            raise CallTakenError
        small = taken.value
        state = await StoredParts(key_values, place).state(small) if small else None
        call = ParkedCall(key_values, place, state, epoch=taken.epoch)
        if state:  # this process may die before it stores a state: the next one numbers after it
            await call.keep(replace(state, entries=state.entries + UNSAVED_ENTRIES))
        return call

    def _key_of_token(self, token: str) -> str:
        return f"{PREFIX}{self._kind} {token}"
