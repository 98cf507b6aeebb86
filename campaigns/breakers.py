"""Breakers of a campaign: after too many failures in a row, or if the carrier does not answer."""

from dataclasses import dataclass
from typing import Final

from loguru import logger

from calls.outbound import Dial
from transports.dialling import (
    CampaignCarrier,
    CancellingCarrier,
    CarrierError,
    DialRefusedError,
    DialRequest,
    FoundCall,
    RecallingCarrier,
)

IN_A_ROW: Final = 5  # chosen: three may be parallel calls in one bad minute


@dataclass(slots=True)
class CampaignBreaker:
    """Counts consecutive failures of one campaign; several in a row pause it.

    The providers' breakers do not notice everything, for example an agent whose tool fails in every
    call. Without this breaker, one contact after the other would get such a call. Skipped contacts
    do not count: the guard knows their reason and holds the campaign itself. Only an operator
    resets a tripped breaker, because no probe could show that the cause is gone.

    Attributes:
        limit: How many in a row trip the breaker.
        in_a_row: The current count.
    """

    limit: int = IN_A_ROW
    in_a_row: int = 0

    @property
    def tripped(self) -> bool:
        """Whether the campaign must pause."""
        return self.in_a_row >= self.limit

    def note(self, *, ours: bool, reached: bool) -> bool:
        """Count the result of a dial; return whether it has just tripped the breaker.

        Args:
            ours: Whether the dial failed for our own reasons.
            reached: Whether it shows that our side works, which resets the count unless the breaker
                has tripped. A busy or unanswered number shows neither.
        """
        had_tripped = self.tripped
        if ours:
            self.in_a_row += 1
        elif reached and not had_tripped:
            self.in_a_row = 0
        return self.tripped and not had_tripped

    def reset(self) -> None:
        """Start counting from zero, after an operator's reset."""
        self.in_a_row = 0


UNREACHABLE: Final = "carrier_unreachable"


class WatchedCarrier:
    """A carrier shared by all dials of a dialer, which remembers whether it answers.

    Attributes:
        down: Why it places no calls, as a code; empty if it answers.
    """

    def __init__(self, carrier: CampaignCarrier) -> None:
        """Wrap a carrier, which is assumed to answer."""
        self.down = ""
        self._carrier = carrier

    async def dial(self, request: DialRequest) -> str:
        """Place a call, and set `down` by whether the carrier answers; return its id of the call.

        Raises:
            DialRefusedError: The carrier refuses to call this number.
            CarrierError: There was no usable response; the call may have been placed anyway.
            DialWithdrawnError: The carrier was not asked; `down` stays as it was.
        """
        try:
            call_ref = await self._carrier.dial(request)
        except DialRefusedError:
            self.down = ""
            raise
        except CarrierError:
            self.down = UNREACHABLE
            raise
        self.down = ""
        return call_ref

    async def find(self, dial: Dial) -> FoundCall | None:
        """Return the state of a dial, and update `down`; `None` if the carrier has no such call.

        Raises:
            CarrierError: There was no usable response from the carrier.
        """
        try:
            found = await self._carrier.find(dial.id, dial.number, dial.intended_s - 1.0)
        except CarrierError:
            self.down = UNREACHABLE
            raise
        self.down = ""
        return found

    async def cancel(self, dial_id: str, call_ref: str) -> None:
        """Cancel a ringing dial if the carrier supports that; a failure is only logged."""
        if not isinstance(self._carrier, CancellingCarrier):
            return
        try:
            await self._carrier.cancel(dial_id, call_ref)
        except CarrierError as error:
            logger.warning("dial {} was not cancelled: {}", dial_id, error)

    def recall(self, dial: Dial) -> None:
        """Give the carrier's client the call id of another process's dial, if it needs the id."""
        if dial.provider_call_id and isinstance(self._carrier, RecallingCarrier):
            self._carrier.recall(dial.id, dial.provider_call_id)
