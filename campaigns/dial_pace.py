"""How many calls an account may place a second: each waits for its turn, and is asked for again."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from campaigns.carrier import CarrierError, DialRefusedError, DialRequest
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
    _free_at: float = 0.0  # on the loop's clock: when the account may place the next call

    async def place(self, ask: Callable[[], Awaitable[Placed]], request: DialRequest) -> Placed:
        """Return what `ask` does, in its turn; what is refused for its pace alone was not placed.

        Raises:
            CarrierError: It failed; a `DialRefusedError` if it is the number's fault.
            DialWithdrawnError: The request's `confirm` raised it.
        """
        for tries in range(LIMITED_TRIES):
            if tries:
                await request.wait(self.again_s)
            await request.wait(self._take_turn())
            await request.confirm()
            try:
                return await ask()
            except ServiceError as error:
                if error.failure.kind is not Kind.RATE_LIMITED:
                    raise self._carrier_error(error.failure) from error
        raise CarrierError("too many calls for this account")

    def _take_turn(self) -> float:
        """Take the next turn, evenly, without a burst; return the seconds until then."""
        now = asyncio.get_running_loop().time()
        turn_at = max(now, self._free_at)
        self._free_at = turn_at + 1 / self.calls_per_s
        return turn_at - now

    def _carrier_error(self, failure: Failure) -> CarrierError:
        refused = failure.kind is Kind.BAD_REQUEST and failure.scope in self.refuses
        return DialRefusedError(failure.reason) if refused else CarrierError(failure.reason)
