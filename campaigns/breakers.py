"""Breakers that stop a campaign: too many failures in a row, or a carrier that does not answer."""

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

# A campaign's own breaker: several calls in a row that failed for our reasons pause it.
#
# The providers' breakers do not see everything, for example an agent whose tool fails in every
# call. Without this breaker, one contact after the other would get such a call. Skipped contacts do
# not count: their reason is known, and the guard holds the campaign anyway. Only an operator resets
# a tripped breaker, because no probe could show that the cause is gone.

IN_A_ROW: Final = 5  # chosen: three may be one bad minute of several calls at once


@dataclass(slots=True)
class CampaignBreaker:
    """Counts consecutive calls of one campaign that failed for our reasons.

    Attributes:
        limit: This many in a row trip it.
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
            ours: The call failed for our reasons.
            reached: The agent talked with the callee, so the agent works. A busy or unanswered
                number shows nothing about us and is not counted.
        """
        was = self.tripped
        if ours:
            self.in_a_row += 1
        elif reached and not was:
            self.in_a_row = 0
        return self.tripped and not was

    def reset(self) -> None:
        """Start counting from zero, after an operator's reset."""
        self.in_a_row = 0


SILENT: Final = "carrier_unreachable"


class WatchedCarrier:
    """A carrier shared by all dials of a dialer, which remembers whether it answers.

    Attributes:
        down: Why it places no calls, as a code; empty if it answers.
    """

    def __init__(self, carrier: CampaignCarrier) -> None:
        """Wrap `carrier`."""
        self.down = ""
        self._carrier = carrier

    async def dial(self, request: DialRequest) -> str:
        """Place a call; return the carrier's id of it.

        Raises:
            DialRefusedError: The carrier refuses to call this number.
            CarrierError: The carrier does not answer; it may have placed the call anyway.
            DialWithdrawnError: The carrier was not asked, so nothing is known about it.
        """
        try:
            call_ref = await self._carrier.dial(request)
        except DialRefusedError:
            self.down = ""
            raise
        except CarrierError:
            self.down = SILENT
            raise
        self.down = ""
        return call_ref

    async def find(self, dial: Dial) -> FoundCall | None:
        """Return the state of a dial; `None` if the carrier has no such call.

        Raises:
            CarrierError: The carrier does not answer.
        """
        try:
            found = await self._carrier.find(dial.id, dial.number, dial.intended_s - 1.0)
        except CarrierError:
            self.down = SILENT
            raise
        self.down = ""
        return found

    async def cancel(self, dial_id: str, ordered: str) -> None:
        """Stop the ringing, if the carrier supports that."""
        if not isinstance(self._carrier, CancellingCarrier):
            return
        try:
            await self._carrier.cancel(dial_id, ordered)
        except CarrierError as error:
            logger.warning("dial {} was not cancelled: {}", dial_id, error)

    def recall(self, dial: Dial) -> None:
        """Tell the carrier the call id of a dial that another process placed, if it needs it."""
        if dial.provider_call_id and isinstance(self._carrier, RecallingCarrier):
            self._carrier.recall(dial.id, dial.provider_call_id)
