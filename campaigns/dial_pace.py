"""How many calls an account may place a second: each waits for its turn, and is asked for again."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, TypeVar

from campaigns.carrier import CarrierError, DialRefusedError
from fallbacks.failure import Failure, Kind, Scope, ServiceError

LIMITED_TRIES: Final = 5
LIMITED_S: Final = 1.1  # an account may place one call a second unless it asked for more
Placed = TypeVar("Placed")


@dataclass(slots=True, kw_only=True)
class DialPace:
    """The pace of one account.

    Attributes:
        calls_per_s: How many calls it may place.
        refuses: The scopes of a bad request which say that this number is not called; whatever else
            fails may yet work for the next.
        again_s: How long to wait before what was too quick is asked for again.
    """

    calls_per_s: float
    refuses: frozenset[Scope] = frozenset(Scope)
    again_s: float = LIMITED_S
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    _free_at: float = 0.0  # on the loop's clock: when the account may place the next call

    async def place(
        self, ask: Callable[[], Awaitable[Placed]], *, confirm: Callable[[], Awaitable[None]]
    ) -> Placed:
        """Return what `ask` does, in its turn; what is refused for its pace alone was not placed.

        Args:
            ask: Asks the carrier once.
            confirm: The request's, awaited before each `ask`: the queue may be long.

        Raises:
            CarrierError: It failed; a `DialRefusedError` if it is the number's fault.
            DialWithdrawnError: `confirm` raised it.
        """
        for _ in range(LIMITED_TRIES):
            await self._wait()
            await confirm()
            try:
                return await ask()
            except ServiceError as error:
                if error.failure.kind is not Kind.RATE_LIMITED:
                    raise self._carrier_error(error.failure) from error
            await asyncio.sleep(self.again_s)
        raise CarrierError("too many calls for this account")

    async def _wait(self) -> None:
        """Wait for our turn: evenly, without a burst."""
        loop = asyncio.get_running_loop()
        async with self._turn:
            await asyncio.sleep(max(0.0, self._free_at - loop.time()))
            self._free_at = loop.time() + 1 / self.calls_per_s

    def _carrier_error(self, failure: Failure) -> CarrierError:
        refused = failure.kind is Kind.BAD_REQUEST and failure.scope in self.refuses
        return DialRefusedError(failure.reason) if refused else CarrierError(failure.reason)
